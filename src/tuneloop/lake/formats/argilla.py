"""Argilla: records with fields, and what annotators responded, nested, flat or from the API.

Source: https://docs.argilla.io/latest/reference/argilla/records/records/
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
    ident,
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
from tuneloop.lake.ratings import actor_of, judged, opinion, together
from tuneloop.lake.times import UNDATED

_CORRECTED = re.compile(r"correct(ed|ion)|rewri|improve|edit|better|ideal|revis|fixed", re.I)
_TIES = {"tie": "tie", "draw": "tie", "equal": "tie", "same": "tie", "both_good": "tie",
         "neither": "both_bad", "both_bad": "both_bad", "none": "both_bad"}  # fmt: skip
_FIVE, _TEN = (1.0, 5.0), (0.0, 10.0)
_OWN = ("id", "external_id", "_server_id", "fields", "metadata", "responses", "suggestions",
        "vectors", "status", "inserted_at", "updated_at", "dataset_id")  # fmt: skip


def recognise(record: Mapping[str, Any]) -> float:
    """Fields beside responses or suggestions, or columns that end in `.responses`."""
    if isinstance(parse_json(record.get("fields")), Mapping):
        marks = {"responses", "suggestions", "vectors", "_server_id"} & record.keys()
        return 1.0 if marks else 0.0
    if any(name.endswith((".responses", ".response")) for name in record):
        return 1.0
    if any(_old_responses(value) for value in record.values()):
        return 0.9
    return 0.6 if any(n.endswith((".suggestion", "-suggestion")) for n in record) else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Return the record's answers as interactions, and every submitted response as feedback."""
    fields = mapping(record.get("fields")) or {
        name: value
        for name, value in record.items()
        if name not in _OWN
        and "." not in name
        and isinstance(value, str | list)
        and not _old_responses(value)
    }
    # Other datasets number their records too: the fields tell them apart.
    id = content_id("record", take(record, "external_id", "id", "_server_id"), fields)
    when = take(record, "inserted_at", "updated_at") or UNDATED
    answers = answer_fields(fields)
    calls = _interactions(record, fields, answers, id, when)
    targets = {name: f"{id}-{name}" for name in answers} or {"": id}
    return together(
        ([calls], lambda made: made),
        (_responses(record), lambda r: _feedback(r, id, targets, when)),
        (_suggestions(record), lambda r: _feedback(r, id, targets, when)),
    )


def _interactions(
    record: Record, fields: Record, answers: list[str], id: str, when: Any
) -> list[Event]:
    name = prompt_field({k: v for k, v in fields.items() if k not in answers})
    asked = read_messages(fields.get(name)) if name else []
    one = answer_field(fields) if not answers else None
    if not asked:
        raise UnfitError("no_prompt", f"no field is a prompt: {', '.join(fields)[:120]}")
    metadata = mapping(record.get("metadata"))
    more = {
        "event_ts": when,
        "extra": ({"metadata": metadata} if metadata else {})
        | {"fields": rest(fields, name or "", one or "", "system", "system_prompt", *answers)},
    }
    system = read_system(take(fields, "system", "system_prompt"))
    if answers:
        return [interaction(f"{id}-{n}", system + asked, read_answer(parse_json(fields[n])),
                            system=ident(take(metadata, f"{n}_model", f"{n}-model")), **more)
                for n in answers]  # fmt: skip
    if one:
        return [interaction(id, system + asked, read_answer(parse_json(fields[one])), **more)]
    prompt, response = split_answer(system + asked)
    return [interaction(id, prompt, response, **more)]


def _responses(record: Record) -> Iterable[Record]:
    """Yield submitted responses as `question`, `value`, `user_id`."""
    given = parse_json(record.get("responses"))
    if isinstance(given, Mapping):  # by question, as the SDK writes them
        for question, ones in given.items():
            yield from ({"question": question} | one for one in rows(ones))
    for one in rows(given):  # by person, as the API has them
        for question, held in mapping(one.get("values")).items():
            yield {"question": question, "value": mapping(held).get("value", held),
                   "user_id": one.get("user_id"), "status": one.get("status")}  # fmt: skip
    for name, held in record.items():
        if name not in _OWN and _old_responses(held):
            yield from ({"question": name} | one for one in rows(held))
        for end in (".responses", ".response"):  # flat
            if name.endswith(end) and held is not None:
                yield from _flat(record, name, parse_json(held))


def _old_responses(value: Any) -> bool:
    """Say whether a column holds responses as datasets on the hub had them before Argilla 2."""
    found = rows(value)
    return bool(found) and all({"user_id", "value", "status"} <= one.keys() for one in found)


def _flat(record: Record, name: str, held: Any) -> Iterable[Record]:
    values = held if isinstance(held, list) and name.endswith("s") else [held]
    users, states = (texts(record.get(f"{name}.{end}")) or [] for end in ("users", "status"))
    for n, value in enumerate(values):
        yield {
            "question": name.rsplit(".", 1)[0],
            "value": value,
            "user_id": users[n] if n < len(users) else None,
            "status": states[n] if n < len(states) else None,
        }


def _suggestions(record: Record) -> Iterable[Record]:
    given = parse_json(record.get("suggestions"))
    found = (
        [{"question": q} | mapping(v) for q, v in given.items()]
        if isinstance(given, Mapping)
        else rows(given)
    )
    for row in found:
        yield {"question": take(row, "question", "question_name") or "suggestion",
               "value": row.get("value"), "user_id": row.get("agent"), "kind": "judge"}  # fmt: skip


