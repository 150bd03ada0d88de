"""Pairwise judgements by anybody: a prompt, two answers, and who was better."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.chats import is_chat, read_messages, read_transcript
from tuneloop.lake.compose import Vote, chats_compared, number_of, text_of
from tuneloop.lake.fields import parse_json
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id
from tuneloop.lake.times import UNDATED
from tuneloop.lake.verdicts import signed, winner_among

_ANSWER = re.compile(
    r"((?:[a-z]+[ _-])?(?:response|answer|completion|output|generation|candidate|reply|text"
    r"|summary|conversation|option|choice))[ _-]?([012ab])", re.I,
)  # fmt: skip
_LISTS = ("responses", "answers", "completions", "outputs", "candidates", "summaries",
          "generations", "options")  # fmt: skip
_SUFFIXES = (("0", "1"), ("1", "2"), ("a", "b"))
_SIDES = ("left", "right")
_STATED = (("chosen", "rejected"), ("preferred", "rejected"), ("preferred", "dispreferred"),
           ("better", "worse"), ("winning", "losing"), ("win", "lose"), ("accepted", "rejected"),
           ("positive", "negative"))  # fmt: skip
_KINDS = ("", "_response", "_answer", "_output", "_completion", "_text", "_summary")
_PROMPTS = ("prompt", "instruction", "question", "query", "context", "history", "post", "input",
            "info", "article", "document", "conversations", "messages")  # fmt: skip
_WITHIN = ("full_text", "text", "prompt", "question", "post", "article", "content")
_SYSTEMS = ("system", "system_prompt")
_MIRRORED = re.compile(
    r"((?:model|system|assistant|bot|agent|llm)[ _-]?)([012ab])[ _-]"
    r"(response|answer|completion|output|generation|reply|text|summary|conversation)", re.I,
)  # fmt: skip
_WRAPPED = re.compile(r"(?:input|answer)\.(?=.)", re.I)
_JUDGED = ("annotations", "judgments", "judgements", "annotator_votes", "human_annotations",
           "evaluations")  # fmt: skip
_VERDICTS = (
    "winner", "human_winner", "preference", "human_preference", "preferred", "better_response_id",
    "better", "choice", "vote", "verdict", "human_label", "gold_label", "label", "labels",
    "judgment", "judgement", "human_judgment", "selected", "best", "better_response", "overall",
    "preferred_model", "preferred_response", "preferred_answer", "preferred_output",
    "winning_model", "best_answer", "human_choice", "human_vote", "decision", "result",
)  # fmt: skip
_SCORES = ("score", "rating", "votes", "rank")
_ACTORS = ("annotator_id", "worker_id", "workerid", "worker", "rater_id", "rater", "annotator",
           "annotator_index", "annotatorid", "judge", "evaluator", "user_id", "user")  # fmt: skip
_STAMPS = ("timestamp", "created_at", "tstamp", "date")
_REASONS = ("rationale", "reason", "explanation", "justification", "comment")
_ANNOTATOR = re.compile(r"(?:annotator|rater|judge|expert|human|label|vote)[ _-]?\d+", re.I)


def recognise(record: Mapping[str, Any]) -> float:
    """Look for a prompt, two answers with numbers or letters, and a verdict."""
    record = _plain(record)
    stated = _stated(record)
    if stated and _prompts(record):
        trl = stated[1] == _STATED[0] and "prompt" in record
        return 0.0 if trl else 0.7
    if _answers(record) is None:
        return 0.0
    verdicts = _verdict_fields(record)
    if not _prompts(record) and not _are_chats(record):
        return 0.0
    if signed({name: record[name] for name in verdicts}):
        return -1.0
    return 0.7 if verdicts or _scores(record) or _judged(record) else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Yield both answers and every verdict."""
    record = _plain(record)
    stated = _stated(record)
    found = stated or _answers(record)
    if found is None:
        raise UnfitError("no_answer", "there are no two answers with numbers or letters")
    values, marks = found
    chats = [_chat(record, value, f"answer {m}") for value, m in zip(values, marks, strict=True)]
    models = [_model(record, mark) for mark in marks]
    ids = [content_id("pair", chat, model) for chat, model in zip(chats, models, strict=True)]
    stamp = next((record[k] for k in _STAMPS if record.get(k) is not None), UNDATED)
    votes = [Vote("a")] if stated else _votes(record, marks, models, source)
    # Rows about one pair by several people meet in the same interactions, whatever the time.
    events = chats_compared(
        content_id("pairwise", record), (chats[0], chats[1]), votes,
        ids=(ids[0], ids[1]), systems=(models[0], models[1]),
    )  # fmt: skip
    return [e | {"event_ts": stamp} if e["type"] == "feedback" else e for e in events]


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record with its columns called `response_a` where they are `model_a_response`.

    Columns of crowd work (`Input.prompt`, `Answer.choice`) lose what they begin with.
    """
    wrapped = sum(1 for name in record if _WRAPPED.match(str(name))) > 1
    plain: dict[str, Any] = {}
    for column, value in record.items():
        name = _WRAPPED.sub("", str(column)) if wrapped else str(column)
        found = _MIRRORED.fullmatch(name)
        renamed = f"{found[3]}_{found[2]}" if found else name
        if renamed not in record or renamed == name:  # a column that is called so already wins
            plain.setdefault(renamed, value)
    return plain


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
        value = parse_json(record.get(name))
        if isinstance(value, list) and len(value) == 2:
            return [_text_in(v) for v in value], ("0", "1")
    if all(name in record for name in _SIDES):
        return [record[name] for name in _SIDES], ("a", "b")
    return None


def _stated(record: Mapping[str, Any]) -> tuple[list[Any], tuple[str, str]] | None:
    """Return the better and the worse answer, where their columns are called so."""
    for kind in _KINDS:
        for better, worse in _STATED:
            names = (f"{better}{kind}", f"{worse}{kind}")
            if all(isinstance(record.get(name), str | list | dict) for name in names):
                return [record[name] for name in names], (better, worse)
    return None


def _are_chats(record: Mapping[str, Any]) -> bool:
    return all(is_chat(parse_json(value)) for value in (_answers(record) or ([None],))[0])


def _prompts(record: Mapping[str, Any]) -> list[str]:
    lower = {str(name).lower(): name for name in record}
    return [lower[name] for name in _PROMPTS if name in lower and record[lower[name]]]


def _prompt(record: Record) -> list[dict[str, Any]]:
    names = _prompts(record)
    if not names:
        return []
    value = record[names[0]]
    nested = value if isinstance(value, Mapping) else parse_json(value)
    if is_chat(nested):
        return read_messages(nested)
    if isinstance(nested, Mapping):
        value = next((nested[k] for k in _WITHIN if nested.get(k)), value)
    asked = text_of(value, names[0])
    turns = read_transcript(asked) if asked.lstrip().startswith("Human:") else None
    if turns:
        return turns[:-1] if turns[-1] == {"role": "assistant", "content": ""} else turns
    more = record.get("input") if names[0] == "instruction" else None
    if isinstance(more, str) and more.strip():
        asked = f"{asked}\n\n{more}"
    system = next((record[k] for k in _SYSTEMS if isinstance(record.get(k), str)), None)
    before = [{"role": "system", "content": system}] if system else []
    return [*before, {"role": "user", "content": asked}]


def _chat(record: Record, value: Any, what: str) -> list[dict[str, Any]]:
    prompt = _prompt(record)
    nested = parse_json(value)
    if is_chat(nested):
        chat = read_messages(nested)
        return chat if any(m["role"] == "user" for m in chat[:2]) else prompt + chat
    if not prompt:
        raise UnfitError("no_prompt", "nothing says what was asked")
    answer = value if value == "" else text_of(value, what)
    return [*prompt, {"role": "assistant", "content": answer}]


def _text_in(value: Any) -> Any:
    names = ("text", "answer", "response", "content", "output", "completion")
    if isinstance(value, Mapping) and not is_chat(value):
        return next((value[name] for name in names if value.get(name) is not None), None)
    return value


def _model(record: Mapping[str, Any], mark: str) -> str | None:
    names = [
        f"{stem}{join}{mark}" for stem in ("model", "generator", "system") for join in ("_", "")
    ]
    names += [f"{mark}_model", f"{mark}-model"]
    return next((str(record[name]) for name in names if record.get(name)), None)


# -- verdicts ------------------------------------------------------------------------
def _verdict_fields(record: Mapping[str, Any]) -> list[str]:
    """Return the one field that says it, or those of several people."""
    several = [name for name in record if _ANNOTATOR.fullmatch(str(name))]
    one = next(([name] for name in _VERDICTS if record.get(name) is not None), [])
    return sorted(several) or one


def _scores(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    marks = (_answers(record) or ([], ("", "")))[1]
    pairs = [
        (f"{stem}{join}{marks[0]}", f"{stem}{join}{marks[1]}")
        for stem in _SCORES
        for join in ("_", "")
    ]
    return [pair for pair in pairs if all(number_of(record.get(n)) is not None for n in pair)]


def _judged(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what several people said, each in an object of its own."""
    for name in _JUDGED:
        held = parse_json(record.get(name))
        if isinstance(held, list) and held and all(isinstance(one, Mapping) for one in held):
            return held if all(_verdict_fields(one) for one in held) else []
    return []


