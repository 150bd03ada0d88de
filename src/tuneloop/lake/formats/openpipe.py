"""OpenPipe's rows: a chat with its answer, and perhaps the message it was preferred to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.answers import read_answer, split_answer
from tuneloop.lake.chats import is_chat, read_messages
from tuneloop.lake.compose import Vote, interaction, pair
from tuneloop.lake.fields import ident, mapping, parse_json, rest, rows
from tuneloop.lake.format import Event, Format, Record, Source
from tuneloop.lake.ids import content_id
from tuneloop.lake.ratings import demonstration

_REQUEST = ("tools", "tool_choice", "response_format", "functions", "function_call")
_OWN = ("rejected_message", "split")


def recognise(record: Mapping[str, Any]) -> float:
    """A chat with a rejected message or a split."""
    if not is_chat(parse_json(record.get("messages"))):
        return 0.0
    return 1.0 if "rejected_message" in record else 0.8 if "split" in record else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """One accepted answer; with a rejected message two answers and which was preferred."""
    id = content_id("pipe", record)
    prompt, response = split_answer(read_messages(record.get("messages")))
    request = {
        "tools": rows(record.get("tools") or record.get("functions")),
        "response_format": mapping(record.get("response_format")),
        "sampling": {"tool_choice": record["tool_choice"]} if record.get("tool_choice") else None,
    }
    tags = [f"split:{record['split']}"] if record.get("split") else None
    more: dict[str, Any] = {
        "request": {k: v for k, v in request.items() if v},
        "tags": tags,
        "extra": rest(record, "messages", *_OWN, *_REQUEST) or None,
        "task": ident(mapping(record.get("metadata")).get("prompt_id")),
    }
    rejected = parse_json(record.get("rejected_message"))
    if rejected:
        events = pair(id, prompt, (response, read_answer(rejected)), [Vote("a")], **more)
        return [*events, demonstration(f"{id}-a")]
    return [interaction(id, prompt, response, **more), demonstration(id)]


FORMAT = Format(
    name="openpipe",
    title="OpenPipe dataset",
    recognise=recognise,
    convert=convert,
    fields=(
        ("messages[]", "request.messages, response", "the last message is the answer"),
        ("rejected_message", "a second interaction, preference", ""),
        ("tools, tool_choice, response_format", "request", ""),
        ("split", "tags", "split:TRAIN"),
        ("metadata.prompt_id", "task", "all of metadata stays in extra"),
        ("the row itself", "thumb +1, dimension demonstration, by a reviewer", ""),
    ),
    examples=(
        {
            "messages": [
                {"role": "system", "content": "You sort mail."},
                {"role": "user", "content": "Invoice 17 attached"},
                {"role": "assistant", "content": "finance"},
            ],
            "rejected_message": {"role": "assistant", "content": "spam"},
            "split": "TRAIN",
            "metadata": {"prompt_id": "mail_v2"},
        },
        {
            "messages": [
                {"role": "user", "content": "Where is my parcel?"},
                {"role": "assistant", "content": "It left the depot this morning."},
            ],
            "split": "TEST",
        },
    ),
)
