"""All rules in the order they are tried, in groups that the prefilter tells apart."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tuneloop.curate.privacy import identity, numbers, persons, secrets
from tuneloop.curate.privacy.finding import Rule, Span, search
from tuneloop.curate.privacy.prefilter import alternation, matching

# Secrets first; then what a checksum or a cue makes sure; phones, the loosest numbers, late;
# names last, since "Dr" and "St" stand in addresses too.
_GROUPS: tuple[tuple[Rule, ...], ...] = (
    secrets.RULES,
    numbers.EMAIL,
    numbers.IBAN,
    identity.IDS,
    identity.BIRTH,
    identity.ADDRESSES,
    numbers.REST,
    persons.RULES,
)


@dataclass(frozen=True)
class RuleSet:
    """The rules for some kinds; secrets are always among them.

    Attributes:
        groups: Rules, and the RE2 pattern of the texts worth trying them on.
    """

    groups: tuple[tuple[tuple[Rule, ...], str], ...]

    def prefilter(self, texts: pa.Array) -> NDArray[np.uint16]:
        """Return a bit a group for each text: whether the group may find something."""
        bits = np.zeros(len(texts), np.uint16)
        for i, (_, pattern) in enumerate(self.groups):
            bits |= matching(texts, pattern).astype(np.uint16) << np.uint16(i)
        return bits

    def find(self, text: str, bits: int) -> list[Span]:
        """Return what the groups of these bits find."""
        chosen = (rules for i, (rules, _) in enumerate(self.groups) if bits >> i & 1)
        return search(text, (rule for rules in chosen for rule in rules))


@lru_cache(maxsize=8)
def rules_for(kinds: frozenset[str]) -> RuleSet:
    """Return the rules that look for these kinds."""
    wanted = kinds | {"secret"}
    groups = (tuple(rule for rule in group if rule.kind in wanted) for group in _GROUPS)
    return RuleSet(tuple((rules, alternation(rules)) for rules in groups if rules))