def _feedback(row: Record, id: str, targets: dict[str, str], when: Any) -> list[Event]:
    if row.get("status") not in (None, "submitted") or row.get("value") in (None, "", []):
        return []  # drafts and discarded ones are nobody's word
    question, value = str(row["question"]), row["value"]
    actor = actor_of(row.get("kind") or "reviewer", row.get("user_id"))
    key = content_id("argilla", id, question, row.get("user_id"), row.get("kind"), value)
    more = {"event_ts": when, "actor": actor, "dimension": question}
    names = [name for name in targets if name]
    if isinstance(value, list) and value and all("rank" in mapping(v) for v in value):
        return _ranked(key, [mapping(v) for v in value], targets, more)
    if names and isinstance(value, str):
        outcome = _TIES.get(value.strip().lower().replace(" ", "_"))
        best = chosen_field(value, names)
        if best or outcome:
            others = [name for name in names if name != best]
            first = targets[best or others.pop(0)]
            said = outcome or "better"
            return [
                _preferred(f"{key}-{n}", first, targets[name], said, more)
                for n, name in enumerate(others)
            ]
    about = next((n for n in sorted(names, key=len, reverse=True) if n in question), None)
    target = targets[about] if about else next(iter(targets.values()))
    if names and about is None and not isinstance(value, str):
        raise UnfitError("no_target", f"{question!r} does not say which of the answers it rates")
    return [opinion(target, _judgement(value, question), id=key, **more)]


def _judgement(value: Any, question: str) -> dict[str, Any]:
    if isinstance(value, list | dict):  # spans, several labels
        return {"signal": "comment", "value": as_text(value)}
    number = number_of(value)
    if number is not None and not isinstance(value, str):
        # The settings say from where to where, the records do not: ratings begin at 1.
        scale = _FIVE if _FIVE[0] <= number <= _FIVE[1] else _TEN
        said = judged(number, name=question, scale=scale)
        return said | {"metadata": said.get("metadata", {}) | {"scale": "assumed"}}
    if _CORRECTED.search(question) and isinstance(value, str):
        return {"signal": "correction", "value": value}
    return judged(value, name=question)


def _preferred(key: str, winner: str, loser: str, outcome: str, more: dict[str, Any]) -> Event:
    value = {"winner": winner, "loser": loser, "outcome": outcome}
    return opinion(winner, {"signal": "preference", "value": value}, id=key, **more)


def _ranked(
    key: str, ranks: list[Record], targets: dict[str, str], more: dict[str, Any]
) -> list[Event]:
    """A ranking compares every two answers; equal ranks are a tie."""
    placed = []
    for row in ranks:
        name = chosen_field(row.get("value"), [n for n in targets if n])
        if name:
            placed.append((number_of(row.get("rank")) or 0.0, targets[name]))
    placed.sort()
    return [
        _preferred(f"{key}-{i}-{j}", first, second, "tie" if a == b else "better", more)
        for i, (a, first) in enumerate(placed)
        for j, (b, second) in enumerate(placed[i + 1 :], i + 1)
    ]


FORMAT = Format(
    name="argilla",
    title="Argilla",
    recognise=recognise,
    convert=convert,
    fields=(
        ("fields: prompt, instruction, question, chat …", "request.messages", ""),
        ("fields: response, answer, completion …", "response", "one interaction"),
        ("fields: response_a, response_b; answer1 …; chosen, rejected", "interactions", ""),
        (
            "external_id, id",
            "id",
            "with the fields in it; the answer's name where there are several",
        ),
        ("rating question", "score", "from 1 to 5, or 0 to 10: assumed and marked so"),
        (
            "label question",
            "thumb where the word is known; preference where it names an answer",
            "",
        ),
        ("ranking question", "preference", "every two; equal ranks are ties"),
        ("text question", "correction", "where its name says so (corrected, improved …); comment"),
        ("multi-label and span questions", "comment", "as JSON"),
        ("responses: status", "only submitted", "drafts and discarded ones are left out"),
        ("suggestions", "the same, by a judge", ""),
    ),
    examples=(
        {
            "id": "rec-1",
            "fields": {"instruction": "Name a fruit.", "response": "Carrot."},
            "metadata": {"batch": 3},
            "suggestions": {"quality": {"value": 2, "score": None, "agent": "gpt-4o"}},
            "responses": {
                "quality": [{"value": 1, "user_id": "ann-1"}, {"value": 2, "user_id": "ann-2"}],
                "corrected_response": [{"value": "Apple.", "user_id": "ann-1"}],
            },
            "vectors": {},
            "_server_id": "5b1e",
        },
        {
            "id": "rec-2",
            "fields": {"prompt": "Greet me.", "response_a": "Hello!", "response_b": "What."},
            "metadata": {},
            "suggestions": [],
            "responses": [
                {
                    "id": "r",
                    "user_id": "ann-1",
                    "status": "submitted",
                    "values": {"preference": {"value": "response_a"}},
                },
                {
                    "id": "r2",
                    "user_id": "ann-2",
                    "status": "draft",
                    "values": {"preference": {"value": "response_b"}},
                },
            ],
        },
        {
            "id": "rec-3",
            "prompt": "Spell cat.",
            "generation-1": "c a t",
            "generation-2": "k a t",
            "rank.responses": [
                [{"value": "generation-1", "rank": 1}, {"value": "generation-2", "rank": 2}]
            ],
            "rank.responses.users": ["ann-3"],
            "rank.responses.status": ["submitted"],
        },
    ),
)
