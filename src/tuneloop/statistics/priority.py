"""Unequal sampling that may stop anywhere: every beginning of the order has known chances."""

from __future__ import annotations

import math
from collections.abc import Sequence

FLOOR = 0.25
"""Every size is mixed with so much of the mean: no pair has a chance near 0, whatever the judge is
sure of. It is wrong most where it is sure, at times."""


def label_sizes(shares: Sequence[float | None]) -> list[float]:
    """Return how much each pair's label is worth, mean 1: the error expected of the judge there.

    √(s (1 - s)) is how far a label of 0 or 1 is from the judge's share s, mixed with the mean.
    A pair without a judge's share is worth as much as an undecided one.

    Source: Neyman 1934, Journal of the Royal Statistical Society 97:558-625: draw in proportion
    to the standard deviation of what is estimated.
    """
    spread = [0.5 if s is None else math.sqrt(max(s * (1 - s), 0.0)) for s in shares]
    mean = sum(spread) / len(spread) if spread else 0.0
    if mean <= 0:
        return [1.0] * len(spread)
    return [(1 - FLOOR) * s / mean + FLOOR for s in spread]


def priority(size: float, uniform: float) -> float:
    """Return the priority of a unit, from a uniform number in (0, 1]: the highest come first."""
    return size / uniform


def inclusion(sizes: Sequence[float], priorities: Sequence[float], n: int) -> list[float]:
    """Return the chances of the first n units of a list sorted by priority.

    Given the priority t of the first one left out, each was in with the chance min(1, size / t).
    Sums weighted by the inverse are unbiased for every n, and the terms are uncorrelated.

    Source: Duffield, Lund and Thorup 2007, "Priority sampling for estimation of arbitrary subset
    sums", Journal of the ACM 54(6):32.
    """
    if n >= len(sizes):
        return [1.0] * len(sizes)
    threshold = priorities[n]
    return [min(1.0, size / threshold) for size in sizes[:n]]
