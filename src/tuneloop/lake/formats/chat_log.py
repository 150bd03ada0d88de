"""Logs of chats that nobody judged: LMSYS-Chat-1M, WildChat and their like."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.answers import as_answer
from tuneloop.lake.chats import is_chat, read_messages
from tuneloop.lake.compose import interaction
from tuneloop.lake.fields import ident, parse_json, take
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id
from tuneloop.lake.times import UNDATED

_IDS = ("conversation_id", "conversation_hash")
_STAMPS = ("timestamp", "created_at", "tstamp")


def recognise(record: Mapping[str, Any]) -> float:
    """Look for one conversation with an id and the model that answered."""
    ours = "model" in record and any(name in record for name in _IDS)
    return 0.9 if ours and is_chat(parse_json(record.get("conversation"))) else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Yield every answer after what was said before it."""
    chat = read_messages(parse_json(record.get("conversation")))
    places = [n for n, message in enumerate(chat) if message["role"] == "assistant" and n]
    if not places:
        raise UnfitError("no_answer", "nobody answers in the conversation")
    name = ident(take(record, *_IDS)) or content_id("chat", chat)
    stamp = take(record, *_STAMPS)
    for turn, n in enumerate(places):
        yield interaction(
            f"{name}-{turn}", chat[:n], as_answer(chat[n]),
            event_ts=UNDATED if stamp is None else stamp,
            session_id=name, episode_id=name, turn=turn, system=ident(record.get("model")),
            subject_key=ident(record.get("hashed_ip")),
            tags=[str(record["language"])] if record.get("language") else None,
        )  # fmt: skip


FORMAT = Format(
    name="chat_log",
    title="logs of chats",
    recognise=recognise,
    convert=convert,
    fields=(
        ("`conversation[]`", "`request.messages`, `response`", "an interaction an answer"),
        ("`conversation_id`, `conversation_hash`", "`session_id`, `episode_id`", ""),
        ("`model`", "`system`", ""),
        ("`hashed_ip`", "`subject_key`", "WildChat"),
        ("`language`", "`tags`", ""),
        ("`timestamp`", "`event_ts`", "none: 2000-01-01"),
    ),
    examples=(
        {
            "conversation_id": "c1", "model": "m1", "turn": 1, "language": "English",
            "conversation": [{"role": "user", "content": "Name a river."},
                             {"role": "assistant", "content": "The Elbe."}],
        },
        {
            "conversation_hash": "c2", "model": "m2", "timestamp": "2023-04-09T00:02:53Z",
            "hashed_ip": "22fd87ba9b98f7d3", "language": "English",
            "conversation": [{"role": "user", "content": "Name a lake."},
                             {"role": "assistant", "content": "Water."},
                             {"role": "user", "content": "A real one."},
                             {"role": "assistant", "content": "Lake Constance."}],
        },
    ),
)  # fmt: skip
