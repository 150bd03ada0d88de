"""HelpSteer 3: preferences of several annotators, and edits with the feedback that led to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.chats import read_messages
from tuneloop.lake.compose import Vote, feedback, has, interaction, number_of, pair, text_of
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id

_MAX_STRENGTH = 3


def recognise(record: Mapping[str, Any]) -> float:
    """Look for a context with two responses, or with one and what was said of it."""
    if not isinstance(record.get("context"), list | str):
        return 0.0
    if has(record, "response1", "response2", "overall_preference"):
        return 1.0
    if has(record, "original_response", "edited_response"):
        return 1.0
    return 0.9 if has(record, "response", "feedback") else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Yield the answers and what people preferred, corrected or wrote."""
    prompt = read_messages(record.get("context"))
    if not prompt:
        raise UnfitError("no_prompt", "the context is empty")
    name = content_id("helpsteer3", record)
    more: dict[str, Any] = {
        "intent": record.get("domain"),
        "tags": [str(record["language"])] if record.get("language") else None,
    }
    if "response1" in record:
        answers = (_answer(record["response1"]), _answer(record.get("response2")))
        return pair(name, prompt, answers, _votes(record), **more)
    told = record.get("feedback")
    notes = [n for n in (told if isinstance(told, list) else [told]) if isinstance(n, str) and n]
    reviewer = {"kind": "reviewer"}
    answer = record.get("original_response", record.get("response"))
    events = [interaction(name, prompt, text_of(answer, "the response"), **more)]
    if "edited_response" in record:
        text = text_of(record["edited_response"], "edited_response")
        summary = record.get("change_summary")
        events.append(
            feedback(f"{name}-c", name, "correction", text, actor=reviewer,
                     comment=summary if isinstance(summary, str) else None)
        )  # fmt: skip
    events += [
        feedback(f"{name}-n{n}", name, "comment", note, actor=reviewer)
        for n, note in enumerate(notes)
        if note.strip()
    ]
    return events


def _answer(value: Any) -> str:
    return value if value == "" else text_of(value, "a response")


def _votes(record: Record) -> list[Vote]:
    single = record.get("individual_preference")
    said = [one for one in single if isinstance(one, dict)] if isinstance(single, list) else []
    votes = [_vote(one.get("score"), one) for one in said]
    return votes or [_vote(record.get("overall_preference"), {})]


def _vote(score: Any, said: Mapping[str, Any]) -> Vote:
    number = number_of(score)
    if number is None or abs(number) > _MAX_STRENGTH:
        raise UnfitError("bad_verdict", f"{str(score)[:40]!r} is not from -3 to 3")
    notes = {k: said[k] for k in ("feedback1", "feedback2") if said.get(k)}
    reasoning = said.get("reasoning")
    return Vote(
        "tie" if number == 0 else "a" if number < 0 else "b",
        comment=reasoning if isinstance(reasoning, str) and reasoning.strip() else None,
        metadata={"strength": abs(number)} | notes,
    )


FORMAT = Format(
    name="helpsteer3",
    title="HelpSteer 3",
    recognise=recognise,
    convert=convert,
    fields=(
        ("`context`", "`request.messages`", ""),
        ("`response1`, `response2`", "`response.content`", ""),
        ("`individual_preference[]`", "`preference`", "one each, nameless; below 0: response 1"),
        ("`overall_preference`", "`preference`", "where there is nobody's own"),
        ("`reasoning`", "`comment`", "`feedback1`, `feedback2` in `metadata`"),
        ("`original_response`, `edited_response`", "`correction`", "the edit subset"),
        ("`feedback[]`", "`comment`", "the feedback and edit subsets"),
        ("`domain`, `language`", "`intent`, `tags`", ""),
        ("time", "`event_ts`", "none: 2000-01-01"),
    ),
    examples=(
        {
            "domain": "general", "language": "english",
            "context": [{"role": "user", "content": "Name a river."}],
            "response1": "The Elbe.", "response2": "Rivers are long.", "overall_preference": -2,
            "individual_preference": [
                {"score": -3, "reasoning": "Only the first names one.", "feedback1": "Good."},
                {"score": -2, "reasoning": "It answers.", "feedback1": "", "feedback2": ""},
                {"score": 0, "reasoning": "", "feedback1": "", "feedback2": ""},
            ],
        },
        {
            "domain": "general", "language": "english",
            "context": [{"role": "user", "content": "Name a lake."}],
            "original_response": "Water.", "edited_response": "Lake Constance.",
            "change_summary": "Names one.", "feedback": ["It names none."],
        },
    ),
)  # fmt: skip
