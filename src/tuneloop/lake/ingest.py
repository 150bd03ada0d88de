"""Take one file into the lake: streamed, idempotent, in one commit, nothing lost in silence."""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from tuneloop.artefacts.digest import digest_file, digest_json
from tuneloop.artefacts.events import SCHEMA_VERSION
from tuneloop.artefacts.stage import Progress
from tuneloop.lake import table as lake_table
from tuneloop.lake.containers import HUB, Container, check_readable, look_into, read_records
from tuneloop.lake.erase import erased_keys
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.letters import RAW_CHARS, Letters, read_letters
from tuneloop.lake.parsing import MAX_RECORD_BYTES, Item
from tuneloop.lake.pseudonyms import Pseudonyms
from tuneloop.lake.recognise import AUTO, Recognised, best_fit, named, recognise
from tuneloop.lake.rows import Reader, Row
from tuneloop.lake.spool import CONFLICT, NEW, Settled, Spool

if TYPE_CHECKING:
    from collections.abc import Callable

    from obstore.store import ObjectStore

T = TypeVar("T")

MAX_EVENTS_CHARS = 4 * MAX_RECORD_BYTES
"""The events of one record may repeat its messages, a turn each, so often."""
LEDGER_VERSION = 2


class IngestReport(BaseModel):
    """What became of a file's records: read = accepted + rejected + duplicates.

    Attributes:
        read: Records: lines, elements, rows; of formats with records within records, the latter.
        accepted: Records that added something, or had nothing to say.
        rejected: Records in the dead letters; nothing of them was taken.
        duplicates: Records of which everything was there already.
        by_reason: How many records were rejected for what.
        n_events: Events that were added.
        format: What it was read as.
        seen_before: The ledger knew the file; the numbers are those of when it was taken in.
    """

    model_config = ConfigDict(frozen=True)

    read: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0
    by_reason: dict[str, int] = Field(default_factory=dict)
    n_events: int = 0
    format: str = ""
    seen_before: bool = False


@dataclass(frozen=True)
class Intake:
    """Where files go, and what holds for all of them.

    Attributes:
        uri: The Delta table, a folder or an object-store address.
        progress: Driven in bytes.
        tenant: Tenant of events that name none.
        pseudonyms: None: the sources name pseudonyms already.
    """

    uri: str
    progress: Progress
    tenant: str = "default"
    pseudonyms: Pseudonyms | None = None


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
            _write_letters(dead_letter, read_letters(scratch / "letters"), source=title)
            return IngestReport.model_validate_json(known).model_copy(update={"seen_before": True})
        progress.start(f"lake: {title}", total=Path(name).stat().st_size if source else None)
        if found.note:
            progress.say(f"{title} is {found.note}")
        reading = _Reading(found.format, intake, title)
        report = reading.take(_records(name, container, progress.advance), scratch, dead_letter)
        if source:
            _remember(objects, entry, dead_letter, report)
    progress.done(
        f"{report.n_events} events of {report.accepted} records, {report.rejected} refused"
    )
    return report


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


