"""LLaMA-Factory: ShareGPT conversations, ranking and KTO tags, with an entry in dataset_info.json.

Source: https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tuneloop.lake.examples import (
    Example,
    InexpressibleError,
    Kind,
    Message,
    Target,
    one_answer,
    text_content,
)

_SIDES = {"human": 0, "observation": 0, "gpt": 1, "function_call": 1}


def express(example: Example) -> dict[str, Any]:
    """Return the row: people and results of tools in turn with answers and calls."""
    if not example.has_question:
        raise InexpressibleError("no_prompt")
    system = [m for m in example.prompt if m["role"] in ("system", "developer")]
    if any(message not in system for message in example.prompt[: len(system)]):
        raise InexpressibleError("system_prompt")  # somewhere in the middle
    turns = _turns(example.prompt[len(system) :])
    tools = [tool.get("function", tool) for tool in example.tools or []]
    row: dict[str, Any] = {
        "conversations": turns,
        # Always there: a column that dataset_info.json names and no row has is an error.
        "system": "\n\n".join(map(text_content, system)),
        "tools": json.dumps(tools, ensure_ascii=False) if tools else "",
    }
    if example.kind == "preference":
        chosen, rejected = (_turns([one_answer(answer)])[0] for answer in example.answers)
        row |= {"chosen": chosen, "rejected": rejected}
    else:
        turns += _turns(example.answers[0])
    for place, turn in enumerate(turns):
        if _SIDES[turn["from"]] != place % 2:
            raise InexpressibleError("turns_out_of_order")
    if (example.kind == "preference") == (len(turns) % 2 == 0):
        raise InexpressibleError("turns_out_of_order")
    return row | ({"kto_tag": example.label} if example.kind == "kto" else {})


def _turns(messages: list[Message]) -> list[dict[str, str]]:
    turns: list[dict[str, str]] = []
    for message in messages:
        if message.get("tool_calls"):
            if message.get("content"):
                raise InexpressibleError("text_beside_calls")
            turns.append({"from": "function_call", "value": _calls(message["tool_calls"])})
        elif message["role"] == "tool" and turns and turns[-1]["from"] == "observation":
            turns[-1]["value"] += "\n" + text_content(message)  # answers to calls made at once
        else:
            names = {"user": "human", "assistant": "gpt", "tool": "observation"}
            if message["role"] not in names:
                raise InexpressibleError("system_prompt")
            turns.append({"from": names[message["role"]], "value": text_content(message)})
    return turns


def _calls(calls: list[dict[str, Any]]) -> str:
    said = []
    for call in calls:
        function = call["function"]
        try:
            arguments = json.loads(function.get("arguments") or "{}")
        except ValueError:
            raise InexpressibleError("bad_arguments") from None
        said.append({"name": function["name"], "arguments": arguments})
    return json.dumps(said[0] if len(said) == 1 else said, ensure_ascii=False)


def describe(kind: Kind, out: Path) -> dict[str, dict[str, Any]]:
    """Return the entry that makes the file known by its name."""
    columns = {"messages": "conversations", "system": "system", "tools": "tools"}
    entry: dict[str, Any] = {"file_name": out.name, "formatting": "sharegpt", "columns": columns}
    if kind == "preference":
        entry["ranking"] = True
        columns |= {"chosen": "chosen", "rejected": "rejected"}
    if kind == "kto":
        columns["kto_tag"] = "kto_tag"
    return {"dataset_info.json": {out.stem: entry}}


_SUFFIXES = (".jsonl", ".json")
TARGET = Target(
    name="llamafactory",
    suffixes={"sft": _SUFFIXES, "preference": _SUFFIXES, "kto": _SUFFIXES},
    express=express,
    describe=describe,
)
