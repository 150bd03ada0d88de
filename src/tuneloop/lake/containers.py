"""What kind of file it is, told from its beginning and not from its name, and its records."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Literal

from pydantic_core import from_json

from tuneloop.errors import DataError
from tuneloop.lake.format import Record, UnfitError
from tuneloop.lake.opening import Stream
from tuneloop.lake.parsing import MAX_RECORD_BYTES, RAW_BYTES, Item, parse_item
from tuneloop.lake.splitting import JsonSplitter, Readable, list_offset

HEAD_BYTES = 256 * 1024
N_ROWS = 20
HUB = "hf:"

Kind = Literal["empty", "lines", "array", "values", "list", "csv", "parquet", "hub"]
Advance = Callable[[int], None]
Fits = Callable[[Record], tuple[float, bool]]


@dataclass(frozen=True)
class Container:
    """How the records lie in a file.

    Attributes:
        kind: JSON lines; a JSON array; JSON values one after another (also a single one); a
            list within one JSON object; CSV; Parquet; a data set of the hub.
        key: Name of that list.
        wrapped: Whether the format takes the object: each element comes as `{key: [element]}`.
        delimiter: Of a CSV.
    """

    kind: Kind
    key: str = ""
    wrapped: bool = False
    delimiter: str = ","


def look_into(path: Path, *, fits: Fits) -> Container:
    """Return how the file's records lie in it.

    Args:
        path: The file.
        fits: How surely a record is of the format that is looked for, 0 … 1, and whether that
            format has records within records. It decides whether one object with a list in it
            is a record or holds the records.

    Raises:
        DataError: if it is no text and no Parquet.
    """
    with path.open("rb") as raw:
        if raw.read(4) == b"PAR1":
            return Container("parquet")
    with Stream(path) as stream:
        head = stream.file.read(HEAD_BYTES)
        whole = len(head) < HEAD_BYTES and not stream.broken
    body = head.strip()
    if not body:
        return Container("empty" if whole else "lines")
    lines = [line for line in body.split(b"\n") if line.strip()]
    if body[:1] in b"[{":
        first_is_whole = _is_json(lines[0])
        many = len(lines) > 1 or not whole
        if first_is_whole and many:
            return Container("lines")
        if body[:1] == b"[":
            # In an array a comma stands between two objects.
            whole_ones = [_is_object(line) for line in lines[1:N_ROWS]]
            adjacent = any(a and b for a, b in pairwise(whole_ones))
            return Container("lines" if adjacent else "array")
        broken_lines = any(_is_object(line) for line in lines[1:N_ROWS])
        return Container("lines") if broken_lines else _object(body, fits, whole=whole)
    if any(_is_object(line) for line in lines[1:N_ROWS]):
        return Container("lines")
    delimiter = _delimiter(body[:65536])
    return Container("csv", delimiter=delimiter) if delimiter else Container("lines")


def _is_json(line: bytes) -> bool:
    try:
        from_json(line, allow_inf_nan=True)
    except ValueError:
        return False
    return True


def _is_object(line: bytes) -> bool:
    return line.lstrip()[:1] == b"{" and _is_json(line)


def _object(body: bytes, fits: Fits, *, whole: bool) -> Container:
    """Tell a record from an object around a list of records."""
    try:
        seen = from_json(body, allow_partial=True)
    except ValueError:  # values one after another, or something broken
        return Container("values")
    lists = {
        key: value
        for key, value in seen.items()
        if isinstance(value, list) and value and isinstance(value[0], dict)
    }
    if len(lists) != 1:
        return Container("values")
    ((key, elements),) = lists.items()
    if list_offset(body, key) is None:
        return Container("values")
    (as_record, nested), (as_element, _) = fits(seen), fits(elements[0])
    if as_record < as_element or not as_record:
        return Container("list", key=key)
    if nested and not whole and len(seen) == 1:  # too long to be held
        return Container("list", key=key, wrapped=True)
    return Container("values")


def _delimiter(head: bytes) -> str | None:
    """Return what parts the columns of a CSV, or None where nothing does.

    The mark that gives most of the first rows as many columns as the header; of several the one
    that gives the most columns.
    """
    text = head.decode("utf-8", errors="replace")
    found: dict[str, tuple[float, int]] = {}
    for mark in ",;\t|":
        rows = [row for row in islice(_parted(text, mark), N_ROWS) if row]
        if rows and len(rows[0]) > 1:
            fitting = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
            found[mark] = (fitting, len(rows[0]))
    return max(found, key=lambda mark: found[mark], default=None)


def _parted(text: str, mark: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    except csv.Error:  # the head ends within a row
        return


# -- records -------------------------------------------------------------------------
def read_records(path: Path, container: Container, advance: Advance) -> Iterator[Item]:
    """Yield every record, whatever is wrong with it; memory: one record.

    `advance` is told how many bytes of the file were taken since it was told last.

    Raises:
        DataError: if the file as a whole cannot be read.
    """
    if container.kind == "parquet":
        from tuneloop.lake.tabular import read_parquet

        yield from read_parquet(path, advance)
        return
    with Stream(path) as stream:
        told = 0
        for item in _items(stream, container):
            yield item
            if (position := stream.position) > told:
                advance(position - told)
                told = position


def _items(stream: Stream, container: Container) -> Iterator[Item]:
    if container.kind == "empty":
        return
    if container.kind == "csv":
        from tuneloop.lake.tabular import read_csv

        lines = _lines(stream, table=True)
        yield from _until_broken(stream, read_csv(lines, delimiter=container.delimiter))
    elif container.kind == "lines":
        yield from _until_broken(
            stream, (parse_item(n, raw, complete=whole) for n, raw, whole in _lines(stream))
        )
    else:
        yield from _values(stream, container)


def _lines(stream: Stream, *, table: bool = False) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (line number, bytes, complete) for every line; of a table also those that are blank.

    There a text may have blank lines, and what is kept of a long line leaves quotation marks as
    open as the whole line does.
    """
    number = 0
    while raw := stream.file.readline(MAX_RECORD_BYTES + 1):
        number += 1
        complete = len(raw) <= MAX_RECORD_BYTES or raw.endswith(b"\n")
        kept = raw if complete else raw[:RAW_BYTES]
        n_marks = 0 if complete else raw.count(b'"', len(kept))
        while not complete and raw and not raw.endswith(b"\n"):
            raw = stream.file.readline(MAX_RECORD_BYTES)
            n_marks += raw.count(b'"')
        if table and n_marks % 2:
            kept += b'"'
        if table or kept.strip():
            yield number, kept, complete


