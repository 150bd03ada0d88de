"""One fast pass over a batch: which texts may hold anything that a rule finds.

RE2 (through Arrow) reads every text; Python's patterns run on the texts it points at. What RE2
is given is derived from the rules themselves, only looser, so that it cannot miss what they find.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tuneloop.recognise.finding import Rule

_BEYOND_ASCII = r"\x{80}-\x{10ffff}"
# What a class escape becomes inside [...], wider than Python's; outside ASCII every sign counts
# as a letter and as a space, which RE2 compiles small. Inside [^...] narrow is wide.
_WIDER = {
    r"\w": "0-9A-Za-z_" + _BEYOND_ASCII,
    r"\d": r"\p{Nd}",
    r"\s": r"\s\x{0b}\x{1c}-\x{1f}" + _BEYOND_ASCII,
    r"\W": r"\x{00}-/:-@\[-^`{-\x{10ffff}",
}
_NARROWER = {r"\w": r"\w", r"\d": r"\d", r"\s": r"\t\n\f\r ", r"\W": "^\\w"}
_TOKEN = re.compile(
    r"(?P<letters>\[\^\\W\\d_(?P<less>[^\]]*)\])|(?P<class>\[(?P<not>\^?)(?P<inner>(?:\\.|[^\]\\])+)\])"
    r"|(?P<escape>\\.)|(?P<count>\{(?P<low>\d+)(?P<comma>,?)(?P<high>\d*)\})",
    re.S,
)
_ASSERTION = re.compile(r"(?<!\\)(?:\\b|\(\?<?[=!])")


@lru_cache(maxsize=256)
def loosen(pattern: re.Pattern[str]) -> str:
    """Return a pattern in RE2's syntax that matches wherever this one does, and elsewhere too."""
    text = _without_assertions(pattern.pattern).replace("(?P<value>", "(?:")
    body = _TOKEN.sub(_wider, text)
    flags = "".join(sign for flag, sign in ((re.I, "i"), (re.S, "s")) if pattern.flags & flag)
    return f"(?{flags}:{body})"


def _wider(match: re.Match[str]) -> str:
    if match["letters"]:
        return rf"[A-Z{'' if match['less'].startswith('a-z') else 'a-z'}{_BEYOND_ASCII}]"
    if match["class"]:
        table = _NARROWER if match["not"] else _WIDER
        inner = re.sub(r"\\.", lambda m: _escape(m.group(), table), match["inner"], flags=re.S)
        return f"[{match['not']}{inner}]"
    if match["escape"]:
        two = match["escape"]
        return f"[{_WIDER[two]}]" if two in _WIDER else _escape(two, {r"\Z": r"\z"})
    # Counted repeats are copies to RE2: three at least will do, and any number at most.
    low, high = int(match["low"]), int(match["high"] or 99)
    short = high <= 4 if match["comma"] else low <= 4
    return match.group() if short else f"{{{min(low, 3)},}}"


def _escape(two: str, table: dict[str, str]) -> str:
    return table.get(two, {r"\0": r"\x{0}"}.get(two, two))


def _without_assertions(text: str) -> str:
    """Drop lookarounds and word boundaries: what is left matches more."""
    while match := _ASSERTION.search(text):
        end, depth, in_class = match.end(), int(match.group() != r"\b"), False
        while depth:
            sign = text[end]
            end += 2 if sign == "\\" else 1
            if in_class or sign == "[":
                in_class = sign != "]"
            else:
                depth += (sign == "(") - (sign == ")")
        text = text[: match.start()] + text[end:]
    return text


def matching(texts: pa.Array, pattern: str) -> NDArray[np.bool_]:
    """Return which texts an RE2 pattern matches; null texts do not."""
    hits = pc.fill_null(pc.match_substring_regex(texts, pattern), False)
    return np.asarray(hits.to_numpy(zero_copy_only=False), dtype=np.bool_)


def alternation(rules: Iterable[Rule]) -> str:
    """Return one RE2 pattern for what any of the rules may find."""
    return "|".join(loosen(rule.pattern) for rule in rules)
