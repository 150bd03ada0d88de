"""What a rule finds in a text, and one text searched by many rules."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Span(NamedTuple):
    """A piece of personal data: characters `start` to `end` of a text."""

    start: int
    end: int
    kind: str


def whole(value: str) -> int:
    """Return the length of the value: all of it is meant."""
    return len(value)


@dataclass(frozen=True)
class Rule:
    """One pattern of one kind.

    Attributes:
        pattern: What it looks like. Where it has a group `value`, that is what is meant.
        check: Length of the beginning of the value that is meant; 0 where the value only looks
            like it (a checksum that fails).
        needs: One of these signs must be in the text in lower case, or the pattern is not tried;
            `0` stands for any digit. Empty: always tried.
    """

    kind: str
    pattern: re.Pattern[str]
    check: Callable[[str], int] = whole
    needs: tuple[str, ...] = ()


_DIGIT = re.compile(r"\d")


def search(text: str, rules: Iterable[Rule]) -> list[Span]:
    """Return what the rules find, in order, never overlapping.

    An earlier rule's find is hidden from the later ones.
    """
    lower = text.lower()
    digit = _DIGIT.search(text) is not None
    spans: list[Span] = []
    for rule in rules:
        if rule.needs and not any(digit if sign == "0" else sign in lower for sign in rule.needs):
            continue
        new = list(_matches(text, rule))
        text = hide(text, new)
        spans += new
    return sorted(spans)


def hide(text: str, spans: list[Span]) -> str:
    """Return the text with the spans blanked out, every other character in its place."""
    out, end = [], 0
    for span in spans:
        out += [text[end : span.start], "\0" * (span.end - span.start)]
        end = span.end
    return "".join([*out, text[end:]]) if spans else text


def apart(new: Iterable[Span], taken: list[Span]) -> list[Span]:
    """Return the new spans that overlap none of the taken ones, which are in order."""
    starts = [span.start for span in taken]
    free = []
    for span in new:
        i = bisect_left(starts, span.end)
        if i == 0 or taken[i - 1].end <= span.start:
            free.append(span)
    return free


def _matches(text: str, rule: Rule) -> Iterable[Span]:
    group = "value" if "value" in rule.pattern.groupindex else 0
    for match in rule.pattern.finditer(text):
        start = match.start(group)
        n = rule.check(match.group(group))
        if n > 0:
            yield Span(start, start + n, rule.kind)
