"""Several questions at once, and one golden set asked again and again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Holm's step-down procedure: "which of these improved".

    Source: Holm 1979, Scandinavian Journal of Statistics 6:65-70.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    return _put_back(stepped, order)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for the false discovery rate: for exploring, not for deciding.

    Source: Benjamini and Hochberg 1995, Journal of the Royal Statistical Society B 57:289-300.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    return _put_back(np.minimum.accumulate(scaled[::-1])[::-1], order)


def remaining_alpha(budget: float, spent: Sequence[float]) -> float:
    """Return what a golden set's error budget still holds after these decisions.

    Each decision on one version of a golden set costs the one-sided alpha it was made at. By
    the union bound the chance of any false promotion on that version stays below the budget,
    whatever the decisions have in common, as long as no candidate was fitted to earlier
    verdicts on it; a candidate that was is one more reason to rotate the set.
    """
    return max(0.0, budget - float(np.sum(np.asarray(spent, dtype=np.float64))))


def next_alpha(alpha: float, budget: float, spent: Sequence[float]) -> float | None:
    """Return the level of the next decision on this golden set, or None: rotate it.

    The configured level as long as the budget covers it; never a smaller remainder, since a
    gate that nothing can pass is no gate.
    """
    return alpha if remaining_alpha(budget, spent) >= alpha - 1e-12 else None


def _put_back(adjusted: np.ndarray, order: np.ndarray) -> list[float]:
    found = np.empty(len(adjusted))
    found[order] = np.minimum(adjusted, 1.0)
    return [float(p) for p in found]
