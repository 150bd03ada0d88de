"""LMArena, 140,000 battles: turns of parts, and `both_bad` beside a tie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.chats import read_messages
from tuneloop.lake.compose import Vote, chats_compared, has, winner_of
from tuneloop.lake.fields import parse_json
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id
from tuneloop.lake.times import UNDATED

_FIELDS = ("id", "model_a", "model_b", "winner", "conversation_a", "conversation_b")


def recognise(record: Mapping[str, Any]) -> float:
    """Look for an id, two conversations and a winner."""
    return 1.0 if has(record, *_FIELDS) and "question_id" not in record else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Yield what both models answered, and the verdict."""
    chats = [read_messages(parse_json(record.get(f"conversation_{side}"))) for side in "ab"]
    if not all(chats):
        raise UnfitError("no_answer", "a conversation is empty")
    # One session is one visitor.
    visitor = record.get("evaluation_session_id")
    stamp = record.get("timestamp")
    told = ("is_code", "category_tag", "evaluation_order")
    extra = {k: record[k] for k in told if record.get(k) is not None}
    return chats_compared(
        f"arena140k-{record.get('id') or content_id('r', record)}",
        (chats[0], chats[1]),
        [Vote(winner_of(record.get("winner")), kind="user", actor=visitor)],
        systems=(record.get("model_a"), record.get("model_b")),
        event_ts=UNDATED if stamp is None else stamp,
        subject_key=visitor,
        tags=[str(record["language"])] if record.get("language") else None,
        extra=extra,
    )


def _chat(asked: str, answer: str) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": [{"type": "text", "text": asked, "image": None}]},
        {"role": "assistant", "content": [{"type": "text", "text": answer}], "num_tokens": 3},
    ]


FORMAT = Format(
    name="arena_140k",
    title="LMArena, 140k",
    recognise=recognise,
    convert=convert,
    fields=(
        ("`conversation_a`, `conversation_b`", "`request.messages`, `response`", "where they part"),
        ("`content[]`", "`content`", "texts joined; beside pictures they stay parts"),
        ("later turns", "interactions of the episode", "the verdict was on the whole"),
        ("`model_a`, `model_b`", "`system`", ""),
        ("`winner`", "`preference`", "`tie`, `both_bad`"),
        ("`evaluation_session_id`", "`subject_key`, `actor`", "one visitor: split by it"),
        ("`language`", "`tags`", ""),
        ("`is_code`, `category_tag`", "`extra`", ""),
        ("`timestamp`", "`event_ts`", ""),
        ("`full_conversation`", "", "said again in the two"),
    ),
    examples=(
        {
            "id": "b1", "model_a": "m1", "model_b": "m2", "winner": "both_bad",
            "evaluation_session_id": "s1", "evaluation_order": 1, "language": "en",
            "is_code": False, "timestamp": "2025-06-01 10:00:00",
            "conversation_a": _chat("Name a river.", "Bananas."),
            "conversation_b": _chat("Name a river.", "No."),
        },
    ),
)  # fmt: skip
