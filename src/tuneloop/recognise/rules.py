"""All rules in the order they are tried, in groups that the prefilter tells apart."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tuneloop.recognise import identity, numbers, persons, secrets
from tuneloop.recognise.finding import Rule, Span, search
from tuneloop.recognise.prefilter import alternation, loosen, matching

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
KINDS = tuple(sorted({rule.kind for group in _GROUPS for rule in group}))
"""Every kind that some rule finds."""


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


@dataclass(frozen=True, eq=False)
class RuleSet:
    """The rules for some kinds; secrets are always among them."""

    groups: tuple[_Group, ...]

    def prefilter(self, texts: pa.Array) -> NDArray[np.uint64]:
        """Return for each text a bit a rule: whether it may find something there.

        Each different text is read once, by one pattern for all that needs no digit and for
        digits; a group's pattern picks out of what that leaves, a rule's out of those.
        """
        encoded = texts.dictionary_encode()
        different = encoded.dictionary
        bits = np.zeros(len(different) + 1, np.uint64)  # the last stands for null
        some = np.flatnonzero(matching(different, self.sieve))
        chosen = different.take(pa.array(some))
        for group in self.groups:
            hits = np.flatnonzero(matching(chosen, group.pattern))
            if not len(hits):
                continue
            few = chosen.take(pa.array(hits))
            for i, rule in enumerate(group.rules, group.first):
                found = matching(few, loosen(rule.pattern)).astype(np.uint64)
                bits[some[hits]] |= found << np.uint64(i)
        spread: NDArray[np.uint64] = bits[
            encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        ]
        return spread

    @property
    def sieve(self) -> str:
        """One RE2 pattern for texts worth a closer look."""
        return "|".join([r"\p{Nd}", *(g.pattern for g in self.groups if not g.digits)])

    def find(self, text: str, bits: int) -> list[Span]:
        """Return what the rules of these bits find."""
        return search(text, _chosen(self, bits)) if bits else []


@lru_cache(maxsize=4096)
def _chosen(rules: RuleSet, bits: int) -> tuple[Rule, ...]:
    numbered = ((i, rule) for g in rules.groups for i, rule in enumerate(g.rules, g.first))
    return tuple(rule for i, rule in numbered if bits >> i & 1)


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
