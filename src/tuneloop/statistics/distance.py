"""How far two systems' outputs lie apart as distributions, and whether chance alone does that.

Both distances compare paired outputs: each prompt has one of either system. What the same system
against itself would show is drawn by swapping the two outputs of whole clusters, which changes
nothing where the systems are alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tuneloop.statistics.resampling import EVERY_SIGN, Codes, Floats, Resampling, sign_draws

_SAME = 1e-12


@dataclass(frozen=True)
class Distance:
    """A distance over `n` clusters.

    `null_high` is what alike systems stay below with probability 1 - alpha; `p_value` how often
    they lie as far apart as these. `low` and `high` bound the true distance at level 1 - 2 alpha,
    None where no bound is known that says anything.
    """

    n: int
    estimate: float
    p_value: float
    null_high: float
    low: float | None = None
    high: float | None = None


def kolmogorov_smirnov(
    champion: Floats, candidate: Floats, codes: Codes, how: Resampling
) -> Distance:
    """Return the largest gap between the two distribution functions.

    Source: Massart 1990, Annals of Probability 18:1269-1283, for the bounds: each function lies
    within sqrt(log(2 / alpha) / 2n) of its own, here of both together. n counts clusters, which
    is exact where clusters are of one size.

    Args:
        champion: One value a prompt, shape (n,).
        candidate: The same prompts, shape (n,).
        codes: The cluster of each prompt, 0 to G - 1.
        how: Level, swaps, seed.
    """
    places = np.unique(np.concatenate([champion, candidate]))
    gaps = (candidate[:, None] <= places).astype(np.float64)
    gaps -= champion[:, None] <= places
    totals = _by_cluster(gaps, codes) / len(champion)
    estimate = float(np.max(np.abs(totals.sum(axis=0))))
    drawn = [np.max(np.abs(signs @ totals), axis=1) for signs in sign_draws(len(totals), how)]
    # Two functions, each two-sided at alpha: together at 1 - 2 alpha.
    reach = 2 * math.sqrt(math.log(2 / how.alpha) / (2 * len(totals)))
    return _against(
        estimate, np.concatenate(drawn), len(totals), how,
        ends=(max(0.0, estimate - reach), min(1.0, estimate + reach)),
    )  # fmt: skip


def mean_discrepancy(
    champion: Floats, candidate: Floats, codes: Codes, how: Resampling
) -> Distance:
    """Return the squared maximum mean discrepancy of two sets of vectors.

    Without bias: pairs of prompts of one cluster are left out. The kernel is Gaussian with the
    median distance of all vectors as its width. Below 0 where chance has it.

    Source: Gretton et al. 2012, Journal of Machine Learning Research 13:723-773.

    Args:
        champion: One vector a prompt, shape (n, d).
        candidate: The same prompts, shape (n, d).
        codes: The cluster of each prompt, 0 to G - 1.
        how: Level, swaps, seed.
    """
    n = len(champion)
    both = np.concatenate([champion, candidate]).astype(np.float64)
    lengths = np.sum(both**2, axis=1)
    apart = np.maximum(lengths[:, None] + lengths - 2 * both @ both.T, 0.0)
    width = float(np.median(apart[np.triu_indices(2 * n, 1)])) or 1.0
    kernel = np.exp(-apart / (2 * width))
    own = kernel[:n, :n] + kernel[n:, n:] - kernel[:n, n:] - kernel[n:, :n]
    crossed = _by_cluster(_by_cluster(own, codes).T, codes)
    np.fill_diagonal(crossed, 0.0)
    sizes = np.bincount(codes).astype(np.float64)
    n_pairs = float(n**2 - np.sum(sizes**2))
    if n_pairs <= 0:
        return Distance(len(sizes), 0.0, 1.0, 0.0)
    drawn = [
        np.einsum("bi,bi->b", signs @ crossed, signs) / n_pairs
        for signs in sign_draws(len(sizes), how)
    ]
    return _against(float(crossed.sum()) / n_pairs, np.concatenate(drawn), len(sizes), how)


def _by_cluster(rows: Floats, codes: Codes) -> Floats:
    """Return the rows of each cluster added up, shape (G, m)."""
    found = np.zeros((int(codes.max()) + 1, rows.shape[1]))
    np.add.at(found, codes, rows)
    return found


def _against(
    estimate: float,
    drawn: Floats,
    n: int,
    how: Resampling,
    ends: tuple[float | None, float | None] = (None, None),
) -> Distance:
    own = 0 if n <= EVERY_SIGN else 1  # all swaps include the sample itself
    as_far = int(np.sum(drawn >= estimate - _SAME)) + own
    return Distance(
        n=n,
        estimate=estimate,
        p_value=as_far / (len(drawn) + own),
        null_high=float(np.quantile(drawn, 1 - how.alpha)),
        low=ends[0],
        high=ends[1],
    )
