"""Fields of foreign records: picked by any of their names, parsed, nested, left over."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tuneloop.lake.compose import number_of

_PROMPTS = (
    "messages", "conversation", "dialogue", "dialog", "chat", "history", "prompt", "instruction",
    "question", "query", "input", "user_input", "user", "context", "request", "text",
)  # fmt: skip
_ANSWERS = (
    "response", "answer", "completion", "output", "generation", "reply", "assistant", "result",
    "model_output", "prediction",
)  # fmt: skip
_NUMBERED = re.compile(
    r"(?:(?:model|assistant)[ _-]?)?"
    r"(?:response|answer|completion|output|generation|candidate|reply|option|model|text)s?"
    r"[ _-]?([1-9a-h])", re.I,
)  # fmt: skip
_NAMED_PAIRS = (("chosen", "rejected"), ("left", "right"), ("a", "b"), ("A", "B"))


def take(record: Mapping[str, Any], *names: str) -> Any:
    """Return the first of these fields that holds something."""
    for name in names:
        if record.get(name) not in (None, ""):
            return record[name]
    return None


def ident(value: Any) -> str | None:
    """Return an id as a text (some sources number things), None where there is none."""
    return None if value in (None, "") or isinstance(value, dict | list) else str(value)


def amount(value: Any) -> float | None:
    """Return a number that is not negative (a duration, a price), also from its text, or None."""
    number = number_of(value)
    return number if number is not None and number >= 0 else None


def rest(record: Mapping[str, Any], *used: str) -> dict[str, Any]:
    """Return the fields that were not used and hold something, for `extra`."""
    return {k: v for k, v in record.items() if k not in used and v not in (None, "", [], {})}


def mapping(value: Any) -> dict[str, Any]:
    """Return an object, also from its JSON or from the pairs of a map column, or an empty one."""
    value = parse_json(value)
    if isinstance(value, Mapping):
        return dict(value)
    return dict(value) if _are_pairs(value) else {}


def _are_pairs(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, tuple | list) and len(one) == 2 and isinstance(one[0], str) for one in value
    )


def rows(value: Any) -> list[dict[str, Any]]:
    """Return the objects in a list, also from its JSON; anything else has none."""
    value = parse_json(value)
    return [mapping(one) for one in value if mapping(one)] if isinstance(value, list) else []


def texts(value: Any) -> list[str] | None:
    """Return a list of words (tags, say) as texts, None where there are none."""
    value = parse_json(value)
    held = value if isinstance(value, list) else [value]
    return [as_text(one) for one in held if one not in (None, "")] or None


def parse_json(value: Any) -> Any:
    """Return what a text of JSON (an object or a list) holds, and anything else as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def as_text(value: Any) -> str:
    """Return a text as it is and anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return `{"a.0.b": 1}` as `{"a": [{"b": 1}]}`, also inside lists and objects."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        place = tree
        *path, last = str(key).split(".")
        for step in path:
            inner = place.setdefault(step, {})
            if not isinstance(inner, dict):
                inner = place[step] = {"": inner}
            place = inner
        held = _nested(value)
        if isinstance(held, dict) and isinstance(place.get(last), dict):
            place[last] |= held
        else:
            place[last] = held
    return {key: _lists(value) for key, value in tree.items()}


def _nested(value: Any) -> Any:
    if isinstance(value, Mapping):
        return nest(value)
    return [_nested(one) for one in value] if isinstance(value, list) else value


def _lists(value: Any) -> Any:
    """Return objects whose keys are 0, 1, 2 … as lists."""
    if not isinstance(value, dict):
        return value
    inner = {key: _lists(one) for key, one in value.items()}
    if inner and all(key.isdigit() for key in inner):
        return [inner[key] for key in sorted(inner, key=int)]
    return inner


def prompt_field(fields: Mapping[str, Any]) -> str | None:
    """Return which field of an annotation task is what was asked."""
    lower = {name.lower(): name for name in fields if fields[name] not in (None, "", [])}
    return next((lower[name] for name in _PROMPTS if name in lower), None)


def answer_field(fields: Mapping[str, Any]) -> str | None:
    """Return which field of an annotation task is the one answer."""
    lower = {name.lower(): name for name in fields if fields[name] not in (None, "", [])}
    return next((lower[name] for name in _ANSWERS if name in lower), None)


def answer_fields(fields: Mapping[str, Any]) -> list[str]:
    """Return which fields of an annotation task are answers to compare, in their order."""
    numbered = [n for n in fields if _NUMBERED.fullmatch(n) and fields[n] not in (None, "")]
    if len(numbered) >= 2:
        return sorted(numbered, key=str.lower)
    return next(([*pair] for pair in _NAMED_PAIRS if all(fields.get(n) for n in pair)), [])


def chosen_field(label: Any, answers: list[str]) -> str | None:
    """Return the answer's field that a label names: by its name, number, letter or side."""
    said = re.sub(r"[ _-]", "", str(label)).lower()
    for place, name in enumerate(answers):
        plain = re.sub(r"[ _-]", "", name).lower()
        names = {plain, plain[-1], str(place + 1), "ab"[place] if place < 2 else "",
                 ("left", "right")[place] if place < 2 else ""}  # fmt: skip
        names |= {f"{word}{mark}" for word in (*_ANSWERS, "model", "option", "candidate")
                  for mark in (str(place + 1), "abcdefgh"[min(place, 7)])}  # fmt: skip
        if said and said in names:
            return name
    return None
