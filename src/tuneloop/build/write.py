"""The example set's files: Parquet in TRL's conversational formats, and a summary."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tuneloop.artefacts.digest import canonical_json
from tuneloop.build.settle import Settled

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_BEHIND = [
    ("row_id", pa.string()),
    ("interaction_id", pa.string()),
    ("rule", pa.string()),
    ("weight", pa.float64()),
    ("interaction_ids", pa.list_(pa.string())),
    ("feedback_ids", pa.list_(pa.string())),
]
SCHEMAS = {
    "sft": pa.schema([("prompt", MESSAGES), ("completion", MESSAGES), *_BEHIND]),
    "preference": pa.schema(
        [("prompt", MESSAGES), ("chosen", MESSAGES), ("rejected", MESSAGES), *_BEHIND]
    ),
    "kto": pa.schema(
        [("prompt", MESSAGES), ("completion", MESSAGES), ("label", pa.bool_()), *_BEHIND]
    ),
}
SPLITS = ("train", "validation")
N_EXAMPLES = 3


def write_set(kind: str, rows: list[Settled], path: Path) -> None:
    """Write the rows of one kind and split; an empty file keeps its columns.

    Without rows there is no row group either: `datasets` streams such a file (its cache holds
    no empty split) and fails on an empty row group.
    """
    table = pa.Table.from_pylist([as_record(kind, row) for row in rows], SCHEMAS[kind])
    with pq.ParquetWriter(path, SCHEMAS[kind], compression="zstd") as writer:
        if rows:
            writer.write_table(table)


def as_record(kind: str, row: Settled) -> dict[str, Any]:
    """Return one row as TRL wants it, with what it rests on beside it."""
    example = row.example
    answers = [[{"role": "assistant", "content": text}] for text in example.texts]
    names = ("chosen", "rejected") if kind == "preference" else ("completion",)
    record: dict[str, Any] = {"prompt": example.prompt, **dict(zip(names, answers, strict=True))}
    if kind == "kto":
        record["label"] = example.label
    return record | {
        "row_id": row.row_id,
        "interaction_id": row.interaction_id,
        "rule": example.rule,
        "weight": example.weight,
        "interaction_ids": list(example.interactions),
        "feedback_ids": list(example.feedback),
    }


def write_summary(
    sets: dict[str, dict[str, list[Settled]]],
    *,
    skipped: Counter[str],
    caps: dict[str, Any],
    path: Path,
) -> None:
    """Write what was made, by kind, split and rule, with lengths and a few examples."""
    summary: dict[str, Any] = {"skipped": dict(sorted(skipped.items())), "caps": caps}
    for kind, by_split in sets.items():
        rows = [row for split in SPLITS for row in by_split[split]]
        summary[kind] = {
            **{split: len(by_split[split]) for split in SPLITS},
            "by_rule": dict(sorted(Counter(row.example.rule for row in rows).items())),
            "prompt_chars": _lengths(
                [sum(len(m["content"]) for m in row.example.prompt) for row in rows]
            ),
            "answer_chars": _lengths([len(text) for row in rows for text in row.example.texts]),
            "examples": [as_record(kind, row) for row in rows[:N_EXAMPLES]],
        }
    path.write_text(canonical_json(summary), "utf-8")


def _lengths(lengths: list[int]) -> dict[str, float] | None:
    if not lengths:
        return None
    middle, high = np.percentile(lengths, [50, 95])
    return {
        "mean": round(float(np.mean(lengths)), 1),
        "p50": float(middle),
        "p95": float(high),
        "max": float(max(lengths)),
    }
