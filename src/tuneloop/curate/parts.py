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

N_RANGES = 128
"""Ranges of question hashes that are read and written one at a time: 0.8 % of the texts each."""
_SHIFT = np.uint64(64 - 7)


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


def read(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a whole file, or some of its columns."""
    with pa.OSFile(str(path)) as source:
        return _reader(source, columns).read_all()


def read_range(
    paths: Sequence[Path], number: int, columns: Sequence[str] | None = None
) -> pa.Table:
    """Return one range of many files, file by file."""
    batches = []
    for path in paths:
        with pa.OSFile(str(path)) as source:
            batches.append(_reader(source, columns).get_batch(number))
    return pa.Table.from_batches(batches)


def _reader(source: pa.NativeFile, columns: Sequence[str] | None) -> pa.RecordBatchFileReader:
    if columns is None:
        return pa.ipc.open_file(source)
    names = pa.ipc.open_file(source).schema.names
    fields = [names.index(name) for name in columns]
    return pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=fields))
