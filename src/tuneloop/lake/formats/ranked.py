"""Several answers to one prompt, ranked or scored: Nectar, Stack Exchange preferences, others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any

from tuneloop.lake.chats import is_chat, read_messages, read_transcript
from tuneloop.lake.compose import Vote, Winner, interaction, number_of, preferences, text_of
from tuneloop.lake.fields import parse_json, take
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id
from tuneloop.lake.times import UNDATED

_PROMPTS = ("prompt", "instruction", "question", "query", "messages")
_LISTS = ("answers", "responses", "completions", "outputs", "candidates", "generations")
_TEXTS = ("text", "answer", "response", "content", "output", "completion")
_RANKS = ("rank", "ranking", "position")
_SCORES = ("pm_score", "score", "votes", "upvotes", "rating", "overall_score")
MOST = 16
"""Answers to one prompt; each is compared with each."""


def recognise(record: Mapping[str, Any]) -> float:
    """Look for a prompt and a list of texts with a rank or a score each."""
    answers = _answers(record)
    judged = len(answers) > 1 and all(_text(a) and _judged(a) for a in answers)
    return 0.7 if judged and take(record, *_PROMPTS) else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Yield every answer, and for every two which is better."""
    prompt, answers = _prompt(record), _answers(record)
    if not 1 < len(answers) <= MOST:
        raise UnfitError("no_answer", f"there are {len(answers)} answers, not 2 to {MOST}")
    name = content_id("ranked", record)
    stamp = take(record, "timestamp", "created_at", "date") or UNDATED
    # Nectar's ranks are GPT-4's.
    judge = "good_natured" in record and "num_responses" in record
    ids = []
    for answer in answers:
        said, model = text_of(_text(answer), "an answer"), take(answer, "model")
        model = None if model is None else str(model)
        ids.append(content_id("ranked", prompt, said, model))
        yield interaction(ids[-1], prompt, said, system=model)
    for (n, one), (k, other) in combinations(enumerate(answers), 2):
        if ids[n] == ids[k]:
            continue
        vote = Vote(
            _winner(one, other), kind="judge" if judge else "reviewer",
            actor="gpt-4" if judge else None,
        )  # fmt: skip
        yield from preferences(f"{name}-{n}-{k}", (ids[n], ids[k]), [vote], event_ts=stamp)


def _answers(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    for name in _LISTS:
        value = parse_json(record.get(name))
        if isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
            return value
    return []


def _text(answer: Mapping[str, Any]) -> Any:
    return take(answer, *_TEXTS)


def _judged(answer: Mapping[str, Any]) -> tuple[str, float] | None:
    """Return by what an answer is judged, and how high it stands (less is better turned round)."""
    for names, sign in ((_RANKS, -1), (_SCORES, 1)):
        for name in names:
            if (number := number_of(answer.get(name))) is not None:
                return name, sign * number
    return None


def _winner(one: Mapping[str, Any], other: Mapping[str, Any]) -> Winner:
    a, b = _judged(one), _judged(other)
    if a is None or b is None or a[0] != b[0]:
        raise UnfitError("no_verdict", "the answers are not all ranked or scored in one way")
    return "tie" if a[1] == b[1] else "a" if a[1] > b[1] else "b"


def _prompt(record: Record) -> list[dict[str, Any]]:
    value = take(record, *_PROMPTS)
    nested = parse_json(value)
    if is_chat(nested):
        return read_messages(nested)
    asked = text_of(value, "the prompt")
    turns = read_transcript(asked) if asked.lstrip().startswith("Human:") else None
    if turns:
        return list(_before_answer(turns))
    return [{"role": "user", "content": asked}]


def _before_answer(turns: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the turns but an empty one of the assistant's at the end, which asks for the answer."""
    for n, turn in enumerate(turns, start=1):
        if n < len(turns) or turn["role"] != "assistant" or turn["content"]:
            yield turn


FORMAT = Format(
    name="ranked",
    title="ranked or scored answers",
    recognise=recognise,
    convert=convert,
    fields=(
        ("`prompt`, `instruction`, `question`", "`request.messages`", "also `Human:` transcripts"),
        ("`answers[]`, `responses[]`, …", "`response.content`",
         "each `text`, `answer`, `response` …"),
        ("`rank`", "`preference`", "every two; less is better; equal: a tie"),
        ("`pm_score`, `score`, `votes`, `rating`", "`preference`", "every two; more is better"),
        ("`model`", "`system`", ""),
        ("`timestamp`, `created_at`, `date`", "`event_ts`", "of the verdicts; else 2000-01-01"),
    ),
    examples=(
        {
            "prompt": "\n\nHuman: Name a river.\n\nAssistant: ", "turns": 1, "num_responses": 3,
            "source": ["x"], "good_natured": True,
            "answers": [{"answer": "The Elbe.", "model": "m1", "rank": 1.0},
                        {"answer": "Bananas.", "model": "m2", "rank": 3.0},
                        {"answer": "Water.", "model": "m3", "rank": 2.0}],
        },
        {
            "question": "Name a lake.", "qid": 4,
            "answers": [{"text": "Lake Constance.", "pm_score": 5, "answer_id": 1},
                        {"text": "Water.", "pm_score": 1, "answer_id": 2}],
        },
    ),
)  # fmt: skip
