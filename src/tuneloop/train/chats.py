"""Conversations as a chat template takes them: tool calls parsed, reasoning where it belongs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

Messages = list[dict[str, Any]]
Chat = tuple[Messages, str | None]
"""Messages, and the tools offered as JSON."""

_RENDER_BATCH = 1000


def as_message(message: dict[str, Any]) -> dict[str, Any]:
    """Return a stored message as templates take it: no nulls, tool calls as data."""
    plain = {k: v for k, v in message.items() if v is not None} | {
        "content": message.get("content") or ""
    }
    if isinstance(plain.get("tool_calls"), str):
        plain["tool_calls"] = [_call(call) for call in json.loads(plain["tool_calls"])]
    if "reasoning" in plain:
        plain["reasoning_content"] = plain.pop("reasoning")
    return plain


def as_tools(row: dict[str, Any]) -> str | None:
    """Return the tools of a row as JSON, None without any."""
    tools = row.get("tools")
    return tools if tools and tools != "[]" else None


def without_calls(messages: Messages) -> Messages:
    """Return messages without their tool calls."""
    return [{k: v for k, v in m.items() if k != "tool_calls"} for m in messages]


def render(tokenizer: Any, chats: Sequence[Chat], *, prompt: bool = False) -> list[list[int]]:
    """Return token ids of each chat, through the model's own template.

    Chats with the same tools go through it together. Reasoning that the template leaves out is
    written before the answer, between `<think>` marks.
    """
    tokens: list[list[int]] = [[]] * len(chats)
    places: dict[str | None, list[int]] = {}
    for place, (_, tools) in enumerate(chats):
        places.setdefault(tools, []).append(place)
    for tools, own in places.items():
        for begin in range(0, len(own), _RENDER_BATCH):
            batch = own[begin : begin + _RENDER_BATCH]
            messages = [_thinking_shown(tokenizer, chats[place][0]) for place in batch]
            texts = tokenizer.apply_chat_template(
                messages,
                tools=json.loads(tools) if tools else None,
                tokenize=False,
                add_generation_prompt=prompt,
            )
            ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
            for place, found in zip(batch, ids, strict=True):
                tokens[place] = found
    return tokens


def _call(call: dict[str, Any]) -> dict[str, Any]:
    """Return a tool call with its arguments as data, which is what templates write as JSON."""
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = json.loads(function["arguments"])
    except ValueError:
        return call
    return call | {"function": function | {"arguments": arguments}}


def _thinking_shown(tokenizer: Any, messages: Messages) -> Messages:
    if not any(m.get("reasoning_content") for m in messages):
        return messages
    if "reasoning_content" in str(tokenizer.chat_template):
        return messages
    return [
        m | {"content": f"<think>\n{m['reasoning_content']}\n</think>\n\n{m['content']}"}
        if m.get("reasoning_content")
        else m
        for m in messages
    ]
