"""Take one file into the lake: streamed, idempotent, in one commit, nothing lost in silence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuneloop.artefacts.digest import digest_file, digest_json
from tuneloop.artefacts.events import SCHEMA_VERSION
from tuneloop.lake import table as lake_table
from tuneloop.lake.containers import HUB, Container, check_readable, look_into, read_records
from tuneloop.lake.format import Record
from tuneloop.lake.letters import (
    DIGEST_CHARS,
    check_letters,
    merge_letters,
    read_letters,
    write_letters,
)
from tuneloop.lake.parsing import Item
from tuneloop.lake.reading import IngestReport, Intake, Reading
from tuneloop.lake.recognise import AUTO, Recognised, best_fit, named, recognise

if TYPE_CHECKING:
    from collections.abc import Callable

    from obstore.store import ObjectStore

LEDGER_VERSION = 3


@dataclass(frozen=True)
class Looked:
    """What a source was found to be before anything was taken from it."""

    container: Container
    found: Recognised


def ingest_file(
    name: str,
    intake: Intake,
    *,
    dead_letter: Path,
    format: str = AUTO,
    looked: Looked | None = None,
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
        looked: What the file is, where that is known already.

    Raises:
        DataError: if the file cannot be read, or is in no format that is known.
    """
    looked = looked or look(name, format)
    container, found = looked.container, looked.found
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
        reading = Reading(found.format, intake, title, (source or "")[:DIGEST_CHARS])
        report = reading.take(records_of(name, container, progress.advance), scratch, dead_letter)
        if source:
            _remember(objects, entry, dead_letter, report)
    progress.done(
        f"{report.n_events} events of {report.accepted} records, {report.rejected} refused"
    )
    return report


def ingest_files(
    files: Sequence[tuple[str, str]], intake: Intake, *, dead_letter: Path
) -> list[IngestReport]:
    """Take in files, each with the name of its format.

    The refused records of all are put into one file; what it holds of other files stays there,
    and what it held of these is replaced.

    Raises:
        DataError: if one of them cannot be read or is in no format that is known (before any is
            taken in), or `dead_letter` holds something else.
    """
    for name, _ in files:
        check_source(name)
    looked = [look(name, format) for name, format in files]
    lake_table.check_place(intake.uri)
    check_letters(dead_letter)
    reports: list[IngestReport] = []
    with lake_table.scratch(intake.uri) as folder:
        parts = [folder / str(n) for n in range(len(files))]
        try:
            for (name, format), one, part in zip(files, looked, parts, strict=True):
                report = ingest_file(name, intake, dead_letter=part, format=format, looked=one)
                reports.append(report)
        finally:
            with lake_table.writers_lock(intake.uri):
                merge_letters(dead_letter, [part for part in parts if part.exists()])
    return reports


def check_source(name: str) -> None:
    """Raise DataError where a file is missing or unreadable."""
    if not name.startswith(HUB):
        check_readable(Path(name))


def look(name: str, format: str) -> Looked:
    """Return how the records lie in a file, and what format they are in.

    Raises:
        DataError: if it cannot be read, or is in no format that is known.
    """
    check_source(name)
    if name.startswith(HUB):
        container = Container("hub")
    else:
        one = None if format == AUTO else named(format)
        fits: Callable[[Record], tuple[float, bool]] = best_fit
        if one is not None:
            fits = lambda record: (one.recognise(record), one.split is not None)  # noqa: E731
        container = look_into(Path(name), fits=fits)
    if format != AUTO:
        return Looked(container, Recognised(named(format)))
    if container.kind == "empty":
        return Looked(container, Recognised(named("native")))
    return Looked(container, recognise(records_of(name, container, lambda _: None), where=name))


def records_of(name: str, container: Container, advance: Callable[[int], None]) -> Iterator[Item]:
    """Yield a source's records, and why others could not be read."""
    if container.kind == "hub":
        from tuneloop.lake.tabular import read_hub

        return read_hub(name)
    return read_records(Path(name), container, advance)


def _remember(objects: ObjectStore, entry: str, letters: Path, report: IngestReport) -> None:
    """Put the ledger's entry, last: killed before it, the file is read again and adds nothing."""
    with letters.open("rb") as file:
        objects.put(f"{entry}.dead.jsonl", file)
    objects.put(f"{entry}.json", report.model_dump_json().encode())
