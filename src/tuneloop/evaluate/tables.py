"""The tables of an evaluation: columns, types, order. Equal rows give equal bytes.

- `answers.parquet`: one row per prompt and side.
- `checks.parquet`: one row per prompt, side and check; `passed` is null where `status` is missing.
- `claims.parquet`: one row per claim of an answer that was judged for grounding, `finding`
  supported, unsupported or nothing; only where a golden prompt has such a check.
- `metrics.parquet`: one row per prompt, side and graded metric.
- `timings.parquet`: one row per probed prompt and side, in seconds; only where latency is evidence.
- `distributions.parquet`: one row per property of the answers as a whole: both systems' means, the
  difference or distance with its 95 % interval and two-sided p-value; of a distance `null_high`,
  which 97.5 % of alike systems stay below.
- `samples.parquet`: one row per different answer of a prompt; see `sampling.py`.
- `judgments.parquet`: one row per prompt, judge, order and sample; an undecided prompt has several
  samples. `p_a` and `p_b` are the probabilities of the labels of the first and the second answer
  shown, `p_tie` that of a tie, `off_label` what is left; `score` is the candidate's: P(candidate) +
  P(tie) / 2, over the labels alone, or 1, 0 or ½ where structured output decided. Order
  `each_alone` has two grades, 0 to 1, in the place of the labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

Side = Literal["champion", "candidate"]
SIDES: tuple[Side, Side] = ("champion", "candidate")

Row = dict[str, Any]

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "answers": {
        "prompt_id": "string", "side": "string", "status": "string", "reason": "string",
        "text": "string", "finish_reason": "string", "n_prompt_tokens": "int64",
        "n_completion_tokens": "int64",
    },
    "checks": {
        "prompt_id": "string", "side": "string", "check": "string", "kind": "string",
        "version": "int64", "cost": "string", "status": "string", "reason": "string",
        "passed": "bool", "required": "bool", "hard": "bool",
        "detail": "string",
    },
    "claims": {
        "prompt_id": "string", "side": "string", "check": "string", "claim": "int64",
        "text": "string", "status": "string", "reason": "string", "finding": "string",
        "p_supported": "float64", "off_label": "float64", "decided_by": "string",
        "reasoning": "string",
    },
    "metrics": {
        "prompt_id": "string", "side": "string", "metric": "string", "status": "string",
        "value": "float64",
    },
    "judgments": {
        "prompt_id": "string", "order": "string", "judge": "string", "sample": "int64",
        "status": "string", "reason": "string", "score": "float64", "p_a": "float64",
        "p_b": "float64", "p_tie": "float64", "grade_champion": "float64",
        "grade_candidate": "float64", "off_label": "float64", "decided_by": "string",
        "reasoning": "string",
    },
    "timings": {
        "prompt_id": "string", "side": "string", "status": "string", "seconds": "float64",
    },
    "distributions": {
        "metric": "string", "unit": "string", "status": "string", "reason": "string",
        "n": "int64", "n_missing": "int64", "champion": "float64", "candidate": "float64",
        "estimate": "float64", "ci_low": "float64", "ci_high": "float64", "p_value": "float64",
        "null_high": "float64", "method": "string",
    },
    "samples": {
        "interaction_id": "string", "split": "string", "trigger": "string", "origin": "string",
        "answer": "string", "system": "string", "checks_json": "string", "checks": "float64",
        "correction": "float64", "judge": "float64", "score": "float64", "margin": "float64",
        "feedback_ids": "strings",
    },
}  # fmt: skip
SORT_KEYS = ("prompt_id", "side", "judge", "order", "sample", "check", "metric", "claim")


def write_table(name: str, rows: Sequence[Row], folder: Path) -> Path:
    """Write one table in the order of prompt, side or order, and check or metric."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = COLUMNS[name]
    keys = [key for key in SORT_KEYS if columns.get(key) in ("string", "int64")]
    ordered = sorted(rows, key=lambda row: [row[key] for key in keys])
    types = {"int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_(),
             "strings": pa.list_(pa.string())}  # fmt: skip
    schema = pa.schema([(c, types.get(kind, pa.string())) for c, kind in columns.items()])
    path = folder / f"{name}.parquet"
    pq.write_table(pa.Table.from_pylist(ordered, schema=schema), path)
    return path
