"""OpenAI's fine-tuning chats: `messages`, perhaps `tools`, and weights on the assistant's turns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.answers import split_answer
from tuneloop.lake.chats import is_chat, read_messages
from tuneloop.lake.compose import interaction
from tuneloop.lake.fields import parse_json, rest, rows
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id
from tuneloop.lake.ratings import demonstration

_USED = ("messages", "tools", "functions", "parallel_tool_calls")


def recognise(record: Mapping[str, Any]) -> float:
    """Chats and nothing that says more of them."""
    if not is_chat(parse_json(record.get("messages"))) or "rejected_message" in record:
        return 0.0
    return 0.7 if not record.keys() - {*_USED, "id", "metadata", "source", "user"} else 0.55


def convert(record: Record, source: Source) -> Iterable[Event]:
    """One interaction a turn that is trained on: the last, or those whose weight is not 0.

    Without weights the row is one conversation and its last answer stands for it; the earlier
    ones are context.
    """
    raw = rows(record.get("messages"))
    weighted = any(m.get("weight") is not None for m in raw)
    ends = [
        n + 1
        for n, message in enumerate(raw)
        if weighted and message.get("role") == "assistant" and message.get("weight") != 0
    ]
    if weighted and not ends:
        raise UnfitError("no_answer", "every answer has the weight 0")
    request: dict[str, Any] = {"tools": rows(record.get("tools") or record.get("functions"))}
    if record.get("parallel_tool_calls") is not None:
        request["sampling"] = {"parallel_tool_calls": record["parallel_tool_calls"]}
    session = content_id("chat", record) if len(ends) > 1 else None
    for turn, end in enumerate(ends or [len(raw)]):
        prompt, response = split_answer(read_messages(raw[:end]))
        id = content_id("sft", record, end)
        yield interaction(
            id,
            prompt,
            response,
            request={k: v for k, v in request.items() if v},
            session_id=session,
            turn=turn if session else None,
            extra=rest(record, *_USED) or None,
        )
        yield demonstration(id)


FORMAT = Format(
    name="openai_sft",
    title="OpenAI fine-tuning chats",
    recognise=recognise,
    convert=convert,
    fields=(
        ("messages[]", "request.messages, response", "the last assistant turn is the answer"),
        ("messages[].weight", "one interaction a turn that is not 0", "others are context"),
        ("tools, functions", "request.tools", ""),
        ("parallel_tool_calls", "request.sampling", ""),
        ("the row itself", "thumb +1, dimension demonstration, by a reviewer", "it was accepted"),
    ),
    examples=(
        {
            "messages": [
                {"role": "system", "content": "You book tables."},
                {"role": "user", "content": "A table for two at eight?"},
                {"role": "assistant", "content": "It is booked for two at eight."},
            ]
        },
        {
            "messages": [
                {"role": "user", "content": "What is the weather in Oslo?"},
                {
                    "role": "assistant",
                    "tool_calls": [
                        {
                            "id": "call_1",
                            "type": "function",
                            "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
                        }
                    ],
                    "weight": 1,
                },
                {"role": "tool", "tool_call_id": "call_1", "content": "4 °C, rain"},
                {"role": "assistant", "content": "Four degrees and rain.", "weight": 1},
            ],
            "parallel_tool_calls": False,
            "tools": [{"type": "function", "function": {"name": "weather", "parameters": {}}}],
        },
    ),
)
