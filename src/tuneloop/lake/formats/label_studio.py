"""Label Studio: annotated tasks, as its JSON and JSON_MIN exports have them.

Source: https://labelstud.io/guide/export, https://labelstud.io/tags/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.answers import read_answer, split_answer
from tuneloop.lake.chats import read_messages, read_system
from tuneloop.lake.compose import interaction, number_of
from tuneloop.lake.fields import (
    answer_field,
    answer_fields,
    as_text,
    chosen_field,
    mapping,
    parse_json,
    prompt_field,
    rest,
    rows,
    take,
    texts,
)
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id
from tuneloop.lake.ratings import judged, opinion, revision, together
from tuneloop.lake.times import UNDATED

_CORRECTED = re.compile(
    r"correct|rewri|improve|edit|better|ideal|revis|fixed|answer|response|summary", re.I
)
_TIES = {
    "tie": "tie", "equal": "tie", "same": "tie", "both": "tie", "draw": "tie",
    "both good": "tie", "neither": "both_bad", "none": "both_bad", "both bad": "both_bad",
}  # fmt: skip
_MIN = ("id", "annotation_id", "annotator", "created_at", "updated_at", "lead_time")
MAX_STARS = 5


def recognise(record: Mapping[str, Any]) -> float:
    """Data beside annotations, or JSON_MIN's columns."""
    if isinstance(record.get("data"), Mapping) and "annotations" in record:
        return 1.0
    return 0.9 if {"annotation_id", "annotator", "lead_time"} <= record.keys() else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Return the task's answers as interactions, and every result as feedback."""
    data, annotations = _task(record)
    answers = answer_fields(data)
    # Other projects number their tasks too: the data tell them apart.
    id = content_id("task", record.get("id"), data)
    listed = {str(take(item, "id", "title")): item for item in rows(data.get("items"))}
    targets = {name: f"{id}-{name}" for name in (answers or listed)} or {"": id}
    when = take(record, "created_at") or UNDATED
    results = [(a, r) for a in annotations if not a.get("was_cancelled")
               for r in rows(a.get("result"))]  # fmt: skip
    return together(
        ([data], lambda data: _interactions(data, answers, listed, id, when)),
        (results, lambda one: _feedback(one[0], one[1], targets)),
    )


def _task(record: Record) -> tuple[Record, list[Record]]:
    """Return the data and the annotations; JSON_MIN's one annotation is taken out of its row."""
    if "annotations" in record:
        return mapping(record.get("data")), rows(record["annotations"])
    data = {k: v for k, v in record.items() if k not in _MIN}
    kept = {prompt_field(data), answer_field(data), *answer_fields(data), "system", "items"}
    results = [_min_result(k, parse_json(v)) for k, v in data.items() if k not in kept and v]
    annotation = {"id": record.get("annotation_id"), "completed_by": record.get("annotator"),
                  "created_at": record.get("created_at"), "updated_at": record.get("updated_at"),
                  "result": results}  # fmt: skip
    return {k: v for k, v in data.items() if k in kept}, [annotation]


def _min_result(name: str, value: Any) -> Record:
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        value = take(value[0], "rating", "choices", "text", "selected") or value
    if isinstance(value, Mapping) and "choices" in value:
        value = value["choices"]
    if number_of(value) is not None:
        return {"from_name": name, "type": "rating", "value": {"rating": number_of(value)}}
    if value in ("left", "right"):
        return {"from_name": name, "type": "pairwise", "value": {"selected": value}}
    kind = "textarea" if _CORRECTED.search(name) else "choices"
    values = value if isinstance(value, list) else [value]
    return {"from_name": name, "type": kind,
            "value": {"text" if kind == "textarea" else "choices": values}}  # fmt: skip


