"""Reading answers as JSON, numbers and plain words; what several kinds share.

JSON is strict: the whole answer, stripped of surrounding space, must be one JSON value. JSON in
a Markdown fence is no JSON, since whoever parses the answer in production would fail on it.
"""

from __future__ import annotations

import json
import math
import unicodedata
from typing import Any

import regex

from tuneloop.artefacts.golden import Check
from tuneloop.evaluate.checks.kind import NotThereError

REGEX_TIMEOUT_S = 1.0
"""A pattern that backtracks for longer says nothing about the answer: missing."""


def parse_json(text: str) -> Any:
    """Return `text` as JSON, strictly.

    Raises:
        ValueError: if it is anything else: fenced, followed by words, NaN, too deep.
    """
    try:
        return json.loads(text.strip(), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def parsed(answer: str) -> Any:
    """Return an answer as JSON.

    Raises:
        NotThereError: where it is none.
    """
    try:
        return parse_json(answer)
    except ValueError as error:
        raise NotThereError(f"not JSON: {error}") from None


def field_of(answer: str, path: str) -> Any:
    """Return the field at a dot-separated path of an answer in JSON.

    Raises:
        NotThereError: where the answer is no JSON or has no such field.
    """
    value = parsed(answer)
    for part in path.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise NotThereError(f"no field {path!r}")
    return value


def as_text(subject: Any) -> str:
    """Return a subject as text; what is no text as JSON."""
    return subject if isinstance(subject, str) else json.dumps(subject, ensure_ascii=False)


def number(value: Any) -> float | None:
    """Return a finite number that a value states, as a number or in digits; None where none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value.replace(",", "")) if isinstance(value, str) else float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def texts(value: Any) -> list[str] | None:
    """Return a text, or a list of them, as a list; None for anything else."""
    items = value if isinstance(value, list) else [value]
    return items if items and all(isinstance(item, str) for item in items) else None


def folded(check: Check, value: Any) -> Any:
    """Return a text without case, where the check ignores case."""
    return value.casefold() if check.ignore_case and isinstance(value, str) else value


def normalised(text: str) -> str:
    """Return a text in NFKC, without case, punctuation and articles, single-spaced.

    Source: the normalisation of SQuAD's evaluation (Rajpurkar et al. 2016), with Unicode's
        punctuation and marks instead of ASCII's.
    """
    plain = regex.sub(r"[\p{P}\p{S}]", " ", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(word for word in plain.split() if word not in ("a", "an", "the"))


def short(value: Any) -> str:
    """Return a value as JSON, cut for a report."""
    return json.dumps(value, ensure_ascii=False, default=str)[:80]


def options(value: Any, known: dict[str, type | tuple[type, ...]]) -> str | None:
    """Return what is wrong with a mapping of options; None where it is right."""
    if not isinstance(value, dict):
        return f"value must be a mapping of {', '.join(known)}"
    for key, given in value.items():
        if key not in known:
            return f"no option {key!r}; known: {', '.join(known)}"
        if not isinstance(given, known[key]) or (
            isinstance(given, bool) and known[key] is not bool
        ):
            return f"{key} has the wrong type: {short(given)}"
    return None
