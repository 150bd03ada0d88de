"""LMSYS arena conversations, and MT-bench's human judgements: two chats and who won."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from tuneloop.lake.chats import read_messages
from tuneloop.lake.compose import Vote, chats_compared, has, number_of, winner_of
from tuneloop.lake.format import Event, Format, Record, Source
from tuneloop.lake.ids import content_id
from tuneloop.lake.times import UNDATED


def recognise(record: Mapping[str, Any]) -> float:
    """Look for two conversations, two models and a winner, surer with a question's id."""
    fields = has(record, "model_a", "model_b", "winner", "conversation_a", "conversation_b")
    return (1.0 if "question_id" in record else 0.8) if fields else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Yield what both models answered, and the verdict."""
    turn = number_of(record.get("turn"))
    chats = [_cut(read_messages(record.get(f"conversation_{side}")), turn) for side in "ab"]
    models = tuple(str(record.get(f"model_{side}")) for side in "ab")
    asked = str(record.get("question_id") or record.get("id") or "")
    # Several judges may see the same two chats: those are the same interactions.
    ids = tuple(
        content_id("lmsys", asked, model, chat) for model, chat in zip(models, chats, strict=True)
    )
    kind, judge = _judge(record.get("judge"))
    vote = Vote(winner_of(record.get("winner")), kind=kind, actor=judge)
    stamp = record.get("tstamp")
    extra = {k: record[k] for k in ("question_id", "is_code", "category_tag") if record.get(k)}
    return chats_compared(
        content_id("lmsys", asked, ids, judge, stamp),
        (chats[0], chats[1]),
        [vote],
        ids=(ids[0], ids[1]),
        systems=(models[0], models[1]),
        event_ts=UNDATED if stamp is None else stamp,
        subject_key=judge if kind == "user" else None,
        tags=[str(record["language"])] if record.get("language") else None,
        extra=extra,
    )


def _cut(chat: list[dict[str, Any]], turn: float | None) -> list[dict[str, Any]]:
    """Return what had been said when the verdict was given: so many answers."""
    places = [n for n, message in enumerate(chat) if message["role"] == "assistant"]
    if turn is None or not 1 <= turn <= len(places):
        return chat
    return chat[: places[int(turn) - 1] + 1]


def _judge(value: Any) -> tuple[Literal["user", "reviewer", "judge"], str | None]:
    if isinstance(value, list):  # a model, and what it was asked
        return "judge", " ".join(map(str, value))
    name = str(value) if value else None
    if name and name.startswith("gpt"):
        return "judge", name
    expert = name and name.startswith(("expert", "author"))
    return ("reviewer" if expert else "user"), name


def _chat(*said: str) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": text} for n, text in enumerate(said)]


FORMAT = Format(
    name="lmsys_arena",
    title="LMSYS arena conversations",
    recognise=recognise,
    convert=convert,
    fields=(
        ("`conversation_a`, `conversation_b`", "`request.messages`, `response`", "where they part"),
        ("later turns", "interactions of the episode", "the verdict was on the whole"),
        ("`turn`", "", "answers after it were not judged"),
        ("`model_a`, `model_b`", "`system`", ""),
        ("`winner`", "`preference`", "`tie`; `tie (bothbad)` is `both_bad`"),
        ("`judge`", "`actor`, `subject_key`", "a user; experts and authors: reviewers; gpt: judge"),
        ("`language`", "`tags`", ""),
        ("`tstamp`", "`event_ts`", "MT-bench has none: 2000-01-01"),
    ),
    examples=(
        {
            "question_id": "q1", "model_a": "m1", "model_b": "m2", "winner": "model_b",
            "judge": "arena_user_973", "turn": 1, "anony": True, "language": "English",
            "tstamp": 1682351591.1, "conversation_a": _chat("Name a river.", "Bananas."),
            "conversation_b": _chat("Name a river.", "The Elbe."),
        },
        {
            "question_id": "q2", "model_a": "m1", "model_b": "m2", "winner": "tie (bothbad)",
            "judge": "arena_user_7", "turn": 2, "anony": True, "language": "English",
            "tstamp": 1682351599.4, "conversation_a": _chat("Hi", "Hello", "A lake?", "No."),
            "conversation_b": _chat("Hi", "Hey", "A lake?", "Never."),
        },
    ),
)  # fmt: skip
