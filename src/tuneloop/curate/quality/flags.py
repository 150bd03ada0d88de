"""The defects that are looked for: a bit, a name and a rule each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tuneloop.config.privacy import Deed, QualityConfig

Mask = NDArray[np.uint32]


class Flag(NamedTuple):
    """One defect.

    Attributes:
        name: Its name; also the name of its switch in `QualityConfig`.
        rule: When it is set.
        source: Where the rule or its threshold comes from; empty: ours.
    """

    name: str
    rule: str
    source: str = ""

    @property
    def bit(self) -> int:
        """Its value in a mask."""
        return 1 << [flag.name for flag in FLAGS].index(self.name)


FLAGS: tuple[Flag, ...] = (
    Flag("language", "the question is, by at least 90 %, in none of the wanted languages"),
    Flag("too_short", "the answer has fewer than `min_words` words"),
    Flag("too_long", "the answer has more than `max_words` words"),
    Flag(
        "repetition",
        "of the answer's characters, more than a share lies in repeated lines, in the most common"
        " word 2-, 3- or 4-gram, or in repeated word 5- to 10-grams",
        "Rae et al. 2021 (Gopher), table A1",
    ),
    Flag("refusal", "the answer begins with a refusal, in one of nine languages"),
    Flag(
        "truncated",
        "the answer stopped at the token limit, leaves a code fence or JSON open, or ends in a"
        " word, bracket or comma that ends no sentence, or in the middle of a line's last sentence",
    ),
    Flag("toxic", "an insult, a threat or an obscenity of a short English list"),
    Flag(
        "injection",
        "control tokens of a chat template, an order to the judge or to ignore instructions,"
        " or hidden characters, in question, answer or feedback",
    ),
    Flag("encoding", "replacement or control characters, or mojibake", "ftfy.badness"),
    Flag("contradiction", "one account says up and down of one answer, or likes what it rewrites"),
)
"""A flag's bit is its place here."""

BITS: dict[str, np.uint32] = {flag.name: np.uint32(1 << i) for i, flag in enumerate(FLAGS)}

OF_ANSWER = sum(
    int(BITS[name]) for name in ("too_short", "too_long", "repetition", "refusal", "truncated")
)
"""Defects that make an answer a bad one, and no worse an example of what to avoid."""


def names(mask: int) -> list[str]:
    """Return the names of the flags that are set, in order."""
    return [flag.name for i, flag in enumerate(FLAGS) if mask >> i & 1]


def bits_with(config: QualityConfig, deed: Deed) -> int:
    """Return the bits of the flags for which the config says `deed` (`drop`, say)."""
    return sum(int(BITS[flag.name]) for flag in FLAGS if getattr(config, flag.name) == deed)


def counts(mask: Mask) -> dict[str, int]:
    """Return name → in how many texts the flag is set; flags that never are, left out."""
    totals = {flag.name: int(np.count_nonzero(mask & BITS[flag.name])) for flag in FLAGS}
    return {name: n for name, n in totals.items() if n}
