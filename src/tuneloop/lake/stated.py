"""Training rows from a lake as stated, before any gate.

- sft: answers as people corrected them; else answers they liked.
- preference: the better of two compared answers; a correction before what it corrects.
- kto: answers people liked or disliked; both of a pair where both were bad.

Where people (users, reviewers) spoke of an item, judges and rules are not asked; of one person
the last word counts. An answer is liked from a mean opinion of +0.5 on, disliked from −0.5 down:
a thumb is ±1, stars (n − 3) / 2, a score 2 · share of its scale − 1. Several votes on one pair
make one row, by what most say; no such majority is a tie. Ties make none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tuneloop.lake.examples import Example, Kind, Message
from tuneloop.lake.shelf import Compared, Payload, Shelf, Stated

LIKED = 0.5
_PEOPLE = ("user", "reviewer")
Row = Example | str
"""A training row, or why there is none."""


def stated_rows(shelf: Shelf, kind: Kind, *, each_vote: bool = False) -> Iterator[Row]:
    """Yield the rows of one kind, oldest first, and a reason for every item that makes none.

    Args:
        shelf: The lake's events.
        kind: Which set.
        each_vote: A row for every vote on a pair, not for what most say.
    """
    if kind == "preference":
        for pair in shelf.compared():
            yield from _preferred(pair, each_vote=each_vote)
        yield from (_corrected_pair(one) for one in shelf.judged() if _correction(one.said))
    elif kind == "sft":
        yield from map(_accepted, shelf.judged())
    else:
        yield from _labels(shelf)


def _labels(shelf: Shelf) -> Iterator[Row]:
    """Yield both answers of a pair where both were bad, then every other that was judged."""
    bad: set[tuple[str, str]] = set()
    for pair in shelf.compared():
        if _outcome(pair.said) != "both_bad":
            continue
        for event in (pair.first, pair.second):
            if event is None:
                yield "answer_missing"
            elif _name(event) not in bad:
                yield _bad(event, pair.ends[event["id"]])
            if event is not None:
                bad.add(_name(event))
    for stated in shelf.judged():
        event, opinion = stated.interaction, _opinion(stated.said)
        if opinion is not None and event is None:
            yield _missing(stated.said)
        elif opinion is not None and event is not None and _name(event) not in bad:
            yield _labelled(event, opinion)


def _accepted(stated: Stated) -> Row:
    event = stated.interaction
    if event is None:
        return _missing(stated.said)
    corrected = _correction(stated.said)
    if corrected:
        return _example("sft", event, [{"role": "assistant", "content": corrected}])
    opinion = _opinion(stated.said)
    if opinion is None or abs(opinion) < LIKED:
        return "undecided"
    if opinion < 0:
        return "disliked"
    answer = _answer(event)
    return _example("sft", event, answer) if answer else "no_answer"


def _bad(event: Payload, end: Payload) -> Row:
    side = _whole(event, end)
    n = len(_prompt(event))
    if not side:
        return "no_answer"
    return Example("kto", side[:n], (side[n:],), tools=_tools(event), label=False)


def _labelled(event: Payload, opinion: float) -> Row:
    if abs(opinion) < LIKED:
        return "undecided"
    answer = _answer(event)
    return _example("kto", event, answer, label=opinion > 0) if answer else "no_answer"


def _corrected_pair(stated: Stated) -> Row:
    event, corrected = stated.interaction, _correction(stated.said)
    if event is None:
        return _missing(stated.said)
    answer = _answer(event)
    if not answer:
        return "no_answer"
    if answer[0].get("content") == corrected and not answer[0].get("tool_calls"):
        return "identical_answers"
    better = [{"role": "assistant", "content": corrected}]
    return Example("preference", _prompt(event), (better, answer), tools=_tools(event))


def _preferred(pair: Compared, *, each_vote: bool) -> Iterator[Row]:
    votes = _heard(pair.said)
    for said in [[vote] for vote in votes] if each_vote else [votes]:
        outcome = _outcome(said)
        if outcome in ("tie", "both_bad"):
            yield outcome
        elif pair.first is None or pair.second is None:
            yield "answer_missing"
        else:
            winner, loser = pair.first, pair.second
            if winner["id"] != outcome:
                winner, loser = loser, winner
            yield _pair(winner, loser, pair.ends)


def _whole(event: Payload, end: Payload) -> list[Message]:
    """Return a conversation to its end, which begins like `event`; nothing without an answer."""
    answers = _answer(event), _answer(end)
    begun = [*_prompt(event), *answers[0]]
    said = [*_prompt(end), *answers[1]]
    return said if all(answers) and said[: len(begun)] == begun else begun if answers[0] else []


def _pair(winner: Payload, loser: Payload, ends: dict[str, Payload]) -> Row:
    """Return two answers to what both were asked: the turns before the conversations part."""
    better, worse = (_whole(event, ends[event["id"]]) for event in (winner, loser))
    if not better or not worse:
        return "no_answer"
    if better == worse:
        return "identical_answers"
    shared = len(_prompt(winner)) if _prompt(winner) == _prompt(loser) else 0
    if not shared:
        while shared < min(len(better), len(worse)) and better[shared] == worse[shared]:
            shared += 1
    answers = (better[shared:], worse[shared:])
    parted = all(answer and answer[0]["role"] == "assistant" for answer in answers)
    if not shared or not parted:
        return "prompts_differ"
    return Example("preference", better[:shared], answers, tools=_tools(winner))


def _missing(said: list[Payload]) -> str:
    """Return why there is no answer; some feedback is aimed at two places, of which one is."""
    unclear = all((one.get("metadata") or {}).get("level") == "unstated" for one in said)
    return "target_unclear" if unclear else "answer_missing"


def _heard(said: list[Payload]) -> list[Payload]:
    """Return the statements that count: people's where there are any, each one's last word."""
    people = [one for one in said if _actor(one)[0] in _PEOPLE] or said
    last: dict[Any, Payload] = {}
    for one in people:
        kind, id = _actor(one)
        name = one["id"] if id is None else (kind, id, one["signal"], one.get("dimension"))
        last[name] = one
    return list(last.values())


def _actor(one: Payload) -> tuple[str, str | None]:
    actor = one.get("actor") or {}
    return actor.get("kind", "user"), actor.get("id")


def _outcome(said: list[Payload]) -> str:
    """Return the id of the winner, `tie` or `both_bad`, by what most say."""
    votes: Counter[str] = Counter()
    for one in _heard(said):
        outcome = one["value"].get("outcome", "better")
        votes[one["value"]["winner"] if outcome == "better" else outcome] += 1
    (best, most), *others = votes.most_common()
    return "tie" if others and others[0][1] == most else best


def _opinion(said: list[Payload]) -> float | None:
    """Return the mean of what was said, −1 … 1; None where nothing was."""
    opinions = [
        opinion
        for one in _heard([one for one in said if one["signal"] != "correction"])
        if (opinion := _opinion_of(one)) is not None
    ]
    return sum(opinions) / len(opinions) if opinions else None


def _opinion_of(one: Payload) -> float | None:
    value = one["value"]
    if one["signal"] == "thumb":
        return 1.0 if value in (True, 1, "up") else -1.0
    if one["signal"] == "stars":
        return (float(value) - 3) / 2
    low, high = one.get("scale") or (0.0, 1.0)
    return 2 * (float(value) - low) / (high - low) - 1


def _correction(said: list[Payload]) -> str | None:
    """Return the correction in force: a reviewer's before a user's, then the last."""
    texts = [one for one in said if one["signal"] == "correction"]
    ranked = sorted(texts, key=lambda one: _actor(one)[0] == "reviewer")  # stable: by time
    return str(ranked[-1]["value"]) if ranked else None


def _name(event: Payload) -> tuple[str, str]:
    return event.get("tenant", ""), event["id"]


def _example(
    kind: Kind, event: Payload, answer: list[Message], *, label: bool | None = None
) -> Example:
    return Example(kind, _prompt(event), (answer,), tools=_tools(event), label=label)


def _tools(event: Payload) -> list[Any] | None:
    return event["request"].get("tools") or None


def _prompt(event: Payload) -> list[Message]:
    return [_message(message) for message in event["request"]["messages"]]


def _answer(event: Payload) -> list[Message]:
    """Return the answer as one message (an empty text is one), or nothing where there was none."""
    response = event.get("response") or {}
    extra = response.get("extra") or {}
    held = {
        "content": extra.get("parts") or response.get("content"),
        "tool_calls": response.get("tool_calls"),
        "reasoning": response.get("reasoning"),
    }
    if held["content"] is None and not held["tool_calls"]:
        return []
    return [{"role": "assistant"} | {k: v for k, v in held.items() if v not in (None, [])}]


def _message(message: Payload) -> Message:
    names = ("role", "content", "name", "tool_calls", "tool_call_id")
    said = {name: message[name] for name in names if message.get(name)}
    reasoning = (message.get("extra") or {}).get("reasoning")
    return said | ({"reasoning": reasoning} if reasoning else {})
