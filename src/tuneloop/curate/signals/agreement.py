"""How far people who judged the same items agree, beyond chance."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from tuneloop.curate.columns import Flags, Floats, Ints


@dataclass(frozen=True)
class Votes:
    """v judgements, at most one a person and item.

    Attributes:
        item: Number of what was judged, 0 … n_items − 1.
        person: Number of who judged, 0 … n_people − 1.
        label: Class, 0 … n_classes − 1.
        trust: How far each is believed, 0 … 1.
        n_classes: How many classes there are.
    """

    item: Ints
    person: Ints
    label: Ints
    trust: Floats
    n_classes: int

    def __len__(self) -> int:
        return len(self.item)

    @property
    def n_items(self) -> int:
        """One more than the highest item."""
        return int(self.item.max(initial=-1)) + 1

    @property
    def n_people(self) -> int:
        """One more than the highest person."""
        return int(self.person.max(initial=-1)) + 1

    def where(self, chosen: Flags) -> Votes:
        """Return some of them; numbers of items and people stay as they are."""
        item, person, label = self.item[chosen], self.person[chosen], self.label[chosen]
        return Votes(item, person, label, self.trust[chosen], self.n_classes)

    def counts(self) -> Ints:
        """Return how often each item got each class, shape (n_items, n_classes)."""
        size = self.n_items * self.n_classes
        flat = np.bincount(self.item * self.n_classes + self.label, minlength=size)
        return flat.reshape(self.n_items, self.n_classes)


def shared(votes: Votes) -> Flags:
    """Return which votes are about items that several people judged."""
    return np.bincount(votes.item, minlength=votes.n_items)[votes.item] > 1


def cohen_kappa(first: Ints, second: Ints, n_classes: int) -> dict[str, Any]:
    """Return Cohen's kappa of two people on the same items with its 95 % interval.

    `kappa` is None where chance alone would agree always: both used one class only.

    Source: Fleiss, Cohen and Everitt 1969, Psychological Bulletin 72:323-327, for the interval.
    """
    from statsmodels.stats.inter_rater import cohens_kappa

    n = len(first)
    table = np.bincount(first * n_classes + second, minlength=n_classes**2)
    table = table.reshape(n_classes, n_classes)
    by_chance = float(table.sum(axis=0) @ table.sum(axis=1)) / max(n, 1) ** 2
    if n == 0 or by_chance == 1.0:
        return {"n": n, "kappa": None, "low": None, "high": None}
    with np.errstate(invalid="ignore", divide="ignore"):
        found = cohens_kappa(table)
    # Its variance of nothing (all agree) may come out a little below 0.
    ends = np.nan_to_num([found.kappa_low, found.kappa_upp], nan=float(found.kappa))
    kappa, low, high = (round(float(v), 6) for v in (found.kappa, *np.clip(ends, -1.0, 1.0)))
    return {"n": n, "kappa": kappa, "low": low, "high": high}


def pairwise_kappas(votes: Votes, people: Ints) -> list[dict[str, Any]]:
    """Return the kappa of every two of some people who share items; `a` and `b` name them."""
    rows = []
    by_person = {int(p): votes.where(votes.person == p) for p in people}
    for a, b in combinations(by_person, 2):
        one, two = by_person[a], by_person[b]
        _, at, there = np.intersect1d(one.item, two.item, return_indices=True)
        if len(at):
            kappa = cohen_kappa(one.label[at], two.label[there], votes.n_classes)
            rows.append({"a": a, "b": b, **kappa})
    return rows


def krippendorff_alpha(votes: Votes) -> float | None:
    """Return alpha for unordered classes; None where nothing was judged twice or all agree on one.

    Source: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability.
    """
    counts = votes.counts().astype(float)
    per_item = counts.sum(axis=1)
    counts, per_item = counts[per_item > 1], per_item[per_item > 1]
    total, by_class = per_item.sum(), counts.sum(axis=0)
    by_chance = total**2 - (by_class**2).sum()
    if by_chance == 0:
        return None
    disagree = ((per_item**2 - (counts**2).sum(axis=1)) / (per_item - 1)).sum()
    return float(1.0 - (total - 1.0) * disagree / by_chance)
