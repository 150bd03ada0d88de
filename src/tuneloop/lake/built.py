"""Rows of a built set as examples, and examples as columns of Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tuneloop.lake.examples import Example, Kind, Message

BATCH_ROWS = 1_024
_CALLS = pa.list_(
    pa.struct(
        [
            ("id", pa.string()),
            ("type", pa.string()),
            ("function", pa.struct([("name", pa.string()), ("arguments", pa.string())])),
        ]
    )
)
_MESSAGES = pa.list_(
    pa.struct(
        [
            ("role", pa.string()),
            ("content", pa.string()),
            ("reasoning_content", pa.string()),
            ("tool_calls", _CALLS),
            ("tool_call_id", pa.string()),
            ("name", pa.string()),
        ]
    )
)
_ANSWERS = {"sft": ("completion",), "preference": ("chosen", "rejected"), "kto": ("completion",)}


def built_rows(paths: list[Path], kind: Kind) -> Iterator[Example]:
    """Yield the rows of a set's files, one batch in memory."""
    for path in paths:
        for batch in pq.ParquetFile(path, pre_buffer=False).iter_batches(batch_size=BATCH_ROWS):
            for row in batch.to_pylist():
                tools = row.get("tools")
                yield Example(
                    kind,
                    [_message(message) for message in row["prompt"]],
                    tuple([_message(m) for m in row[name]] for name in _ANSWERS[kind]),
                    tools=json.loads(tools) if isinstance(tools, str) and tools else None,
                    label=row.get("label"),
                    learn_all=row.get("loss_on") == "all",
                )


def _message(held: dict[str, Any]) -> Message:
    said = {name: value for name, value in held.items() if value not in (None, "")}
    if isinstance(said.get("tool_calls"), str):
        said["tool_calls"] = json.loads(said["tool_calls"])
    if not said.get("tool_calls"):
        said.pop("tool_calls", None)
    return said


def column_schema(kind: Kind) -> pa.Schema:
    """Return the columns of a conversational set; calls have their arguments as JSON."""
    columns = [("prompt", _MESSAGES), *((name, _MESSAGES) for name in _ANSWERS[kind])]
    if kind == "kto":
        columns.append(("label", pa.bool_()))
    return pa.schema([*columns, ("tools", pa.string())])


def as_columns(record: dict[str, Any]) -> dict[str, Any]:
    """Return a conversational row with values as its columns have them."""
    row = dict(record)
    if "text" in row:
        row |= {"prompt": [], "completion": [{"role": "assistant", "content": row.pop("text")}]}
    if row.get("tools"):
        row["tools"] = json.dumps(row["tools"], ensure_ascii=False)
    for name in ("prompt", "completion", "chosen", "rejected"):
        if name in row:
            row[name] = [_columns(message) for message in row[name]]
    return row


def _columns(message: dict[str, Any]) -> dict[str, Any]:
    said = dict(message)
    if isinstance(said.get("content"), list):
        said["content"] = json.dumps(said["content"], ensure_ascii=False)
    if said.get("tool_calls"):
        said["tool_calls"] = [
            call | {"function": call["function"] | {"arguments": _json(call["function"])}}
            for call in said["tool_calls"]
        ]
    return said


def _json(function: dict[str, Any]) -> str:
    held = function.get("arguments")
    return held if isinstance(held, str) else json.dumps(held, ensure_ascii=False)
