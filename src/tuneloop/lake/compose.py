"""What importers build events from: texts, numbers, interactions and compared pairs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tuneloop.lake.format import Event, UnfitError
from tuneloop.lake.times import UNDATED

Winner = Literal["a", "b", "tie", "both_bad"]
WINNERS: Mapping[str, Winner] = {
    "model_a": "a", "model_b": "b", "a": "a", "b": "b", "left": "a", "right": "b",
    "tie": "tie", "both_good": "tie", "tie (both good)": "tie", "tie (bothgood)": "tie",
    "tie (inconsistent)": "tie", "equal": "tie", "same": "tie", "draw": "tie", "both": "tie",
    "tie (bothbad)": "both_bad", "tie (both bad)": "both_bad", "both_bad": "both_bad",
    "both bad": "both_bad", "bothbad": "both_bad", "neither": "both_bad",
}  # fmt: skip

Prompt = str | Sequence[Mapping[str, Any]]
Chat = Sequence[Mapping[str, Any]]
Answer = str | Mapping[str, Any]
"""Text, or `content`, `tool_calls` and `reasoning`."""


@dataclass(frozen=True)
class Vote:
    """What one person or judge said of a pair.

    Attributes:
        winner: `a` or `b`, or that neither is better, or that both are bad.
        kind: Kind of actor.
        actor: Who; None: nameless.
        metadata: Margin, strength, reasons.
    """

    winner: Winner
    kind: Literal["user", "reviewer", "judge", "rule"] = "reviewer"
    actor: str | None = None
    dimension: str | None = None
    comment: str | None = None
    metadata: Mapping[str, Any] | None = None


def interaction(
    id: str, prompt: Prompt, answer: Answer, *, event_ts: Any = UNDATED, **more: Any
) -> Event:
    """Return one interaction; `prompt` is the user's text or all messages before the answer."""
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    response = {"content": answer} if isinstance(answer, str) else dict(answer)
    request = {"messages": messages} | more.pop("request", {})
    event = {"type": "interaction", "id": id, "event_ts": event_ts}
    return event | {"request": request, "response": response} | _stated(more)


def feedback(
    id: str, target: str, signal: str, value: Any, *, event_ts: Any = UNDATED, **more: Any
) -> Event:
    """Return one piece of feedback on an interaction."""
    event = {"type": "feedback", "id": id, "event_ts": event_ts, "target": {"id": target}}
    return event | {"signal": signal, "value": value} | _stated(more)


def pair(
    id: str,
    prompts: Prompt | tuple[Prompt, Prompt],
    answers: tuple[Answer, Answer],
    votes: Iterable[Vote],
    *,
    systems: tuple[str | None, str | None] = (None, None),
    event_ts: Any = UNDATED,
    **more: Any,
) -> list[Event]:
    """Return two interactions (`<id>-a`, `<id>-b`) and one preference a vote (`<id>-p<n>`).

    Args:
        id: What the ids are made from.
        prompts: What was asked: the same for both, or each its own as a tuple.
        answers: The two answers.
        votes: What was said of them.
        systems: Who answered.
        event_ts: When.
        more: Other fields of both interactions.

    Raises:
        UnfitError: `identical_answers`: nothing can be preferred.
    """
    if answers[0] == answers[1]:
        raise UnfitError("identical_answers", "both answers are the same")
    both = prompts if isinstance(prompts, tuple) else (prompts, prompts)
    ids = (f"{id}-a", f"{id}-b")
    events = [
        interaction(*three, event_ts=event_ts, system=system, **more)
        for *three, system in zip(ids, both, answers, systems, strict=True)
    ]
    return events + preferences(id, ids, votes, event_ts=event_ts)


