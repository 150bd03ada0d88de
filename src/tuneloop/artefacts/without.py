"""Files written anew without what mentions a person: rows, lines, elements."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tuneloop.artefacts.mentions import Needles, rows_of_theirs

MARK = "[erased]"
BY_LINES = frozenset({".jsonl", ".ndjson", ".md", ".txt", ".log"})
WRITABLE = BY_LINES | {".parquet", ".json"}
"""What can lose a part of it and be read as before."""


def write_without(source: Path, target: Path, needles: Needles) -> Path:
    """Write a file to another place without what mentions the person."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".parquet":
        _table_without(source, target, needles)
    elif source.suffix == ".json":
        body = _json_without(json.loads(source.read_text("utf-8")), needles)
        target.write_text(json.dumps(body, ensure_ascii=False, sort_keys=True), "utf-8")
    else:
        with source.open("rb") as lines, target.open("wb") as out:
            for line in lines:
                if not needles.found_in(line):
                    out.write(line)
    return target


def _table_without(source: Path, target: Path, needles: Needles) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with (
        pq.ParquetFile(source) as table,
        pq.ParquetWriter(target, table.schema_arrow, compression="zstd") as writer,
    ):
        for group in range(table.num_row_groups):
            rows = table.read_row_group(group)
            writer.write_table(rows.filter(pa.array(~rows_of_theirs(rows, needles))))


def _json_without(value: Any, needles: Needles, key: str = "") -> Any:
    """Return JSON without list elements that mention the person; else the mention is marked."""
    if not needles.hit(value, key):
        return value
    if isinstance(value, list):
        return [_json_without(v, needles, key) for v in value
                if isinstance(v, list) or not needles.hit(v, key)]  # fmt: skip
    if isinstance(value, dict):
        return {k: _json_without(v, needles, k) for k, v in value.items() if not needles.hit(k)}
    return MARK
