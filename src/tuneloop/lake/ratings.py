"""Judgements as other systems write them → a signal, its value and its scale.

A label or a number means something only with its name: `hallucination: 1` is no praise. What is
named after a fault is turned round, what is measured and not judged (latency, cost) is left out,
and a number outside 0 … 1 whose scale nobody states gets the smallest usual one, marked so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from tuneloop.lake.compose import feedback, number_of
from tuneloop.lake.fields import as_text, ident
from tuneloop.lake.format import Event, UnfitError
from tuneloop.lake.times import parse_time

Judgement = dict[str, Any]
"""Fields of a feedback event: `signal`, `value`, perhaps `scale` and `metadata`."""

DEMONSTRATION = "demonstration"
"""The dimension of answers that came as training data."""
USUAL_SCALES = ((0.0, 1.0), (-1.0, 1.0), (1.0, 5.0), (0.0, 10.0), (0.0, 100.0))
_GOOD = re.compile(
    r"(thumbs?[ _-]?up|up|up[ _-]?vote[d]?|like[d]?|good|great|excellent|positive|correct|accurate"
    r"|pass(ed)?|yes|true|helpful|relevant|factual|grounded|faithful|accept(ed|able)?|approved?"
    r"|satisf(ied|actory)|valid|\+1|:thumbs_?up:|:\+1:|👍|❤️?|😀|😊|🎉|✅)[\U0001f3fb-\U0001f3ff]?"
)
_BAD = re.compile(
    r"(thumbs?[ _-]?down|down|down[ _-]?vote[d]?|dislike[d]?|bad|poor|terrible|negative|incorrect"
    r"|wrong|inaccurate|fail(ed|ure)?|no|false|unhelpful|not[ _-](helpful|relevant|correct|grounded"
    r"|accurate|acceptable)|irrelevant|hallucinated|toxic|ungrounded|unfaithful|reject(ed)?"
    r"|unacceptable|unsatisf(ied|actory)|invalid|-1|:thumbs_?down:|:-1:|👎|😞|😠|❌)"
    r"[\U0001f3fb-\U0001f3ff]?"
)
_FAULT = re.compile(
    r"hallucinat|toxic|harmful|bias|\bpii\b|jailbreak|injection|profan|offensive|unsafe|unhelpful"
    r"|incorrect|irrelevan|refusal|error|mistake|dislike|downvote|thumbs?[ _-]?down", re.I,
)  # fmt: skip
_MEASURED = re.compile(
    r"latency|duration|elapsed|_ms$|_seconds?$|tokens?|cost|price|(char|word|token)?_?(count|length)$"
    r"|ttft|time_to", re.I,
)  # fmt: skip
_JUDGES = {
    "llm": "judge", "llm_judge": "judge", "ai_judge": "judge", "eval": "judge", "model": "judge",
    "auto_eval": "judge", "judge": "judge", "evaluator": "judge", "code": "rule", "rule": "rule",
    "annotation": "reviewer", "app": "reviewer", "reviewer": "reviewer", "expert": "reviewer",
    "human": "user", "api": "user", "user": "user",
}  # fmt: skip


def judged(value: Any, *, name: Any = None, scale: tuple[Any, Any] | None = None) -> Judgement:
    """Return what a value says: a thumb, a score, or a comment where it is a word of its own.

    Args:
        value: A truth value, a number or a label; numbers and truth values also as text.
        name: What was judged; a fault's name turns the value round.
        scale: Lowest and highest value, where the source states them.

    Raises:
        UnfitError: `no_value`, `not_a_judgement` (a measurement), or `out_of_scale`.
    """
    what = ident(name) or ""
    if _MEASURED.search(what):
        raise UnfitError("not_a_judgement", f"{what!r} is measured, not judged")
    fault = bool(_FAULT.search(what))
    if isinstance(value, bool):
        return _thumb(value, fault=fault)
    number = number_of(value)
    if number is not None and not (isinstance(value, str) and value.strip() in ("+1", "-1")):
        return _score(number, _range(scale), fault=fault)
    label = value.strip() if isinstance(value, str) else ""
    if not label:
        raise UnfitError("no_value", "the feedback carries neither a value nor a label")
    if _GOOD.fullmatch(label.lower()):
        # "not hallucinated" is said by the label itself; "yes" and "true" answer the name.
        return _thumb(True, fault=fault and label.lower() in ("yes", "true"))
    if _BAD.fullmatch(label.lower()):
        return _thumb(False, fault=fault and label.lower() in ("no", "false"))
    return {"signal": "comment", "value": label}


def opinion(
    target: str, said: Judgement, *, id: str, kind: str = "interaction", **more: Any
) -> Event:
    """Return a judgement as feedback.

    Args:
        target: Id of what it is about.
        said: From `judged`, or a signal and its value.
        id: Of the feedback.
        kind: What it is about: an interaction, an episode, a session.
        more: Other fields; `dimension` and `comment` may be anything and become texts,
            `metadata` is added to the judgement's.

    Raises:
        UnfitError: `no_value`, where a text says nothing.
    """
    fields = {name: value for name, value in said.items() if name not in ("signal", "value")}
    signal, value = said["signal"], said["value"]
    if signal in ("comment", "correction") and not str(value).strip():
        raise UnfitError("no_value", f"the {signal} is empty")
    comment = more.pop("comment", None)
    comment = as_text(comment) if comment not in (None, "") else None
    metadata = fields.pop("metadata", {}) | (more.pop("metadata", None) or {})
    event = feedback(
        id, target, signal, value,
        dimension=ident(more.pop("dimension", None)),
        comment=comment if comment != value else None,
        metadata=metadata or None,
        **fields,
        **more,
    )  # fmt: skip
    return event if kind == "interaction" else event | {"target": {"kind": kind, "id": target}}


def demonstration(target: str) -> Event:
    """Return that a reviewer accepted this answer as one to learn from."""
    return feedback(
        f"{target}-demonstration", target, "thumb", True,
        actor={"kind": "reviewer"}, dimension=DEMONSTRATION,
    )  # fmt: skip


def together(*parts: tuple[Iterable[Any], Callable[[Any], Iterable[Event]]]) -> list[Event]:
    """Return the events in a record that nests many: its calls, then the feedback on them.

    One score nobody can read does not cost the trace it is in: why it was left out stands in
    the first event's `extra.unread`.

    Args:
        parts: Pieces of the record and how to read one, calls first.

    Raises:
        UnfitError: the first reason, where nothing could be read.
    """
    events: list[Event] = []
    unread: list[UnfitError] = []
    for pieces, read in parts:
        for piece in pieces:
            try:
                events += read(piece)
            except UnfitError as unfit:
                unread.append(unfit)
    if unread and not events:
        raise unread[0]
    if unread:
        extra = events[0].get("extra", {}) | {"unread": [str(unfit) for unfit in unread]}
        events[0] = events[0] | {"extra": extra}
    return events


def thumb_of(value: Any) -> bool | None:
    """Return whether a rating of ±1 or a reaction is up or down, None for anything else."""
    if isinstance(value, bool):
        return value
    label = str(value).strip().lower()
    if _GOOD.fullmatch(label) or label in ("1", "1.0"):
        return True
    return False if _BAD.fullmatch(label) or label in ("-1.0", "0") else None


def actor_of(kind: Any, id: Any = None) -> dict[str, Any]:
    """Return who judged, from how the source calls such people (`HUMAN`, `LLM_JUDGE`, `CODE`)."""
    actor: dict[str, Any] = {"kind": _JUDGES.get(str(kind or "user").lower(), "user")}
    return actor | ({"id": str(id)} if id not in (None, "") else {})


def revision(created: Any, updated: Any) -> dict[str, int]:
    """Return `revision` as the seconds between making and changing, so that a change is newer."""
    if not created or not updated:
        return {}
    passed = (parse_time(updated) - parse_time(created)).total_seconds()
    return {"revision": min(int(-(-passed // 1)), 2**31 - 1)} if passed > 0 else {}


def _thumb(value: bool, *, fault: bool) -> Judgement:
    meta = {"metadata": {"stated": value, "turned_round": True}} if fault else {}
    return {"signal": "thumb", "value": value is not fault} | meta


def _score(number: float, scale: tuple[float, float] | None, *, fault: bool) -> Judgement:
    metadata: dict[str, Any] = {}
    if scale is None:
        scale = next(((a, b) for a, b in USUAL_SCALES if a <= number <= b), None)
        if scale is None:
            raise UnfitError("out_of_scale", f"{number:g}: its scale is not stated and not usual")
        if scale != (0.0, 1.0):
            metadata["scale"] = "assumed"
    low, high = scale
    if not low <= number <= high:
        raise UnfitError("out_of_scale", f"{number:g} is not from {low:g} to {high:g}")
    if fault:
        metadata |= {"stated": number, "turned_round": True}
        number = low + high - number
    judgement: Judgement = {"signal": "score", "value": number}
    if scale != (0.0, 1.0):
        judgement["scale"] = [low, high]
    return judgement | ({"metadata": metadata} if metadata else {})


def _range(scale: tuple[Any, Any] | None) -> tuple[float, float] | None:
    if scale is None:
        return None
    low, high = number_of(scale[0]), number_of(scale[1])
    return (low, high) if low is not None and high is not None and low < high else None
