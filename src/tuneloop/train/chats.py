"""Conversations as a chat template takes them: tool calls parsed, reasoning where it belongs."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

Messages = list[dict[str, Any]]
Chat = tuple[Messages, str | None]
"""Messages, and the tools offered as JSON."""

# Templates that write today's date (Llama 3, SmolLM3) get this one, or the tokens of a set would
# change overnight and a run could not be resumed.
TODAY = dt.date(2026, 1, 1)
_RENDER_BATCH = 1000


class RefusedByTemplate(Exception):
    """The template raised: it takes no system prompt, or no such order of roles."""


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


def render_text(
    tokenizer: Any, messages: Messages, *, tools: str | None = None, prompt: bool = False
) -> str:
    """Return a chat as text, through the model's own template.

    Raises:
        RefusedByTemplate: with what the template says.
    """
    text: str = _texts(tokenizer, [messages], tools, prompt=prompt)[0]
    return text


def render(tokenizer: Any, chats: Sequence[Chat], *, prompt: bool = False) -> list[list[int]]:
    """Return token ids of each chat, through the model's own template.

    Chats with the same tools go through it together. Reasoning that the template leaves out is
    written before the answer, between `<think>` marks.

    Raises:
        RefusedByTemplate: with what the template says of one of them.
    """
    tokens: list[list[int]] = [[]] * len(chats)
    places: dict[str | None, list[int]] = {}
    for place, (_, tools) in enumerate(chats):
        places.setdefault(tools, []).append(place)
    for tools, own in places.items():
        for begin in range(0, len(own), _RENDER_BATCH):
            batch = own[begin : begin + _RENDER_BATCH]
            texts = _texts(tokenizer, [chats[place][0] for place in batch], tools, prompt=prompt)
            ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
            for place, found in zip(batch, ids, strict=True):
                tokens[place] = found
    return tokens


def refusal(tokenizer: Any, chat: Chat) -> str | None:
    """Return what a template says against a chat, None where it takes it."""
    try:
        render_text(tokenizer, chat[0], tools=chat[1])
    except RefusedByTemplate as error:
        return str(error)
    return None


def _texts(
    tokenizer: Any, chats: Sequence[Messages], tools: str | None, *, prompt: bool
) -> list[str]:
    from jinja2.exceptions import TemplateError

    try:
        texts: list[str] = tokenizer.apply_chat_template(
            [_thinking_shown(tokenizer, messages) for messages in chats],
            tools=json.loads(tools) if tools else None,
            tokenize=False,
            add_generation_prompt=prompt,
            strftime_now=TODAY.strftime,
        )
    except TemplateError as error:
        raise RefusedByTemplate(str(error)) from error
    return texts


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
