"""Labelled tables: CSV, TSV, JSON lines or Parquet, read row by row, bad rows counted."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneloop.errors import DataError

_DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
# Also halves of signs, which JSON can hold and UTF-8 cannot.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Row:
    """One message and its label."""

    text: str
    label: str


@dataclass
class Table:
    """The usable rows of a file, and why others are not."""

    rows: list[Row]
    n_read: int
    dropped: Counter[str] = field(default_factory=Counter)
    n_cut: int = 0


def read_table(path: Path, *, text: str, label: str, max_chars: int) -> Table:
    """Return the rows of a table that have a text and a label.

    Counted and left out: rows with an empty text or label, and rows whose text another row has
    already (under another label, all of them: nobody could tell which is right).

    Raises:
        DataError: if the file cannot be read or lacks a column.
    """
    rows: list[Row] = []
    table = Table(rows=rows, n_read=0)
    try:
        for record in _records(path):
            table.n_read += 1
            if record is None:
                table.dropped["malformed"] += 1
                continue
            if table.n_read == 1 or path.suffix in _DELIMITERS:
                _check_columns(record, (text, label), path)
            message, n_cut = _clean_text(record.get(text), max_chars)
            name = _clean_label(record.get(label))
            if not message or not name:
                table.dropped["empty_text" if not message else "empty_label"] += 1
                continue
            table.n_cut += n_cut
            rows.append(Row(message, name))
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise DataError(f"the table cannot be read: {error}", where=str(path)) from error
    table.rows = _without_repeats(rows, table.dropped)
    return table


def _records(path: Path) -> Iterator[dict[str, Any] | None]:
    """Yield each row as a mapping, or None where it is no row."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(path).iter_batches(10_000):
            yield from batch.to_pylist()
        return
    if suffix in (".jsonl", ".ndjson", ".json"):
        with path.open(encoding="utf-8-sig") as file:
            for line in file:
                if line.strip():
                    yield _json_row(line)
        return
    if suffix not in _DELIMITERS:
        raise DataError(
            f"a table cannot be {suffix or 'without ending'}",
            where=str(path),
            hint="use .csv, .tsv, .jsonl or .parquet",
        )
    csv.field_size_limit(1 << 24)
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file, delimiter=_DELIMITERS[suffix]):
            # A row with more fields than the header has them under None.
            yield None if None in row else row


def _json_row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _check_columns(record: dict[str, Any], wanted: tuple[str, ...], path: Path) -> None:
    missing = [column for column in wanted if column not in record]
    if missing:
        raise DataError(
            f"the table has no column {', '.join(map(repr, missing))}",
            where=str(path),
            hint=f"it has {', '.join(repr(str(c)) for c in record)}: name two of them with "
            "--text-column and --label-column",
        )


def _clean_text(value: Any, max_chars: int) -> tuple[str, bool]:
    text = _CONTROL.sub(" ", "" if value is None else str(value)).strip()
    if len(text) <= max_chars:
        return text, False
    cut = text[:max_chars]
    return (cut.rsplit(None, 1)[0] if len(cut.split()) > 1 else cut).strip(), True


def _clean_label(value: Any) -> str:
    """Return a label as one line of text; a whole number read as float loses its `.0`."""
    if value is None or (isinstance(value, float) and value != value):  # noqa: PLR0124
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return " ".join(_CONTROL.sub(" ", str(value)).split())


def _without_repeats(rows: list[Row], dropped: Counter[str]) -> list[Row]:
    labels: dict[str, set[str]] = {}
    for row in rows:
        labels.setdefault(_key(row.text), set()).add(row.label)
    kept: dict[str, Row] = {}
    for row in rows:
        key = _key(row.text)
        if len(labels[key]) > 1:
            dropped["two_labels"] += 1
        elif key in kept:
            dropped["repeated_text"] += 1
        else:
            kept[key] = row
    return list(kept.values())


def _key(text: str) -> str:
    return " ".join(text.casefold().split())
