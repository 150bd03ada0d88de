"""One file's records on their way into the table, and what became of them."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from tuneloop.artefacts.stage import Progress
from tuneloop.lake import table as lake_table
from tuneloop.lake.erase import erased_marks
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.letters import RAW_CHARS, Letters, read_letters, write_letters
from tuneloop.lake.parsing import MAX_RECORD_BYTES, Item
from tuneloop.lake.pseudonyms import Pseudonyms
from tuneloop.lake.rows import Reader, Row
from tuneloop.lake.spool import CONFLICT, NEW, Settled, Spool

T = TypeVar("T")

MAX_EVENTS_CHARS = 4 * MAX_RECORD_BYTES
"""The events of one record may repeat its messages, a turn each, so often."""


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

    def again(self) -> IngestReport:
        """Return what taking the same file in once more comes to: nothing is added."""
        known = self.accepted + self.duplicates
        return self.model_copy(update={"accepted": 0, "duplicates": known, "n_events": 0})


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


@dataclass
class Reading:
    """One file's way into the table.

    Attributes:
        format: What it is read as.
        intake: Where it goes.
        title: What it is called in the dead letters.
        digest: The beginning of its content's digest, empty where it has none.
    """

    format: Format
    intake: Intake
    title: str
    digest: str = ""
    n_read: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.reader = Reader(
            source=self.format.name,
            tenant=self.intake.tenant,
            pseudonyms=self.intake.pseudonyms,
            erased=erased_marks(self.intake.uri),
        )
        self.source = Source(name=self.title)

    def take(self, items: Iterator[Item], scratch: Path, dead_letter: Path) -> IngestReport:
        """Append what is new in one commit; return what became of the records."""
        spool = Spool(scratch / "rows")
        early, late = scratch / "early.jsonl", scratch / "late.jsonl"
        with early.open("w", encoding="utf-8", newline="\n") as file:
            letters = Letters(file, self.title, self.digest, self.reader)
            for item in items:
                self._take_item(item, spool, letters)
        table = lake_table.open_table(self.intake.uri)
        columns = ["identity", "row_digest"]
        settled = spool.settle(lake_table.read_columns(table, columns) if table else ())
        self._refuse_conflicts(spool, settled, late)
        lake_table.append(self.intake.uri, _columns(spool.rows(settled, state=NEW)))
        both = heapq.merge(read_letters(early), read_letters(late), key=lambda one: one["line"])
        write_letters(dead_letter, both, source=self.title)
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
            letters = Letters(file, self.title, self.digest, self.reader)
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
