"""OpenAI's preference rows: an input, a preferred and a non-preferred output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.answers import split_answer
from tuneloop.lake.chats import read_messages
from tuneloop.lake.compose import Vote, has, pair
from tuneloop.lake.fields import mapping, rest, rows
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id


def recognise(record: Mapping[str, Any]) -> float:
    """Two outputs under names nobody else uses."""
    return 1.0 if has(record, "input", "preferred_output", "non_preferred_output") else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Return two interactions of one request, and which of them was preferred."""
    asked = mapping(record.get("input"))
    prompt = read_messages(asked.get("messages"))
    if not prompt:
        raise UnfitError("no_prompt", "input.messages is empty")
    request: dict[str, Any] = {"tools": rows(asked.get("tools"))}
    if asked.get("parallel_tool_calls") is not None:
        request["sampling"] = {"parallel_tool_calls": asked["parallel_tool_calls"]}
    (before, better), (before_too, worse) = (
        split_answer(prompt + read_messages(record.get(name), role="assistant"))
        for name in ("preferred_output", "non_preferred_output")
    )
    return pair(
        content_id("pref", record),
        (before, before_too),
        (better, worse),
        [Vote("a")],
        request={k: v for k, v in request.items() if v},
        extra=rest(record, "input", "preferred_output", "non_preferred_output") or None,
    )


FORMAT = Format(
    name="openai_preference",
    title="OpenAI preference rows",
    recognise=recognise,
    convert=convert,
    fields=(
        ("input.messages[]", "request.messages", ""),
        ("input.tools", "request.tools", ""),
        ("input.parallel_tool_calls", "request.sampling", ""),
        ("preferred_output[], non_preferred_output[]", "response", "the last assistant message"),
        ("the row itself", "preference", "by a reviewer"),
    ),
    examples=(
        {
            "input": {
                "messages": [{"role": "user", "content": "Is the shop open today?"}],
                "tools": [],
                "parallel_tool_calls": True,
            },
            "preferred_output": [{"role": "assistant", "content": "Yes, until six."}],
            "non_preferred_output": [{"role": "assistant", "content": "Shops open on days."}],
        },
    ),
)
