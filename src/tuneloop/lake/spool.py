"""Rows on their way into the table, on disk: which of them are new is settled bucket by bucket.

Memory does not grow with the file nor with the table but for three bytes an event: identities lie
in bucket files by their first bits, and one bucket at a time is sorted and compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tuneloop.lake.rows import Row
from tuneloop.lake.table import SCHEMA

N_BUCKETS = 64
BATCH_ROWS = 4_096
BATCH_CHARS = 16 * 1024 * 1024

_ENTRY = np.dtype(
    [("bucket", "u1"), ("high", "u8"), ("low", "u8"), ("digest", "u8"), ("row", "i8"),
     ("record", "i8")]
)  # fmt: skip
_SPOOLED = SCHEMA.append(pa.field("record", pa.int64())).append(pa.field("number", pa.int64()))
_KNOWN = -1

NEW, DUPLICATE, CONFLICT, DROPPED = range(4)
"""What becomes of a row; DROPPED: another row of its record is in conflict."""

States = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Settled:
    """What becomes of every row, and of every record.

    Attributes:
        rows: One state a spooled row.
        conflicts: Records with a row whose identity is taken by other content.
        adds: Records that add at least one row.
        holds: Records with at least one row.
    """

    rows: States
    conflicts: Flags
    adds: Flags
    holds: Flags


class Spool:
    """Collects rows of records in a folder of its own, then tells new ones from known ones."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._rows: list[tuple[Row, int, int]] = []
        self._n_chars = 0
        self._file = pa.OSFile(str(folder / "rows.arrow"), "wb")
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_stream(self._file, _SPOOLED, options=options)
        self.n_rows = self.n_records = 0

    def add(self, rows: Iterable[Row], *, number: int) -> None:
        """Add the rows of one record, whose place in the source is `number`."""
        for row in rows:
            self._rows.append((row, self.n_records, number))
            self._n_chars += len(row.payload)
        self.n_records += 1
        if len(self._rows) >= BATCH_ROWS or self._n_chars >= BATCH_CHARS:
            self._write()

    def settle(self, known: Iterable[pa.RecordBatch]) -> Settled:
        """Tell which rows are new, against `known` (identity, row_digest) and one another."""
        self._write()
        self._writer.close()
        self._file.close()
        for batch in known:
            self._put(_entries(batch["identity"], batch["row_digest"]), "known")
        states = np.full(self.n_rows, NEW, np.uint8)
        conflicts = np.zeros(self.n_records, bool)
        for entries in self._buckets():
            row, state = _compared(entries)
            states[row] = state
            conflicts[entries["record"][entries["row"] != _KNOWN][state == CONFLICT]] = True
        if conflicts.any():  # rows first seen in a record that is refused: the next is the first
            for entries in self._buckets():
                own = entries["row"] != _KNOWN
                out = own & conflicts[entries["record"]]
                refused = entries["row"][out]
                states[refused[states[refused] != CONFLICT]] = DROPPED
                row, state = _compared(entries[~out])
                states[row] = state
        adds, holds = np.zeros(self.n_records, bool), np.zeros(self.n_records, bool)
        for begin, batch in self._batches():
            record = batch["record"].to_numpy()
            holds[record] = True
            adds[record[states[begin : begin + len(record)] == NEW]] = True
        return Settled(states, conflicts, adds & ~conflicts, holds)

    def rows(self, settled: Settled, *, state: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows in a state, with `record` and `number` as the last columns."""
        for begin, batch in self._batches():
            mask = settled.rows[begin : begin + len(batch)] == state
            if mask.all():
                yield batch
            elif mask.any():
                yield batch.filter(pa.array(mask))

    def _write(self) -> None:
        if not self._rows:
            return
        rows, records, numbers = zip(*self._rows, strict=True)
        columns = [*zip(*rows, strict=True), records, numbers]
        arrays = [pa.array(c, f.type) for c, f in zip(columns, _SPOOLED, strict=True)]
        batch = pa.RecordBatch.from_arrays(arrays, schema=_SPOOLED)
        self._writer.write_batch(batch)
        entries = _entries(batch["identity"], batch["row_digest"])
        entries["row"] = np.arange(self.n_rows, self.n_rows + len(batch))
        entries["record"] = batch["record"].to_numpy()
        self._put(entries, "new")
        self.n_rows += len(batch)
        self._rows, self._n_chars = [], 0

    def _put(self, entries: npt.NDArray[np.void], name: str) -> None:
        entries = entries[np.argsort(entries["bucket"], kind="stable")]
        ends = np.searchsorted(entries["bucket"], np.arange(N_BUCKETS + 1))
        for bucket in range(N_BUCKETS):
            part = entries[ends[bucket] : ends[bucket + 1]]
            if len(part):
                with (self._folder / f"{name}-{bucket}").open("ab") as file:
                    part.tofile(file)

    def _buckets(self) -> Iterator[npt.NDArray[np.void]]:
        for bucket in range(N_BUCKETS):
            parts = []
            for name in ("known", "new"):
                path = self._folder / f"{name}-{bucket}"
                if path.exists():
                    parts.append(np.fromfile(path, _ENTRY))
            if parts and (parts[-1]["row"] != _KNOWN).any():
                yield np.concatenate(parts)

    def _batches(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        begin = 0
        with pa.OSFile(str(self._folder / "rows.arrow"), "rb") as file:
            # Without threads: their allocators hold on to what the writer lets go of.
            options = pa.ipc.IpcReadOptions(use_threads=False)
            for batch in pa.ipc.open_stream(file, options=options):
                yield begin, batch
                begin += len(batch)


def _entries(identities: pa.Array, digests: pa.Array) -> npt.NDArray[np.void]:
    """Return one entry a row; the row's own number and record are still to be filled in."""
    entries = np.empty(len(identities), _ENTRY)
    words = np.frombuffer(b"".join(identities.to_pylist()), ">u8").reshape(-1, 2)
    entries["high"], entries["low"] = words[:, 0], words[:, 1]
    entries["bucket"] = (words[:, 0] >> np.uint64(56)) % N_BUCKETS
    short = bytes.fromhex("".join(digest[:16] for digest in digests.to_pylist()))
    entries["digest"] = np.frombuffer(short, ">u8")
    entries["row"] = entries["record"] = _KNOWN
    return entries


def _compared(entries: npt.NDArray[np.void]) -> tuple[npt.NDArray[np.int64], States]:
    """Return the new rows of a bucket in the order of `entries`, and the state of each.

    Of rows with one identity the known one is first, then the earliest; the same content again
    is a duplicate, other content is in conflict.
    """
    order = np.lexsort((entries["row"], entries["low"], entries["high"]))
    ordered = entries[order]
    first = np.ones(len(ordered), bool)
    first[1:] = (ordered["high"][1:] != ordered["high"][:-1]) | (
        ordered["low"][1:] != ordered["low"][:-1]
    )
    begins = np.flatnonzero(first)
    leader = ordered["digest"][begins][np.cumsum(first) - 1]
    states = np.where(first, NEW, np.where(ordered["digest"] == leader, DUPLICATE, CONFLICT))
    state = np.empty(len(entries), np.uint8)
    state[order] = states
    own = entries["row"] != _KNOWN
    return entries["row"][own], state[own]