@dataclass
class _Reading:
    """One file's way into the table."""

    format: Format
    intake: Intake
    title: str
    n_read: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.reader = Reader(
            source=self.format.name,
            tenant=self.intake.tenant,
            pseudonyms=self.intake.pseudonyms,
            erased=erased_keys(self.intake.uri),
        )
        self.source = Source(name=self.title)

    def take(self, items: Iterator[Item], scratch: Path, dead_letter: Path) -> IngestReport:
        spool = Spool(scratch / "rows")
        early, late = scratch / "early.jsonl", scratch / "late.jsonl"
        with early.open("w", encoding="utf-8", newline="\n") as file:
            letters = Letters(file, self.title, self.reader)
            for item in items:
                self._take_item(item, spool, letters)
        table = lake_table.open_table(self.intake.uri)
        columns = ["identity", "row_digest"]
        settled = spool.settle(lake_table.read_columns(table, columns) if table else ())
        self._refuse_conflicts(spool, settled, late)
        lake_table.append(self.intake.uri, _columns(spool.rows(settled, state=NEW)))
        both = heapq.merge(read_letters(early), read_letters(late), key=lambda one: one["line"])
        _write_letters(dead_letter, both, source=self.title)
        n_silent = int((~settled.holds).sum())
        accepted = int(settled.adds.sum()) + n_silent
        rejected = self.reasons.total()
        return IngestReport(
            read=self.n_read,
            accepted=accepted,
            rejected=rejected,
            duplicates=self.n_read - accepted - rejected,
            by_reason=dict(sorted(self.reasons.items())),
            n_events=int((settled.rows == NEW).sum()),
            format=self.format.name,
        )

    def _take_item(self, item: Item, spool: Spool, letters: Letters) -> None:
        if item.record is None:
            assert item.refused
            self._refuse(item, item.refused, letters, set())
            return
        try:
            records = [item.record]
            if self.format.split:
                records = list(_guarded(self.format.split, item.record))
        except UnfitError as unfit:
            self._refuse(item, unfit, letters, set())
            return
        for record in records:
            events: list[Event] = []
            try:
                rows = self._rows(record, events)
            except UnfitError as unfit:
                part = item if record is item.record else item._replace(record=record, raw=b"")
                people = set().union(*map(self.reader.people, events))
                self._refuse(part, unfit, letters, people)
            else:
                self.n_read += 1
                spool.add(rows, number=item.number)

    def _rows(self, record: Record, events: list[Event]) -> list[Row]:
        """Return a record's rows, all or none; `events` holds what was seen of it."""
        rows, n_chars = [], 0
        for event in _guarded(self.format.convert, record, self.source):
            events.append(event)
            row = self.reader.row(event)
            rows.append(row)
            n_chars += len(row.payload)
            if n_chars > MAX_EVENTS_CHARS:
                raise UnfitError("too_long", f"its events have over {MAX_EVENTS_CHARS} characters")
        return rows

    def _refuse(self, item: Item, unfit: UnfitError, letters: Letters, people: set[str]) -> None:
        self.n_read += 1
        self.reasons[unfit.reason] += 1
        letters.refuse(item, unfit, people)

    def _refuse_conflicts(self, spool: Spool, settled: Settled, path: Path) -> None:
        """Write a letter for each record with a taken identity, in the order of the source."""
        last = -1
        with path.open("w", encoding="utf-8", newline="\n") as file:
            letters = Letters(file, self.title, self.reader)
            for batch in spool.rows(settled, state=CONFLICT):
                for row in batch.to_pylist():
                    if row["record"] == last:
                        continue
                    last = row["record"]
                    what = f"{row['kind']} {row['id']!r} revision {row['revision']}"
                    unfit = UnfitError("conflict", f"{what} exists with other content")
                    letters.write(row["number"], unfit, row["payload"][:RAW_CHARS])
                    self.reasons[unfit.reason] += 1


def _guarded(function: Callable[..., Iterable[T]], *args: object) -> Iterator[T]:
    """Yield what an importer yields; whatever goes wrong in it is wrong with the record."""
    try:
        yield from function(*args)
    except UnfitError:
        raise
    except Exception as error:
        raise UnfitError("unexpected", f"{type(error).__name__}: {error}") from error


def _columns(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    names = lake_table.SCHEMA.names
    for batch in batches:
        yield batch.select(names)


def _remember(objects: ObjectStore, entry: str, letters: Path, report: IngestReport) -> None:
    """Put the ledger's entry, last: killed before it, the file is read again and adds nothing."""
    with letters.open("rb") as file:
        objects.put(f"{entry}.dead.jsonl", file)
    objects.put(f"{entry}.json", report.model_dump_json().encode())


def _write_letters(path: Path, letters: Iterable[dict[str, object]], *, source: str) -> None:
    """Write letters under the name the file has now."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for letter in letters:
            file.write(json.dumps(letter | {"source": source}, ensure_ascii=False) + "\n")