def _interactions(
    data: Record, answers: list[str], listed: dict[str, Any], id: str, when: Any
) -> list[Event]:
    name = prompt_field({k: v for k, v in data.items() if k not in answers})
    asked = read_messages(data.get(name)) if name else []
    if not asked:
        raise UnfitError("no_prompt", f"no field is a prompt: {', '.join(data)[:120]}")
    asked = read_system(take(data, "system", "system_prompt")) + asked
    one = answer_field(data) if not answers else None
    extra = {
        "data": rest(data, name or "", one or "", "system", "system_prompt", "items", *answers)
    }
    more = {"event_ts": when, "extra": extra}
    if answers:
        return [interaction(f"{id}-{n}", asked, read_answer(parse_json(data[n])), **more)
                for n in answers]  # fmt: skip
    if listed:
        texts = {n: take(item, "body", "text", "html", "title") for n, item in listed.items()}
        return [interaction(f"{id}-{n}", asked, read_answer(t), **more) for n, t in texts.items()]
    if one:
        return [interaction(id, asked, read_answer(parse_json(data[one])), **more)]
    prompt, response = split_answer(asked)
    return [interaction(id, prompt, response, **more)]


def _feedback(annotation: Record, result: Record, targets: dict[str, str]) -> list[Event]:
    """One result of one annotator: a side, a ranking, stars, choices or a text."""
    kind, value = str(result.get("type")).lower(), mapping(result.get("value"))
    name = str(result.get("from_name") or kind)
    by = annotation.get("completed_by")
    by = mapping(by).get("id") if isinstance(by, Mapping) else by
    who = {"kind": "reviewer"} | ({"id": str(by)} if by not in (None, "") else {})
    key = content_id("ls", annotation.get("id"), sorted(targets), name,
                     str(result.get("id") or ""), value)  # fmt: skip
    more: dict[str, Any] = {
        "event_ts": annotation.get("created_at") or UNDATED, "actor": who, "dimension": name,
        "metadata": {"ground_truth": True} if annotation.get("ground_truth") else None,
        **revision(annotation.get("created_at"), annotation.get("updated_at")),
    }  # fmt: skip
    names = [n for n in targets if n]
    if kind == "pairwise" or (names and kind == "choices"):
        picked = value.get("selected") or (texts(value.get("choices")) or [""])[0]
        return _compared(key, str(picked), names, targets, more)
    if kind == "ranker":
        return _ranked(key, value.get("ranker", value), targets, more)
    target = _target(result, name, targets)
    if kind == "rating":
        stars = number_of(value.get("rating"))
        said: dict[str, Any] = {"signal": "stars", "value": stars}
        if stars is None or not 1 <= stars <= MAX_STARS:
            said = judged(value.get("rating"), scale=(0, 10))
    elif kind in ("textarea", "chatmessage"):
        text = "\n".join(texts(value.get("text")) or [])  # a list of lines
        said = {"signal": "correction" if _CORRECTED.search(name) else "comment", "value": text}
    elif kind == "choices":
        choices = texts(value.get("choices")) or []
        said = judged(choices[0] if len(choices) == 1 else as_text(choices), name=None)
    elif kind == "number":
        said = judged(value.get("number"), name=name)
    else:
        said = {"signal": "comment", "value": as_text({"type": kind} | value)}
    return [opinion(target, said, id=key, **more)]


def _target(result: Record, name: str, targets: dict[str, str]) -> str:
    """Return which answer a result is on: named by its object or its own name."""
    if "" in targets:
        return targets[""]
    said = f"{result.get('to_name')} {name}"
    for answer in sorted(targets, key=len, reverse=True):
        if answer in said or re.sub(r"\W|_", "", answer) in re.sub(r"\W|_", "", said):
            return targets[answer]
    raise UnfitError("no_target", f"{name!r} does not say which of the answers it is on")


