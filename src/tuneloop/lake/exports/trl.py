"""TRL: conversational prompt and completion, preference with its prompt, unpaired preference.

Source: https://huggingface.co/docs/trl/dataset_formats
"""

from __future__ import annotations

import json
from typing import Any

from tuneloop.lake.examples import Example, InexpressibleError, Message, Target


def express(example: Example) -> dict[str, Any]:
    """Return the row; a text without a question as language modelling has it."""
    if not example.has_question:
        if example.kind != "sft":
            raise InexpressibleError("no_prompt")
        return {"text": example.answers[0][-1].get("content") or ""}
    sides = [[_message(message) for message in answer] for answer in example.answers]
    names = ("chosen", "rejected") if example.kind == "preference" else ("completion",)
    row: dict[str, Any] = {"prompt": [_message(message) for message in example.prompt]}
    row |= dict(zip(names, sides, strict=True))
    if example.kind == "kto":
        row["label"] = example.label
    return row | ({"tools": example.tools} if example.tools else {})


def _message(message: Message) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message["role"], "content": message.get("content") or ""}
    if message.get("reasoning"):
        said["reasoning_content"] = message["reasoning"]
    if message.get("tool_calls"):
        said["tool_calls"] = [_call(call) for call in message["tool_calls"]]
    return said | {k: message[k] for k in ("name", "tool_call_id") if message.get(k)}


def _call(call: dict[str, Any]) -> dict[str, Any]:
    """Return a call with its arguments as an object: chat templates print what they are given."""
    function = dict(call.get("function") or {})
    try:
        held = json.loads(function.get("arguments") or "{}")
    except (ValueError, TypeError):
        held = None
    if isinstance(held, dict):
        function["arguments"] = held
    return call | {"function": function}


_SUFFIXES = (".jsonl", ".json", ".parquet")
TARGET = Target(
    name="trl",
    suffixes={"sft": _SUFFIXES, "preference": _SUFFIXES, "kto": _SUFFIXES},
    express=express,
    reasoning=True,
)
