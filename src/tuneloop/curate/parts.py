"""Part files: what passes between the passes of curation, on disk, one batch a file.

A part is an Arrow IPC file under a name that follows from the rows in it, put in place whole: a
killed run finds the parts it finished, and a batch that is worked on twice is the same part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

N_RANGES = 64
"""Ranges of question hashes that are read and written one at a time: 1.6 % of the texts each."""
_SHIFT = np.uint64(64 - 6)
MAX_OPEN = 256  # files; half of what a process may have open by custom, twice over


def range_of(question: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the range each question hash lies in."""
    return (question >> _SHIFT).astype(np.int64)


def write(path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
    """Write batches as one file, compressed, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, schema, options=options) as out:
        for batch in batches:
            out.write_batch(batch)
    part.replace(path)


def write_ranges(path: Path, table: pa.Table, ranges: NDArray[np.int64]) -> None:
    """Write a table whose rows ascend by range: record batch i of the file is range i."""
    bounds = np.searchsorted(ranges, np.arange(N_RANGES + 1))
    batches = (
        table.slice(low, high - low).combine_chunks()
        for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    )
    empty = pa.RecordBatch.from_pylist([], schema=table.schema)
    write(path, ((batch.to_batches() or [empty])[0] for batch in batches), table.schema)


def read(path: Path) -> pa.Table:
    """Return a whole file."""
    with pa.OSFile(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


class Ranges:
    """Some columns of many files, one range at a time, file by file.

    Files stay open between ranges, as many as a process may have.
    """

    def __init__(self, paths: Sequence[Path], columns: Sequence[str]) -> None:
        self._paths, self._columns = paths, list(columns)
        self._open: list[pa.RecordBatchFileReader] = []
        self._options: pa.ipc.IpcReadOptions | None = None

    def read(self, number: int) -> pa.Table:
        """Return one range."""
        batches = []
        for place, path in enumerate(self._paths):
            reader = self._open[place] if place < len(self._open) else self._reader(path)
            if place == len(self._open) < MAX_OPEN:
                self._open.append(reader)
            batches.append(reader.get_batch(number))
        return pa.Table.from_batches(batches)

    def _reader(self, path: Path) -> pa.RecordBatchFileReader:
        source = pa.OSFile(str(path))
        if self._options is None:
            names = pa.ipc.open_file(source).schema.names
            fields = [names.index(name) for name in self._columns]
            self._options = pa.ipc.IpcReadOptions(included_fields=fields)
        return pa.ipc.open_file(source, options=self._options)
