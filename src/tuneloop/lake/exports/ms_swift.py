"""ms-swift: `messages`, `rejected_response` (or `rejected_messages`), `label`, tools as JSON.

Source: https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html,
https://swift.readthedocs.io/en/latest/Instruction/Agent-support.html
"""

from __future__ import annotations

import json
from typing import Any

from tuneloop.lake.examples import Example, InexpressibleError, Message, Target, text_content

_ROLES = {"developer": "system", "tool": "tool_response"}


def express(example: Example) -> dict[str, Any]:
    """Return the row; calls and results of tools are messages of their own."""
    if not example.has_question and example.kind != "sft":
        raise InexpressibleError("no_prompt")
    prompt = _messages(example.prompt) if example.has_question else []
    row: dict[str, Any] = {"messages": prompt + _messages(example.answers[0])}
    if example.kind == "preference":
        rejected = _messages(example.answers[1])
        if len(rejected) == 1 and rejected[0]["role"] == "assistant":
            row["rejected_response"] = rejected[0]["content"]
        else:
            row["rejected_messages"] = prompt + rejected
    if example.kind == "kto":
        row["label"] = example.label
    if example.tools:
        row["tools"] = json.dumps(example.tools, ensure_ascii=False)
    return row


def _messages(messages: list[Message]) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    for message in messages:
        role = _ROLES.get(message["role"], message["role"])
        text = text_content(message)
        if text or not message.get("tool_calls"):
            said.append({"role": role, "content": text})
        for call in message.get("tool_calls") or []:
            said.append({"role": "tool_call", "content": _call(call["function"])})
    return said


def _call(function: dict[str, Any]) -> str:
    try:
        arguments = json.loads(function.get("arguments") or "{}")
    except ValueError:
        raise InexpressibleError("bad_arguments") from None
    return json.dumps({"name": function["name"], "arguments": arguments}, ensure_ascii=False)


_SUFFIXES = (".jsonl", ".json")
TARGET = Target(
    name="ms-swift",
    suffixes={"sft": _SUFFIXES, "preference": _SUFFIXES, "kto": _SUFFIXES},
    express=express,
)
