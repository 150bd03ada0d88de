"""Pairwise judgements by anybody: a prompt, two answers that are numbered, and who was better."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.chats import is_chat, read_messages
from tuneloop.lake.compose import WINNERS, Vote, Winner, chats_compared, number_of, text_of
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id
from tuneloop.lake.times import UNDATED

_ANSWER = re.compile(
    r"((?:[a-z]+[ _-])?(?:response|answer|completion|output|generation|candidate|reply|text"
    r"|summary|conversation))[ _-]?([012ab])", re.I,
)  # fmt: skip
_LISTS = ("responses", "answers", "completions", "outputs", "candidates", "summaries")
_SUFFIXES = (("0", "1"), ("1", "2"), ("a", "b"))
_PROMPTS = ("prompt", "instruction", "question", "query", "context", "history", "post", "input")
_VERDICTS = (
    "winner", "human_winner", "preference", "human_preference", "preferred", "better_response_id",
    "better", "choice", "vote", "verdict", "human_label", "gold_label", "label", "labels",
)  # fmt: skip
_SCORES = ("score", "rating", "votes")
_ACTORS = ("annotator_id", "worker_id", "worker", "rater_id", "annotator", "annotator_index",
           "judge", "evaluator", "user_id")  # fmt: skip
_STAMPS = ("timestamp", "created_at", "tstamp", "date")
_ANNOTATOR = re.compile(r"(?:annotator|rater|judge|expert|human|label|vote)[ _-]?\d+", re.I)


def recognise(record: Mapping[str, Any]) -> float:
    """Look for a prompt, two answers with numbers or letters, and a verdict."""
    answers = _answers(record)
    if answers is None or not _prompts(record):
        return 0.0
    return 0.7 if _verdict_fields(record) or _scores(record) else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Yield both answers and every verdict."""
    found = _answers(record)
    if found is None:
        raise UnfitError("no_answer", "there are no two answers with numbers or letters")
    values, marks = found
    prompt = _prompt(record)
    chats = [
        _chat(prompt, value, f"answer {mark}") for value, mark in zip(values, marks, strict=True)
    ]
    models = [_model(record, mark) for mark in marks]
    ids = [content_id("pair", chat, model) for chat, model in zip(chats, models, strict=True)]
    stamp = next((record[k] for k in _STAMPS if record.get(k) is not None), UNDATED)
    # Rows about one pair by several people meet in the same interactions, whatever the time.
    events = chats_compared(
        content_id("pairwise", record), (chats[0], chats[1]), _votes(record, marks),
        ids=(ids[0], ids[1]), systems=(models[0], models[1]),
    )  # fmt: skip
    return [e | {"event_ts": stamp} if e["type"] == "feedback" else e for e in events]


def _answers(record: Mapping[str, Any]) -> tuple[list[Any], tuple[str, str]] | None:
    """Return the two answers and what they are numbered by."""
    families: dict[str, dict[str, str]] = {}
    for name in record:
        if found := _ANSWER.fullmatch(str(name)):
            families.setdefault(found[1].lower(), {})[found[2].lower()] = name
    for family in families.values():
        for marks in _SUFFIXES:
            if set(marks) == set(family):
                return [record[family[mark]] for mark in marks], marks
    for name in _LISTS:
        value = record.get(name)
        if isinstance(value, list) and len(value) == 2:
            return [v.get("text") if isinstance(v, Mapping) else v for v in value], ("0", "1")
    return None


def _prompts(record: Mapping[str, Any]) -> list[str]:
    lower = {str(name).lower(): name for name in record}
    return [lower[name] for name in _PROMPTS if name in lower and record[lower[name]]]


def _prompt(record: Record) -> list[dict[str, Any]]:
    names = _prompts(record)
    if not names:
        raise UnfitError("no_prompt", "nothing says what was asked")
    value = record[names[0]]
    if is_chat(value):
        return read_messages(value)
    if isinstance(value, Mapping):
        value = next((value[k] for k in ("full_text", "text", "post") if value.get(k)), value)
    asked = text_of(value, names[0])
    more = record.get("input") if names[0] == "instruction" else None
    if isinstance(more, str) and more.strip():
        asked = f"{asked}\n\n{more}"
    return [{"role": "user", "content": asked}]


def _chat(prompt: list[dict[str, Any]], value: Any, what: str) -> list[dict[str, Any]]:
    if is_chat(value):
        chat = read_messages(value)
        return chat if chat[: len(prompt)] == prompt else prompt + chat
    answer = value if value == "" else text_of(value, what)
    return [*prompt, {"role": "assistant", "content": answer}]


