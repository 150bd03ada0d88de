"""Take one file into the lake: streamed, idempotent, in one commit, nothing lost in silence."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuneloop.artefacts.digest import digest_file, digest_json
from tuneloop.artefacts.events import SCHEMA_VERSION
from tuneloop.lake import table as lake_table
from tuneloop.lake.containers import HUB, Container, check_readable, look_into, read_records
from tuneloop.lake.format import Record
from tuneloop.lake.letters import read_letters, write_letters
from tuneloop.lake.parsing import Item
from tuneloop.lake.reading import IngestReport, Intake, Reading
from tuneloop.lake.recognise import AUTO, Recognised, best_fit, named, recognise

if TYPE_CHECKING:
    from collections.abc import Callable

    from obstore.store import ObjectStore

LEDGER_VERSION = 2


def check_sources(names: Iterable[str]) -> None:
    """Raise DataError where a file is missing or unreadable, before any is read."""
    for name in names:
        if not name.startswith(HUB):
            check_readable(Path(name))


def ingest_file(
    name: str, intake: Intake, *, dead_letter: Path, format: str = AUTO
) -> IngestReport:
    """Append a file's new events in one commit and return what became of its records.

    Identity is (kind, tenant, id, revision); a repeated event is a duplicate, another event
    under a taken identity is refused as a `conflict`. Memory: a batch of rows and three bytes an
    event. Killed before the commit, it leaves nothing; killed after it, the next time adds
    nothing.

    Args:
        name: A file, or `hf:name[:config][:split]`.
        intake: Where it goes.
        dead_letter: Where refused records go, as JSON lines with source, line, reason, detail
            and the beginning of the raw text. Written anew.
        format: Name of the format, or `auto`.

    Raises:
        DataError: if the file cannot be read, or is in no format that is known.
    """
    check_sources([name])
    container, found = _look(name, format)
    source = None if container.kind == "hub" else digest_file(Path(name))
    pseudonyms = intake.pseudonyms
    entry = digest_json([
        LEDGER_VERSION, SCHEMA_VERSION, source, found.format.name, intake.tenant,
        pseudonyms.fingerprint if pseudonyms else None,
    ])  # fmt: skip
    progress, title = intake.progress, Path(name).name
    with lake_table.writers_lock(intake.uri), lake_table.scratch(intake.uri) as scratch:
        table = lake_table.open_table(intake.uri)
        objects = lake_table.side_objects(intake.uri)
        known = lake_table.get_object(objects, f"{entry}.json") if table and source else None
        if known is not None:
            letters = lake_table.get_object(objects, f"{entry}.dead.jsonl") or b""
            (scratch / "letters").write_bytes(letters)
            write_letters(dead_letter, read_letters(scratch / "letters"), source=title)
            return IngestReport.model_validate_json(known).model_copy(update={"seen_before": True})
        progress.start(f"lake: {title}", total=Path(name).stat().st_size if source else None)
        if found.note:
            progress.say(f"{title} is {found.note}")
        reading = Reading(found.format, intake, title)
        report = reading.take(_records(name, container, progress.advance), scratch, dead_letter)
        if source:
            _remember(objects, entry, dead_letter, report)
    progress.done(
        f"{report.n_events} events of {report.accepted} records, {report.rejected} refused"
    )
    return report


def ingest_files(
    files: Sequence[tuple[str, str]], intake: Intake, *, dead_letter: Path
) -> list[IngestReport]:
    """Take in files, each with the name of its format; the refused records of all in one file.

    Raises:
        DataError: if one of them cannot be read (before any is, where it is missing), or is in
            no format that is known.
    """
    check_sources(name for name, _ in files)
    reports = []
    dead_letter.parent.mkdir(parents=True, exist_ok=True)
    part = dead_letter.with_name(f"{dead_letter.name}.part")
    with dead_letter.open("wb") as whole:
        for name, format in files:
            reports.append(ingest_file(name, intake, dead_letter=part, format=format))
            with part.open("rb") as letters:
                shutil.copyfileobj(letters, whole)
    part.unlink(missing_ok=True)
    return reports


def _look(name: str, format: str) -> tuple[Container, Recognised]:
    """Return how the records lie in the file, and what format they are in."""
    if name.startswith(HUB):
        container = Container("hub")
    else:
        one = None if format == AUTO else named(format)
        fits: Callable[[Record], tuple[float, bool]] = best_fit
        if one is not None:
            fits = lambda record: (one.recognise(record), one.split is not None)  # noqa: E731
        container = look_into(Path(name), fits=fits)
    if format != AUTO:
        return container, Recognised(named(format))
    if container.kind == "empty":
        return container, Recognised(named("native"))
    return container, recognise(_records(name, container, lambda _: None), where=name)


def _records(name: str, container: Container, advance: Callable[[int], None]) -> Iterator[Item]:
    if container.kind == "hub":
        from tuneloop.lake.tabular import read_hub

        return read_hub(name)
    return read_records(Path(name), container, advance)


def _remember(objects: ObjectStore, entry: str, letters: Path, report: IngestReport) -> None:
    """Put the ledger's entry, last: killed before it, the file is read again and adds nothing."""
    with letters.open("rb") as file:
        objects.put(f"{entry}.dead.jsonl", file)
    objects.put(f"{entry}.json", report.model_dump_json().encode())
