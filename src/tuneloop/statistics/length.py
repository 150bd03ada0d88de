"""A win rate with the length of the answers taken out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tuneloop.statistics.quantiles import normal_quantile
from tuneloop.statistics.resampling import Codes, Floats, Resampling, draw_counts

_CELLS = 129
"""Grid of tanh values from -1 to 1 for the resamples; a prompt is shared between two cells, which
costs less than 1e-5 of the chance."""
_PULL = 1e-3
"""Ridge on both coefficients, in prompts: keeps them finite where one side always wins."""
_STEPS = 40
_REACH = 12.0
"""No coefficient beyond this: a chance of 0.999994."""


@dataclass(frozen=True)
class LengthControlled:
    """The chance that the candidate is preferred where both answers are equally long.

    `slope` is the effect of the standardised length difference on the log odds; the interval
    is at 1 - 2 alpha.
    """

    n: int
    win_rate: float
    standard_error: float
    ci_low: float
    ci_high: float
    slope: float


def length_feature(candidate_chars: Floats, champion_chars: Floats) -> Floats | None:
    """Return tanh of the length difference in its standard deviations; None if it has none.

    The difference is not centred: 0 stays 0, where both are equally long.
    """
    difference = candidate_chars - champion_chars
    spread = float(np.std(difference, ddof=1)) if len(difference) > 1 else 0.0
    return np.tanh(difference / spread) if spread > 0 else None


def length_controlled(
    preference: Floats,
    feature: Floats,
    how: Resampling,
    *,
    codes: Codes | None = None,
) -> LengthControlled:
    """Return the win rate that a logistic model reads at length difference zero.

    log odds = intercept + slope · feature, by maximum likelihood with fractional outcomes. The
    whole model is fitted again in every resample of clusters, so that the error holds what
    fitting it costs. Swapping the systems mirrors the result exactly.

    Source: Dubois et al. 2024, "Length-controlled AlpacaEval", for the model, here without its
    term for each prompt's difficulty, which needs the judgments of many models; Papke and
    Wooldridge 1996, Journal of Applied Econometrics 11:619-632, for fractional outcomes.

    Args:
        preference: Share for the candidate, 0 to 1, shape (n,).
        feature: As `length_feature` returns it, shape (n,).
        how: One-sided level, resamples, seed.
        codes: The cluster of each prompt; None: each is its own.
    """
    if _leans_back(preference, feature):
        found = length_controlled(1 - preference, -feature, how, codes=codes)
        return LengthControlled(
            found.n, 1 - found.win_rate, found.standard_error,
            1 - found.ci_high, 1 - found.ci_low, found.slope,
        )  # fmt: skip
    order = np.lexsort((np.round(preference, 12), np.round(feature, 12)))
    order = order if codes is None else _cluster_order(preference, feature, codes)
    y, x = preference[order], feature[order]
    sums = np.array([[y.sum(), y @ x]])
    fitted = _fit(np.ones((1, len(x))), x, sums, start=np.zeros(2))[0]
    n_clusters = len(y) if codes is None else len(np.unique(codes))
    moments = _moments(y, x, None if codes is None else codes[order])
    drawn = _resampled_intercepts(moments, how, start=fitted)
    error = float(np.std(_chance(drawn), ddof=1)) if n_clusters > 1 else 0.0
    half = normal_quantile(1 - how.alpha) * float(np.std(drawn, ddof=1))
    bounds = (
        _chance(np.array([fitted[0] - half, fitted[0] + half])) if n_clusters > 1 else (0.0, 1.0)
    )
    return LengthControlled(
        n=len(y),
        win_rate=float(_chance(fitted[:1])[0]),
        standard_error=error,
        ci_low=float(bounds[0]),
        ci_high=float(bounds[1]),
        slope=float(fitted[1]),
    )


def length_matched(candidate_chars: Floats, champion_chars: Floats, *, ratio: float) -> np.ndarray:
    """Return which prompts have answers of about one length: the longer at most ratio times."""
    longer = np.maximum(candidate_chars, champion_chars)
    return np.asarray(longer <= ratio * np.minimum(candidate_chars, champion_chars))


def _leans_back(preference: Floats, feature: Floats) -> bool:
    for moment in (np.sum(preference - 0.5), np.sum((preference - 0.5) ** 3), -np.sum(feature)):
        if abs(float(moment)) > 1e-9:
            return float(moment) < 0
    return False


def _cluster_order(preference: Floats, feature: Floats, codes: Codes) -> Codes:
    """Return prompts by cluster, clusters by what is in them: names and order do not matter."""
    sums = [np.bincount(codes, weights=np.round(v, 12))
            for v in (preference, feature, preference * feature, np.ones(len(codes)))]  # fmt: skip
    rank = np.empty(len(sums[0]), dtype=np.int64)
    rank[np.lexsort([np.round(s, 9) for s in sums])] = np.arange(len(rank))
    return np.asarray(
        np.lexsort((np.round(preference, 12), np.round(feature, 12), rank[codes])), dtype=np.int64
    )


def _moments(y: Floats, x: Floats, codes: Codes | None) -> Any:
    """Return, by cluster, the weight in each cell of the grid and the two sums of outcomes.

    Returns:
        A sparse matrix of shape (_CELLS + 2, G).
    """
    from scipy.sparse import csr_matrix

    place = (x + 1) / 2 * (_CELLS - 1)
    cell = np.minimum(place.astype(np.int64), _CELLS - 2)
    upper = place - cell
    clusters = np.arange(len(x))
    if codes is not None:  # numbered as they come, since the prompts are sorted by cluster
        clusters = np.cumsum(np.append(0, codes[1:] != codes[:-1]))
    last = np.full(len(x), _CELLS)
    cells = np.concatenate([cell, cell + 1, last, last + 1])
    values = np.concatenate([1 - upper, upper, y, y * x])
    shape = (_CELLS + 2, int(clusters[-1]) + 1)
    return csr_matrix((values, (cells, np.tile(clusters, 4))), shape=shape)


def _resampled_intercepts(moments: Any, how: Resampling, *, start: Floats) -> Floats:
    grid = np.linspace(-1, 1, _CELLS)
    found = []
    for counts in draw_counts(moments.shape[1], how):
        sums = (moments @ counts.T).T
        found.append(_fit(sums[:, :_CELLS], grid, sums[:, _CELLS:], start=start)[:, 0])
    return np.concatenate(found)


def _fit(weights: Floats, x: Floats, sums: Floats, *, start: Floats) -> Floats:
    """Return (intercept, slope) of each row's logistic model, by Newton's method.

    Args:
        weights: How much of each x a row holds, shape (B, K).
        x: Feature values, shape (K,).
        sums: Sum of outcomes and of outcomes times x, shape (B, 2).
        start: Where to begin, shape (2,).
    """
    beta = np.tile(start, (len(weights), 1))
    powers = np.column_stack([np.ones_like(x), x, x * x])
    for _ in range(_STEPS):
        chance = _chance(beta[:, :1] + beta[:, 1:] * x)
        level = (weights * chance) @ powers[:, :2]
        curve = (weights * chance * (1 - chance)) @ powers
        gradient = sums - level - _PULL * beta
        a, b, c = curve[:, 0] + _PULL, curve[:, 1], curve[:, 2] + _PULL
        determinant = a * c - b * b
        step = (
            np.column_stack(
                [c * gradient[:, 0] - b * gradient[:, 1], a * gradient[:, 1] - b * gradient[:, 0]]
            )
            / np.maximum(determinant, 1e-12)[:, None]
        )
        beta = np.clip(beta + np.clip(step, -2, 2), -_REACH, _REACH)
        if float(np.max(np.abs(step))) < 1e-9:
            break
    return beta


def _chance(log_odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-log_odds)))
