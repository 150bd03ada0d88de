"""Records out of tables: CSV, Parquet, data sets of the hub."""

from __future__ import annotations

import base64
import csv
import json
import math
from collections.abc import Iterable, Iterator
from datetime import date, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneloop.errors import DataError
from tuneloop.lake.format import Record, UnfitError
from tuneloop.lake.parsing import MAX_RECORD_BYTES, RAW_BYTES, Item

if TYPE_CHECKING:
    from tuneloop.lake.containers import Advance

BATCH_ROWS = 512


# -- CSV -----------------------------------------------------------------------------
class _Lines:
    """Lines as text for the CSV reader; remembers whether one was too long or no UTF-8."""

    def __init__(self, lines: Iterable[tuple[int, bytes, bool]]) -> None:
        self._lines = iter(lines)
        self.number, self.begin = 0, 1
        self.unfit: UnfitError | None = None

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        self.number, raw, complete = next(self._lines)
        if not complete:
            self.unfit = UnfitError("too_long", f"it has more than {MAX_RECORD_BYTES} bytes")
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            if complete:
                self.unfit = UnfitError("bad_encoding", f"byte {error.start} is not UTF-8")
            return raw.decode("utf-8", errors="backslashreplace")

    def skip_text(self) -> None:
        """Pass over the lines of a text to the one that closes its quotation marks."""
        for _, raw, _ in self._lines:
            if raw.count(b'"') % 2:
                return


def read_csv(lines: Iterable[tuple[int, bytes, bool]], *, delimiter: str) -> Iterator[Item]:
    """Yield a record a row, named by the header; every value is a text, an empty one None."""
    csv.field_size_limit(MAX_RECORD_BYTES)
    source = _Lines(lines)
    rows = csv.reader(source, delimiter=delimiter)
    header: list[str] | None = None
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            source.unfit = source.unfit or UnfitError("bad_csv", str(error))
            if "field limit" in str(error):  # of lines within quotation marks: they go on
                source.skip_text()
            row = [""]
        unfit, source.unfit = source.unfit, None
        if not row:
            continue
        if header is None and unfit is None:
            header = _header(row)
            continue
        if header is not None and unfit is None and len(row) != len(header):
            detail = f"{len(row)} columns where the header has {len(header)}"
            unfit = UnfitError("wrong_columns", detail)
        if unfit is None:
            record = {k: v or None for k, v in zip(header or [], row, strict=True)}
            yield Item(source.number, record, b"")
        else:
            raw = delimiter.join(row)[:RAW_BYTES].encode("utf-8", "backslashreplace")
            yield Item(source.number, None, raw, unfit)


def _header(row: list[str]) -> list[str]:
    """Return the names of the columns; of a name that is there twice, the others are numbered."""
    names: list[str] = []
    for name in map(str.strip, row):
        again = sum(known.rpartition(" (")[0] == name or known == name for known in names)
        names.append(f"{name} ({again + 1})" if again else name)
    return names


# -- Parquet -------------------------------------------------------------------------
def read_parquet(path: Path, advance: Advance) -> Iterator[Item]:
    """Yield a record a row; a list or an object in a cell comes as such.

    Raises:
        DataError: if the file is cut off or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    n_bytes = path.stat().st_size
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            n_rows, number = file.metadata.num_rows, 0
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                for record in _as_python(batch):
                    number += 1
                    yield _row(number, record)
                advance(n_bytes * len(batch) // max(n_rows, 1))
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"the Parquet file is cut off or damaged: {str(error).splitlines()[0]}",
            where=str(path),
            hint="nothing of it was taken in; copy or export it again",
        ) from error


def _as_python(batch: Any) -> list[Record]:
    """Return the rows; times to the microsecond, since Python knows none finer."""
    import pyarrow as pa

    for place, field in enumerate(batch.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            coarser = batch.column(place).cast(pa.timestamp("us", tz=field.type.tz), safe=False)
            batch = batch.set_column(place, field.name, coarser)
    rows: list[Record] = batch.to_pylist()
    return rows


def _row(number: int, record: Record) -> Item:
    try:
        return Item(number, {str(k): _plain(v) for k, v in record.items()}, b"")
    except UnicodeDecodeError:
        raw = repr(record).encode("utf-8", "backslashreplace")[:RAW_BYTES]
        return Item(number, None, raw, UnfitError("bad_encoding", "a value is not UTF-8"))


def _plain(value: Any) -> Any:
    """Return what JSON could hold, with None for what is not a number."""
    if isinstance(value, str | int) or value is None:
        return value
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):  # a text, or a picture
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value.item() if hasattr(value, "item") else str(value)


# -- the hub -------------------------------------------------------------------------
def read_hub(address: str) -> Iterator[Item]:
    """Yield the records of `hf:name[:config][:split]`, streamed; the split is `train` if unsaid.

    Raises:
        DataError: if there is no such set, no hub, or no `datasets`.
    """
    name, _, rest = address.removeprefix("hf:").partition(":")
    config, _, split = rest.rpartition(":")
    try:
        from datasets import load_dataset

        rows = load_dataset(name, config or None, split=split or "train", streaming=True)
        for number, record in enumerate(rows, start=1):
            yield _row(number, record)
    except ImportError as error:
        raise DataError(
            "reading the hub needs the package datasets",
            where=address,
            hint="pip install 'tuneloop[train]'",
        ) from error
    except Exception as error:  # its libraries raise what they like
        raise DataError(
            f"the data set cannot be read: {type(error).__name__}: {str(error)[:300]}",
            where=address,
            hint="is there a way to the hub? hf:name[:config][:split]; a file works without",
        ) from error


def raw_of(item: Item) -> bytes:
    """Return what stands for the record in the dead letters."""
    if item.raw or item.record is None:
        return item.raw[:RAW_BYTES]
    text = json.dumps(item.record, ensure_ascii=False, default=str)
    return text[:RAW_BYTES].encode("utf-8", "backslashreplace")
