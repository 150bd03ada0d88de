"""Take one event file into the lake: streamed, idempotent, nothing lost in silence."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from tuneloop.artefacts.digest import digest_file, digest_json
from tuneloop.artefacts.events import SCHEMA_VERSION
from tuneloop.artefacts.stage import Progress
from tuneloop.errors import DataError
from tuneloop.lake import table as lake_table
from tuneloop.lake.lines import RAW_CHARS, RefusedError, Row, identity, parse_line, read_lines

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from obstore.store import ObjectStore

BATCH_ROWS = 4_096
BATCH_CHARS = 16 * 1024 * 1024


class IngestReport(BaseModel):
    """What became of a file's lines: read = accepted + rejected + duplicates.

    `seen_before`: the ledger knew the file; the numbers are those of when it was taken in.
    """

    model_config = ConfigDict(frozen=True)

    read: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0
    by_reason: dict[str, int] = Field(default_factory=dict)
    seen_before: bool = False


def ingest_file(
    path: Path,
    table_uri: str,
    *,
    dead_letter: Path,
    progress: Progress,
    tenant_default: str = "default",
) -> IngestReport:
    """Append the file's new events in one commit and return what became of its lines.

    Identity is (kind, tenant, id, revision); a repeated event is a duplicate, another event
    under a taken identity is refused as a `conflict`. Memory: one batch of rows, and about
    200 bytes for each event in the table and the file.

    Args:
        path: JSON lines of native events.
        table_uri: The Delta table, a folder or an object-store address.
        dead_letter: Where refused lines go, as JSON lines with source, line, reason, detail
            and the beginning of the raw text. Written anew.
        progress: Driven in bytes.
        tenant_default: Tenant of events that name none.

    Raises:
        DataError: if the file cannot be read.
    """
    try:
        source = digest_file(path)
    except OSError as error:
        raise DataError(f"the event file cannot be read: {error}", where=str(path)) from error
    entry = digest_json([source, tenant_default, SCHEMA_VERSION])
    with lake_table.writers_lock(table_uri):
        table = lake_table.open_table(table_uri)
        objects = lake_table.side_objects(table_uri)
        known = lake_table.get_object(objects, f"{entry}.json") if table else None
        if known is not None:
            letters = lake_table.get_object(objects, f"{entry}.dead.jsonl") or b""
            _write_letters(dead_letter, letters, source=path.name)
            return IngestReport.model_validate_json(known).model_copy(update={"seen_before": True})
        progress.start(f"lake: {path.name}", total=path.stat().st_size)
        with dead_letter.open("w", encoding="utf-8") as letters_file:
            intake = _Intake(_known_rows(table), tenant_default, path.name, letters_file, progress)
            lake_table.append(table_uri, intake.batches(path))
        report = intake.report()
        _remember(objects, entry, dead_letter, report)
    progress.done(f"{report.accepted} events, {report.rejected} refused")
    return report


@dataclass
class _Intake:
    """The state of one file's way into the table."""

    known: dict[bytes, bytes]
    tenant_default: str
    source: str
    letters: TextIO
    progress: Progress
    n_read: int = 0
    n_accepted: int = 0
    n_duplicates: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def batches(self, path: Path) -> Iterator[pa.RecordBatch]:
        rows: list[Row] = []
        n_chars = 0
        for number, raw, complete in read_lines(path):
            self.n_read += 1
            self.progress.advance(len(raw))
            try:
                row = parse_line(raw, complete=complete, tenant_default=self.tenant_default)
                if not self._is_new(row):
                    continue
            except RefusedError as refused:
                self._refuse(number, raw, refused)
                continue
            rows.append(row)
            n_chars += len(row.payload)
            if len(rows) >= BATCH_ROWS or n_chars >= BATCH_CHARS:
                yield _as_batch(rows)
                rows, n_chars = [], 0
        if rows:
            yield _as_batch(rows)

    def report(self) -> IngestReport:
        return IngestReport(
            read=self.n_read,
            accepted=self.n_accepted,
            rejected=self.reasons.total(),
            duplicates=self.n_duplicates,
            by_reason=dict(sorted(self.reasons.items())),
        )

    def _is_new(self, row: Row) -> bool:
        digest = bytes.fromhex(row.row_digest[:16])
        taken = self.known.setdefault(row.identity, digest)
        if taken is digest:
            self.n_accepted += 1
            return True
        if taken != digest:
            raise RefusedError(
                "conflict",
                f"{row.kind} {row.id!r} revision {row.revision} exists with other content",
            )
        self.n_duplicates += 1
        return False

    def _refuse(self, number: int, raw: bytes, refused: RefusedError) -> None:
        self.reasons[refused.reason] += 1
        text = raw[: RAW_CHARS * 4].decode("utf-8", errors="backslashreplace")[:RAW_CHARS]
        letter = {
            "source": self.source,
            "line": number,
            "reason": refused.reason,
            "detail": refused.detail,
            "raw": text.rstrip("\r\n"),
        }
        self.letters.write(json.dumps(letter, ensure_ascii=False) + "\n")


def _known_rows(table: DeltaTable | None) -> dict[bytes, bytes]:
    """Return identity → first 8 bytes of the row digest, of every row in the table."""
    known: dict[bytes, bytes] = {}
    if table is None:
        return known
    columns = ["kind", "tenant", "id", "revision", "row_digest"]
    for batch in lake_table.read_columns(table, columns):
        for *names, digest in zip(*(batch[column] for column in columns), strict=True):
            known[identity(*names)] = bytes.fromhex(digest[:16])
    return known


def _as_batch(rows: list[Row]) -> pa.RecordBatch:
    columns: list[pa.Array] = []
    for column in lake_table.SCHEMA:
        values: list[Any] = [getattr(row, column.name) for row in rows]
        columns.append(pa.array(values, type=column.type))
    return pa.RecordBatch.from_arrays(columns, schema=lake_table.SCHEMA)


def _remember(objects: ObjectStore, entry: str, letters: Path, report: IngestReport) -> None:
    """Put the ledger's entry, last: killed before it, the file is read again and adds nothing."""
    with letters.open("rb") as file:
        objects.put(f"{entry}.dead.jsonl", file)
    objects.put(f"{entry}.json", report.model_dump_json().encode())


def _write_letters(path: Path, letters: bytes, *, source: str) -> None:
    """Write remembered dead letters under the name the file has now."""
    with path.open("w", encoding="utf-8") as file:
        # On "\n" alone: JSON may hold U+2028 and other line ends as they are.
        for line in letters.decode("utf-8").split("\n")[:-1]:
            letter = json.loads(line) | {"source": source}
            file.write(json.dumps(letter, ensure_ascii=False) + "\n")