def _model(record: Mapping[str, Any], mark: str) -> str | None:
    names = (
        f"{stem}{join}{mark}" for stem in ("model", "generator", "system") for join in ("_", "")
    )
    return next((str(record[name]) for name in names if record.get(name)), None)


# -- verdicts ------------------------------------------------------------------------
def _verdict_fields(record: Mapping[str, Any]) -> list[str]:
    """Return the one field that says it, or those of several people."""
    several = [name for name in record if _ANNOTATOR.fullmatch(str(name))]
    one = next(([name] for name in _VERDICTS if record.get(name) is not None), [])
    return sorted(several) or one


def _scores(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    marks = (_answers(record) or ([], ("", "")))[1]
    pairs = [(f"{stem}_{marks[0]}", f"{stem}_{marks[1]}") for stem in _SCORES]
    return [pair for pair in pairs if all(number_of(record.get(n)) is not None for n in pair)]


def _votes(record: Record, marks: tuple[str, str]) -> list[Vote]:
    fields = [name for name in _verdict_fields(record) if record[name] is not None]
    named = next((str(record[k]) for k in _ACTORS if isinstance(record.get(k), str | int)), None)
    if len(fields) > 1:
        return [Vote(_winner(record[name], marks), actor=name) for name in fields]
    if fields:
        return [Vote(_winner(record[fields[0]], marks), actor=named)]
    for first, second in _scores(record):
        a, b = number_of(record[first]) or 0.0, number_of(record[second]) or 0.0
        winner: Winner = "tie" if a == b else "a" if a > b else "b"
        return [Vote(winner, actor=named, metadata={first: a, second: b})]
    raise UnfitError("no_verdict", "nothing says which answer is better")


def _winner(value: Any, marks: tuple[str, str]) -> Winner:
    """Return who won: by the answer's own number or letter, or in words.

    A number means the answer that bears it. Of answers numbered from 1, a 0 and what lies in the
    middle are ties; of lettered ones no number can be told.
    """
    text = str(value).strip().lower()
    number = number_of(value)
    if number is not None:
        mark = f"{number:g}"
        if mark in marks:
            return "a" if mark == marks[0] else "b"
        if marks == ("1", "2") and number in (0, 1.5):
            return "tie"
    else:
        if text in WINNERS:
            return WINNERS[text]
        if (found := _ANSWER.fullmatch(text) or re.fullmatch(r"(\w+)[ _-]([012ab])", text)) and (
            found[2] in marks
        ):
            return "a" if found[2] == marks[0] else "b"
    raise UnfitError("bad_verdict", f"{text[:40]!r} names neither of {' and '.join(marks)}")


FORMAT = Format(
    name="pairwise",
    title="pairwise judgements",
    recognise=recognise,
    convert=convert,
    fields=(
        ("`prompt`, `instruction` (and `input`), `question`, …", "`request.messages`", ""),
        ("`response_1`, `response_2`", "`response.content`",
         "also `answer`, `output`, `completion`, …; from 0, from 1, or `a` and `b`"),
        ("`winner`, `preference`, `label`, `choice`, …", "`preference`",
         "the answer's own number, letter or name; `tie`; from 1: 0 and 1.5 are ties"),
        ("`annotator1`, `annotator2`, …", "`preference`", "one a reviewer"),
        ("`score_1`, `score_2`", "`preference`", "the higher, where nothing else says it"),
        ("`annotator_id`, `worker`, `judge`, …", "`actor.id`", "a reviewer"),
        ("`model_1`, `generator_1`, …", "`system`", ""),
        ("`timestamp`, `created_at`, …", "`event_ts`", "of the verdict; else 2000-01-01"),
    ),
    examples=(
        {
            "instruction": "Name a river.", "output_1": "The Elbe.", "output_2": "Bananas.",
            "preference": 1, "generator_1": "m1", "generator_2": "m2", "annotator_index": 12,
        },
        {
            "prompt": "Name a lake.", "response_0": "Water.", "response_1": "Lake Constance.",
            "better_response_id": 1,
        },
        {"question": "A sea?", "answer_a": "The Baltic.", "answer_b": "Salt.", "winner": "tie"},
        {
            "question": {"full_text": "Why?"}, "answer_0": "So.", "answer_1": "Because.",
            "score_0": -1.0, "score_1": 1.0,
        },
    ),
)  # fmt: skip
