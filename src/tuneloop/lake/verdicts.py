"""Who won, in the words of people who write files of comparisons."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tuneloop.lake.compose import WINNERS, Winner, number_of
from tuneloop.lake.format import UnfitError

_FIRST = ("first", "1st", "left")
_SECOND = ("second", "2nd", "right")
_SIDE = r"(?:(?:assistant|model|response|answer|option)[ _-]?)?([012ab])"
_SIDED = re.compile(rf"\W*{_SIDE}\s*([<>=≻≺])\2*\s*{_SIDE}\W*", re.I)
_NAMED = re.compile(
    r"\W*(?:(?:the|assistant|model|response|answer|output|option|completion|candidate|summary"
    r"|system|text)[ _-]?)*(?P<mark>[012ab])(?:\s+(?:is|was)\s+(?:the\s+)?(?:much |slightly )?"
    r"(?:better|best|preferred|winner))?\W*", re.I,
)  # fmt: skip


def winner_among(
    value: Any, marks: tuple[str, str], names: Sequence[str | None] = (None, None)
) -> Winner:
    """Return which of two answers a verdict names.

    A number means the answer that bears it; of answers numbered from 1, a 0 is a tie, and what
    lies between 1 and 2 leans to the nearer one, a tie in the middle. For lettered answers no
    number says anything.

    Args:
        value: The verdict: a number, a letter, a model, `A>B`, words.
        marks: What the answers are numbered by.
        names: Who answered.

    Raises:
        UnfitError: `bad_verdict`.
    """
    text = str(value).strip()
    if text and text in names and names[0] != names[1]:
        return "a" if text == names[0] else "b"
    if not isinstance(value, bool):
        number = number_of(value)
        found = _in_words(text.lower(), marks) if number is None else _in_numbers(number, marks)
        if found:
            return found
    raise UnfitError("bad_verdict", f"{text[:40]!r} names neither of {' and '.join(marks)}")


def _in_numbers(number: float, marks: tuple[str, str]) -> Winner | None:
    if f"{number:g}" in marks:
        return "a" if f"{number:g}" == marks[0] else "b"
    if marks == ("1", "2") and (number == 0 or 1 < number < 2):
        return "tie" if number in (0, 1.5) else "a" if number < 1.5 else "b"
    return None


def _in_words(text: str, marks: tuple[str, str]) -> Winner | None:
    if text in WINNERS:
        return WINNERS[text]
    plain = re.sub(r"[\[\](){}*'\"]", "", text).strip()
    if plain in _FIRST or plain in _SECOND:
        return "a" if plain in _FIRST else "b"
    if sided := _SIDED.fullmatch(plain):
        first, sign, second = sided.groups()
        if {first, second} != set(marks) and {first, second} != {"a", "b"}:
            return None
        if sign == "=":
            return "tie"
        won = first if sign in ">≻" else second
        return "a" if won == min(first, second) else "b"
    if (named := _NAMED.fullmatch(plain)) and named["mark"] in (*marks, "a", "b"):
        return "a" if named["mark"] in (marks[0], "a") else "b"
    return WINNERS.get(plain)


def signed(values: Mapping[str, Any]) -> bool:
    """Say whether a verdict is below 0: then a 1 is a step on a scale, and no answer's number."""
    return any((number_of(value) or 0) < 0 for value in values.values())