def preferences(
    id: str, ids: tuple[str, str], votes: Iterable[Vote], *, event_ts: Any = UNDATED
) -> list[Event]:
    """Return one preference (`<id>-p<n>`) a vote between two interactions."""
    events = []
    for n, vote in enumerate(votes):
        winner, loser = reversed(ids) if vote.winner == "b" else ids
        outcome = "better" if vote.winner in ("a", "b") else vote.winner
        value = {"winner": winner, "loser": loser, "outcome": outcome}
        events.append(
            feedback(
                f"{id}-p{n}", winner, "preference", value, event_ts=event_ts,
                actor=_stated({"kind": vote.kind, "id": vote.actor}),
                dimension=vote.dimension, comment=vote.comment, metadata=vote.metadata,
            )
        )  # fmt: skip
    return events


def chats_compared(
    id: str,
    chats: tuple[Chat, Chat],
    votes: Sequence[Vote],
    *,
    ids: tuple[str, str] | None = None,
    systems: tuple[str | None, str | None] = (None, None),
    event_ts: Any = UNDATED,
    **more: Any,
) -> list[Event]:
    """Return two whole conversations and what was said of them.

    The prompt is what both begin with; the answers are where they part. What either went on with
    becomes further interactions of its episode (`<id>-a-<n>`), each with its own messages before
    it: the verdict was on the whole, which `n_answers` in its metadata says.

    Raises:
        UnfitError: `identical_answers`, or `no_common_prompt` where they do not part at an answer.
    """
    ids = ids or (f"{id}-a", f"{id}-b")
    said = [[{k: v for k, v in m.items() if k != "extra"} for m in chat] for chat in chats]
    start = next(
        (n for n, (a, b) in enumerate(zip(*said, strict=False)) if a != b), min(map(len, said))
    )
    if start == len(chats[0]) == len(chats[1]):
        raise UnfitError("identical_answers", "both conversations are the same")
    if not all(chat[start:] and chat[start]["role"] == "assistant" for chat in chats):
        raise UnfitError("no_common_prompt", f"they do not part at an answer, but at turn {start}")
    if not any(m["role"] == "user" and m["content"] for m in chats[0][:start]):
        raise UnfitError("no_prompt", "nothing was asked before the answers")
    events: list[Event] = []
    n_answers = 1
    for name, chat, system in zip(ids, chats, systems, strict=True):
        places = [n for n in range(start, len(chat)) if chat[n]["role"] == "assistant"]
        n_answers = max(n_answers, len(places))
        place = {"episode_id": name} if len(places) > 1 else {}
        for k, n in enumerate(places):
            turn = {"turn": k} if place else {}
            events.append(
                interaction(
                    f"{name}-{k}" if k else name, chat[:n], {"content": chat[n]["content"]},
                    event_ts=event_ts, system=system, **place, **turn, **more,
                )
            )  # fmt: skip
    if n_answers > 1:
        told = {"n_answers": n_answers}
        votes = [replace(vote, metadata=told | dict(vote.metadata or {})) for vote in votes]
    return events + preferences(id, ids, votes, event_ts=event_ts)


def text_of(value: Any, what: str) -> str:
    """Return a text that is not blank.

    Raises:
        UnfitError: `not_text` or `empty_text`.
    """
    if not isinstance(value, str):
        raise UnfitError("not_text", f"{what} is a {type(value).__name__}, not a text")
    if not value.strip():
        raise UnfitError("empty_text", f"{what} is empty")
    return value


def number_of(value: Any) -> float | None:
    """Return a finite number, also from its text (CSV has nothing else), or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def winner_of(value: Any) -> Winner:
    """Return who won, in the words of arenas.

    Raises:
        UnfitError: `bad_verdict`.
    """
    winner = WINNERS.get(str(value).strip().lower())
    if winner is None:
        raise UnfitError("bad_verdict", f"the winner is {str(value)[:40]!r}")
    return winner


def has(record: Mapping[str, Any], *names: str) -> bool:
    """Return whether the record has all these fields."""
    return all(name in record for name in names)


def _stated(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