def _votes(
    record: Record, marks: tuple[str, str], models: list[str | None], source: Source
) -> list[Vote]:
    several = [] if _verdict_fields(record) else _judged(record)
    if several:
        return [vote for one in several for vote in _votes(dict(one), marks, models, source)]
    fields = [name for name in _verdict_fields(record) if record[name] is not None]
    lower = {str(name).lower(): value for name, value in record.items()}
    named = next((str(lower[k]) for k in _ACTORS if isinstance(lower.get(k), str | int)), None)
    why = next((record[k] for k in _REASONS if isinstance(record.get(k), str) and record[k]), None)
    said = {name: record[name] for name in fields}
    if signed(said) or ("signed" in source.memory and any(map(_is_number, said.values()))):
        source.memory["signed"] = True
        raise UnfitError("bad_verdict", "verdicts go below 0 here: whose is a 1 cannot be told")
    if len(fields) > 1:
        return [Vote(winner_among(said[name], marks, models), actor=name) for name in fields]
    if fields:
        value = said[fields[0]]
        between = isinstance(value, float) and not value.is_integer()
        told = {fields[0]: value} if between else None
        winner = winner_among(value, marks, models)
        return [Vote(winner, actor=named, comment=why, metadata=told)]
    for first, second in _scores(record):
        a, b = number_of(record[first]) or 0.0, number_of(record[second]) or 0.0
        less_is_better = first.startswith("rank")
        winner = "tie" if a == b else "a" if (a > b) is not less_is_better else "b"
        return [Vote(winner, actor=named, comment=why, metadata={first: a, second: b})]
    raise UnfitError("no_verdict", "nothing says which answer is better")


