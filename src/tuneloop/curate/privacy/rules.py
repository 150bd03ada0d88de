"""All rules in the order they are tried, in groups that the prefilter tells apart."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tuneloop.curate.privacy import identity, numbers, persons, secrets
from tuneloop.curate.privacy.finding import Rule, Span, search
from tuneloop.curate.privacy.prefilter import alternation, loosen, matching

# Secrets first; then what a checksum or a cue makes sure; phones, the loosest numbers, late;
# names last, since "Dr" and "St" stand in addresses too.
_GROUPS: tuple[tuple[Rule, ...], ...] = (
    secrets.RULES,
    numbers.WRITTEN,
    numbers.IBAN,
    identity.IDS,
    identity.BIRTH,
    identity.ADDRESSES,
    numbers.REST,
    persons.RULES,
)


@dataclass(frozen=True)
class _Group:
    """Rules that one RE2 pattern stands for.

    Attributes:
        first: Number of the first rule among all.
        digits: Whether every rule needs a digit, so that most texts need no closer look.
    """

    rules: tuple[Rule, ...]
    first: int
    pattern: str
    digits: bool


@dataclass(frozen=True)
class RuleSet:
    """The rules for some kinds; secrets are always among them."""

    groups: tuple[_Group, ...]

    def prefilter(self, texts: pa.Array) -> NDArray[np.uint64]:
        """Return for each text a bit a rule: whether it may find something there.

        A group's pattern picks texts out of all of them, a rule's out of those.
        """
        bits = np.zeros(len(texts), np.uint64)
        with_digits = np.flatnonzero(matching(texts, r"\p{Nd}"))
        numbered = texts.take(pa.array(with_digits))
        for group in self.groups:
            hits = matching(numbered if group.digits else texts, group.pattern)
            places = with_digits[hits] if group.digits else np.flatnonzero(hits)
            if not len(places):
                continue
            few = texts.take(pa.array(places))
            for i, rule in enumerate(group.rules, group.first):
                bits[places] |= matching(few, loosen(rule.pattern)).astype(np.uint64) << np.uint64(
                    i
                )
        return bits

    def find(self, text: str, bits: int) -> list[Span]:
        """Return what the rules of these bits find."""
        numbered = ((i, rule) for g in self.groups for i, rule in enumerate(g.rules, g.first))
        return search(text, (rule for i, rule in numbered if bits >> i & 1)) if bits else []


@lru_cache(maxsize=8)
def rules_for(kinds: frozenset[str]) -> RuleSet:
    """Return the rules that look for these kinds."""
    wanted = kinds | {"secret"}
    groups: list[_Group] = []
    n = 0
    for group in _GROUPS:
        rules = tuple(rule for rule in group if rule.kind in wanted)
        if rules:
            digits = all(rule.needs == ("0",) for rule in rules)
            groups.append(_Group(rules, n, alternation(rules), digits))
            n += len(rules)
    return RuleSet(tuple(groups))
