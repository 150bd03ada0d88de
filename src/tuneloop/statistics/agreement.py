"""How far a judge and people agree, beyond what chance alone would give."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tuneloop.statistics.quantiles import normal_quantile
from tuneloop.statistics.rates import wilson
from tuneloop.statistics.resampling import Codes, Floats


@dataclass(frozen=True)
class Agreement:
    """Agreement over `n` judgments; kappa is None where both sides know one class alone."""

    n: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None


def verdict_classes(share: Floats) -> Codes:
    """Return 0 (champion), 1 (tie) or 2 (candidate) for shares of 0 to 1; ½ alone is a tie."""
    return (1 + np.sign(np.round(share - 0.5, 9))).astype(np.int64)


def agreement(
    judge: Codes,
    human: Codes,
    codes: Codes | None = None,
    *,
    weights: Floats | None = None,
    alpha: float = 0.025,
) -> Agreement:
    """Return accuracy and Cohen's kappa with intervals at 1 - 2 alpha.

    Kappa's error comes from each judgment's influence, summed within clusters: several
    judgments of one prompt are not independent.

    Source: Cohen 1960, Educational and Psychological Measurement 20:37-46; Fleiss, Cohen and
    Everitt 1969, Psychological Bulletin 72:323-327, for the error without clusters.

    Args:
        judge: Classes 0 to k - 1, shape (n,), n at least 1.
        human: The same judgments.
        codes: The cluster of each judgment; None: each is its own.
        weights: Inverse chances of having been drawn, where those were unequal.
        alpha: One-sided level.
    """
    n, k = len(judge), int(max(judge.max(), human.max())) + 1
    w = np.ones(n) if weights is None else weights
    table = np.bincount(judge * k + human, weights=w, minlength=k * k).reshape(k, k) / w.sum()
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    accuracy, chance = float(np.trace(table)), float(rows @ columns)
    worth = float(w.sum() ** 2 / np.sum(w**2))  # n, where all weigh alike
    low, high = wilson(min(accuracy, 1.0) * worth, worth, alpha)
    if chance >= 1 - 1e-12:
        return Agreement(n, accuracy, low, high, None, None, None)
    kappa = (accuracy - chance) / (1 - chance)
    same = (judge == human).astype(np.float64)
    margins = columns[judge] + rows[human]
    influence = (same - accuracy) / (1 - chance) - (1 - accuracy) / (1 - chance) ** 2 * (
        margins - 2 * chance
    )
    half = normal_quantile(1 - alpha) * _error_of_sum(w / w.sum() * influence, codes)
    return Agreement(n, accuracy, low, high, kappa, max(-1.0, kappa - half), min(1.0, kappa + half))


def _error_of_sum(influence: Floats, codes: Codes | None) -> float:
    total = influence if codes is None else np.bincount(codes, weights=influence)
    return math.sqrt(float(np.sum(total**2)))