def _compared(
    key: str, picked: str, names: list[str], targets: dict[str, str], more: Any
) -> list[Event]:
    outcome = _TIES.get(picked.strip().lower().replace("_", " "))
    best = chosen_field(picked, names)
    if len(names) < 2 or (best is None and outcome is None):
        raise UnfitError("no_answers", f"{picked!r} names none of the answers to compare")
    others = [name for name in names if name != best]
    first = best or others.pop(0)
    return [
        _better(f"{key}-{n}", targets[first], targets[other], "better" if best else outcome, more)
        for n, other in enumerate(others)
    ]


def _better(key: str, winner: str, loser: str, outcome: str | None, more: Any) -> Event:
    value = {"winner": winner, "loser": loser, "outcome": outcome}
    return opinion(winner, {"signal": "preference", "value": value}, id=key, **more)


def _ranked(key: str, ranks: Any, targets: dict[str, str], more: Any) -> list[Event]:
    """A ranking compares every two of its items."""
    order = ranks if isinstance(ranks, list) else take(mapping(ranks), "rank", "_")
    if order is None:
        order = next((v for v in mapping(ranks).values() if isinstance(v, list)), [])
    placed = [targets[str(n)] for n in order or [] if str(n) in targets]
    return [
        _better(f"{key}-{i}-{j}", better, worse, "better", more)
        for i, better in enumerate(placed)
        for j, worse in enumerate(placed[i + 1 :], i + 1)
    ]


FORMAT = Format(
    name="label_studio",
    title="Label Studio",
    recognise=recognise,
    convert=convert,
    fields=(
        ("data: prompt, question, dialogue …", "request.messages", ""),
        ("data: answer, response … | answer1, answer2 … | items[]", "response", ""),
        ("Pairwise, Choices among answers", "preference", "tie and both_bad by their words"),
        ("Ranker", "preference", "every two"),
        ("Rating", "stars", "above five: a score from 0 to 10"),
        ("Choices", "thumb where the word is known, else comment", ""),
        ("TextArea", "correction", "where its name says so; else comment"),
        ("other results", "comment", "as JSON"),
        ("annotations[].was_cancelled", "left out", ""),
        ("annotations[].completed_by", "actor.id, a reviewer", ""),
        ("annotations[].ground_truth", "metadata.ground_truth", ""),
    ),
    examples=(
        {
            "id": 11,
            "data": {"prompt": "Name a colour.", "answer1": "Blue.", "answer2": "Tuesday."},
            "annotations": [
                {
                    "id": 101,
                    "completed_by": 4,
                    "result": [
                        {
                            "id": "x",
                            "from_name": "comparison",
                            "to_name": "answer1,answer2",
                            "type": "pairwise",
                            "value": {"selected": "left"},
                        }
                    ],
                    "was_cancelled": False,
                    "ground_truth": False,
                    "created_at": "2024-06-01T10:00:00.000000Z",
                    "updated_at": "2024-06-01T10:00:00.000000Z",
                    "lead_time": 9.5,
                },
                {"id": 102, "completed_by": 5, "result": [], "was_cancelled": True},
            ],
            "predictions": [],
            "created_at": "2024-05-31T10:00:00.000000Z",
        },
        {
            "id": 12,
            "data": {"question": "How many legs has a spider?", "answer": "Six."},
            "annotations": [
                {
                    "id": 103,
                    "completed_by": {"id": 4, "email": "ann@example.org"},
                    "result": [
                        {"from_name": "quality", "type": "rating", "value": {"rating": 1}},
                        {
                            "from_name": "corrected_answer",
                            "type": "textarea",
                            "value": {"text": ["Eight."]},
                        },
                    ],
                    "was_cancelled": False,
                    "created_at": "2024-06-01T10:05:00.000000Z",
                }
            ],
        },
        {
            "id": 13,
            "prompt": "Say hello.",
            "response": "Hello.",
            "verdict": "good",
            "annotator": 4,
            "annotation_id": 104,
            "created_at": "2024-06-01T11:00:00Z",
            "updated_at": "2024-06-01T11:00:04Z",
            "lead_time": 3.2,
        },
    ),
)