def _values(stream: Stream, container: Container) -> Iterator[Item]:
    file: Readable = stream.file
    in_list = container.kind == "list"
    if in_list:
        head = file.read(HEAD_BYTES)
        offset = list_offset(head, container.key)
        file = _Again(head[offset or 0 :], file)
    values = JsonSplitter(
        file,
        array=container.kind != "values",
        max_bytes=MAX_RECORD_BYTES,
        head_bytes=RAW_BYTES,
        ends_with_array=in_list,
    )
    items = (
        parse_item(number, raw, complete=complete)
        for number, (raw, complete) in enumerate(values, start=1)
    )
    if container.wrapped:
        items = (
            item if item.record is None else item._replace(record={container.key: [item.record]})
            for item in items
        )
    yield from _until_broken(stream, items, values)


def _until_broken(
    stream: Stream, items: Iterable[Item], values: JsonSplitter | None = None
) -> Iterator[Item]:
    """Yield the items; where the file was cut off, the last one that cannot be read says so."""
    last: Item | None = None
    for item in items:
        if last:
            yield last
        last = item
    cut = stream.broken or (
        "the file ends within a JSON value" if values and not values.closed else None
    )
    if cut is None:
        if last:
            yield last
        return
    refused = UnfitError("truncated", cut)
    if last and last.refused is not None and last.refused.reason in ("bad_json", "bad_encoding"):
        yield last._replace(refused=refused)
        return
    if last:
        yield last
    yield Item(last.number + 1 if last else 1, None, b"", refused)


class _Again:
    """A file with some of its bytes put back in front."""

    def __init__(self, front: bytes, file: Readable) -> None:
        self._front, self._file = front, file

    def read(self, n: int, /) -> bytes:
        piece, self._front = self._front, b""
        return piece or self._file.read(n)


def check_readable(path: Path) -> None:
    """Raise DataError where it is missing, a folder or a pipe, or may not be read."""
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise DataError(
                "this is a pipe or a device",
                where=str(path),
                hint="a file is read more than once: write it to one first",
            )
        with path.open("rb"):
            pass
    except OSError as error:
        raise DataError(
            f"the event file cannot be read: {error.strerror}", where=str(path)
        ) from error