def _is_number(value: Any) -> bool:
    return number_of(value) is not None


FORMAT = Format(
    name="pairwise",
    title="pairwise judgements",
    recognise=recognise,
    convert=convert,
    fields=(
        ("`prompt`, `instruction` (and `input`), `question`, …", "`request.messages`", ""),
        ("`response_1`, `response_2`", "`response.content`",
         "also `answer`, `output`, …; from 0, from 1, `a` and `b`, `left` and `right`, or a list"),
        ("`chosen`, `rejected`; `better`, `worse`; …", "`response.content`, `preference`",
         "beside a prompt that is not called so (else TRL's)"),
        ("`winner`, `preference`, `label`, `choice`, …", "`preference`",
         "the answer's own number, letter or model; `A>B`; `tie`; from 1: 0 and 1.5 are ties"),
        ("a verdict below 0", "refused: `bad_verdict`", "whose a 1 is cannot be told then"),
        ("`annotator1`, `annotator2`, …; `annotations`, `judgments`, …: a list of objects",
         "`preference`", "one a reviewer"),
        ("`model_a_response`; `Input.prompt`, `Answer.choice`", "the same",
         "read as `response_a`, `prompt`, `choice`"),
        ("`score_1`, `score_2`", "`preference`",
         "the higher (of `rank_1`, …: the lower), where nothing else says it"),
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
        {"query": "A town?", "model_a_response": "Ulm.", "model_b_response": "Blue.",
         "annotations": [{"annotator": "x", "choice": "a"}, {"annotator": "y", "choice": "b"}]},
        {"question": "A hill?", "chosen": "The Brocken.", "rejected": "The Elbe."},
        {
            "question": {"full_text": "Why?"}, "answer_0": "So.", "answer_1": "Because.",
            "score_0": -1.0, "score_1": 1.0,
        },
    ),
)  # fmt: skip
