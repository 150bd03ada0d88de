"""PandaLM's test set: two answers, three annotators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from tuneloop.lake.compose import Vote, has, number_of, pair, text_of
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id

_ANNOTATORS = ("annotator1", "annotator2", "annotator3")
_WINNERS: dict[float, Literal["a", "b", "tie"]] = {0: "tie", 1: "a", 2: "b"}


def recognise(record: Mapping[str, Any]) -> float:
    """Look for the two responses and the annotators."""
    fields = has(record, "instruction", "response1", "response2")
    return (1.0 if has(record, *_ANNOTATORS) else 0.6) if fields else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Yield both answers and each annotator's preference."""
    asked = [record.get("instruction"), record.get("input")]
    prompt = text_of("\n\n".join(t for t in asked if isinstance(t, str) and t.strip()), "the task")
    answers = tuple(_answer(record.get(name), name) for name in ("response1", "response2"))
    models = str(record.get("cmp_key") or "").split("_")
    systems = (models[0], models[1]) if len(models) == 2 else (None, None)
    extra = {k: record[k] for k in ("idx", "motivation_app") if record.get(k) is not None}
    votes = [_vote(record[name], name) for name in _ANNOTATORS if record.get(name) is not None]
    if not votes:
        raise UnfitError("no_verdict", "no annotator said anything")
    name = content_id("pandalm", record)
    return pair(name, prompt, (answers[0], answers[1]), votes, systems=systems, extra=extra)


def _answer(value: Any, what: str) -> str:
    """Return an answer; one that is empty was given, and people judged it."""
    return value if value == "" else text_of(value, what)


def _vote(value: Any, annotator: str) -> Vote:
    number = number_of(value)
    if number not in _WINNERS:
        raise UnfitError("bad_verdict", f"{annotator} is {str(value)[:40]!r}, not 0, 1 or 2")
    return Vote(_WINNERS[number], actor=annotator)


FORMAT = Format(
    name="pandalm",
    title="PandaLM test set",
    recognise=recognise,
    convert=convert,
    fields=(
        ("`instruction`, `input`", "`request.messages`", "with an empty line between"),
        ("`response1`, `response2`", "`response.content`", "an answer that is no text: refused"),
        ("`annotator1` … `annotator3`", "`preference`", "one a reviewer; 0 is a tie"),
        ("`cmp_key`", "`system`", "the two models"),
        ("`idx`, `motivation_app`", "`extra`", ""),
        ("time", "`event_ts`", "none: 2000-01-01"),
    ),
    examples=(
        {
            "idx": 0, "motivation_app": "Mail", "cmp_key": "bloom-7b_llama-7b",
            "instruction": "Make it shorter.", "input": "I would like to kindly ask you to call.",
            "response1": "Please call.", "response2": "I ask you kindly.",
            "annotator1": 1, "annotator2": 0, "annotator3": 2,
        },
    ),
)  # fmt: skip
