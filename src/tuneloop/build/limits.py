"""What is decided over the whole set: caps, and no preference for sheer length."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tuneloop.build.rows import Flags, Floats, Ints
from tuneloop.build.write import Written

Z = 1.959964  # two-sided 95 %
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def draws(ids: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Return a random number for each row, the same for the same row and seed.

    Source: SplitMix64's finaliser (Steele, Lea & Flood 2014), over id and seed.
    """
    with np.errstate(over="ignore"):
        mixed = ids + _MIX[0] * np.uint64(seed + 1)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX[1]
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX[2]
    return mixed ^ (mixed >> np.uint64(31))


def cap_clusters(written: Written, most: int | None, *, seed: int) -> Flags:
    """Return which rows stay where a cluster may have `most` in training, heaviest first."""
    kept = np.ones(len(written["weight"]), dtype=np.bool_)
    trains = np.flatnonzero(~written["validates"].astype(np.bool_))
    if most is None or not len(trains):
        return kept
    cluster = written["cluster"][trains]
    order = trains[
        np.lexsort((draws(written["id"][trains], seed), -written["weight"][trains], cluster))
    ]
    begins = np.r_[True, np.diff(written["cluster"][order].astype(np.int64)) != 0]
    starts = np.flatnonzero(begins)
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    kept[order[rank >= most]] = False
    return kept


def cap_rows(written: Written, kept: Flags, most: int | None, *, seed: int) -> Flags:
    """Return which rows stay where training may have `most`: a seeded sample."""
    trains = np.flatnonzero(kept & ~written["validates"].astype(np.bool_))
    if most is None or len(trains) <= most:
        return kept
    kept = kept.copy()
    drawn = np.argsort(draws(written["id"][trains], seed), kind="stable")
    kept[trains[drawn[most:]]] = False
    return kept


def balance(
    written: Written, kept: Flags, how: Literal["off", "drop", "weight"], *, seed: int
) -> tuple[Flags, Floats]:
    """Return which training pairs stay, and the weights of all, so that length says nothing.

    Pairs whose two answers differ by a like number of words (within a factor of two) are a bin.
    In each, the pairs of the direction that is in the majority are cut to the other's number
    and one more (so that none is emptied by a lack of the other), or weighted down to it.
    """
    weight: Floats = written["weight"].astype(np.float64)
    if how == "off" or not len(weight):
        return kept, weight
    kept = kept.copy()
    gap = written["n_words"].astype(np.int64) - written["n_words_bad"]
    bins = np.sign(gap) * (1 + np.floor(np.log2(np.maximum(np.abs(gap), 1)))).astype(np.int64)
    free = kept & ~written["validates"].astype(np.bool_)
    drawn = draws(written["id"], seed)
    for width in np.unique(np.abs(bins[free & (gap != 0)])).tolist():
        sides = [np.flatnonzero(free & (bins == sign * width)) for sign in (1, -1)]
        many, few = sorted(sides, key=len, reverse=True)
        if len(many) <= len(few) + 1:
            continue
        if how == "weight":
            weight[many] *= (len(few) + 1) / (len(many) + 1)
        else:
            order = np.lexsort((drawn[many], -weight[many]))
            kept[many[order[len(few) + 1 :]]] = False
    return kept, weight


def length_bias(n_words: Ints, n_words_bad: Ints, weight: Floats) -> dict[str, Any] | None:
    """Return by how many words chosen answers are longer, and how often, with 95 % intervals.

    The share is among pairs whose lengths differ. Source: Wilson 1927 for its interval.
    """
    gap = n_words.astype(np.float64) - n_words_bad
    n = len(gap)
    if not n:
        return None
    mean, error = float(gap.mean()), float(gap.std(ddof=1) / math.sqrt(n)) if n > 1 else math.inf
    longer, differ = int((gap > 0).sum()), int((gap != 0).sum())
    mass = float(weight[gap != 0].sum())
    return {
        "n_pairs": n,
        "mean_words": round(mean, 3),
        "mean_words_interval": [round(mean + side * Z * error, 3) for side in (-1, 1)]
        if n > 1
        else None,
        "n_differ": differ,
        "share_longer": round(longer / differ, 6) if differ else None,
        "share_longer_interval": wilson(longer, differ),
        "share_longer_by_weight": round(float(weight[gap > 0].sum()) / mass, 6) if mass else None,
    }


def wilson(k: int, n: int) -> list[float] | None:
    """Return the Wilson 95 % interval of a share of `k` in `n`."""
    if not n:
        return None
    share, z2 = k / n, Z * Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return [round(max(0.0, middle - half), 6), round(min(1.0, middle + half), 6)]
