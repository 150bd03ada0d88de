"""The paired comparison of two systems: estimate, bounds, test, and how much a sample shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tuneloop.statistics.means import Clusters, Interval, mean_intervals, sign_flips
from tuneloop.statistics.rates import mcnemar_exact, tango_interval
from tuneloop.statistics.resampling import Codes, Floats, Resampling

_TIE = 1e-9


@dataclass(frozen=True)
class Comparison:
    """Candidate minus champion over `n` clusters; each bound is one-sided at alpha.

    `p_value` speaks for the candidate, `p_below` for the champion. `wide` is the interval at
    the second level that was asked for, else the same.
    """

    n: int
    estimate: float
    standard_error: float
    ci_low: float
    ci_high: float
    wide: Interval
    p_value: float
    p_below: float
    method: str
    wins: int
    losses: int
    ties: int
    mean_square: float
    """Spread that one cluster brings: the squared error times n, plus the squared estimate."""
    champion_rate: float = 0.0
    candidate_rate: float = 0.0


def compare(
    champion: Floats, candidate: Floats, how: Resampling, *, scale: float = 1
) -> Comparison:
    """Return the paired comparison of two systems' values on the same units.

    Args:
        champion: One value per unit, shape (n,), n at least 1.
        candidate: The same units, shape (n,).
        how: Level, resamples, seed.
        scale: Factor on the difference; 0.5 makes it win-rate points where the values are
            two shares that add up to 1.
    """
    from dataclasses import replace

    both = np.concatenate([champion, candidate])
    binary = scale == 1 and bool(np.all((both == 0) | (both == 1)))
    reach = scale * max(1.0, float(np.max(np.abs(both))))
    found = compare_differences(
        scale * (candidate - champion), how, reach=reach, step=1.0 if binary else None
    )
    rates = float(np.mean(champion)), float(np.mean(candidate))
    return replace(found, champion_rate=rates[0], candidate_rate=rates[1])


def compare_differences(
    difference: Floats,
    how: Resampling,
    *,
    reach: float,
    step: float | None = None,
    codes: Codes | None = None,
    wide_alpha: float | None = None,
) -> Comparison:
    """Return what paired differences say of their mean.

    Differences that are all -step, 0 or step and come in no clusters get the exact McNemar
    test and Tango's score interval; all others bootstrap-t (wild under 30 clusters) and a
    sign-flip permutation test.

    Args:
        difference: One value a prompt, shape (n,), n at least 1.
        how: Level, resamples, seed.
        reach: No difference can be larger than this.
        step: The size of a win where values are wins, ties and losses alone.
        codes: The cluster of each prompt, 0 to G - 1; None: each is its own.
        wide_alpha: Level of the second interval; None: that of `how`.
    """
    of = Clusters.of(difference, codes)
    alone = of.n == len(difference)
    return compare_clusters(
        of, how, reach=reach, step=step if alone else None,
        mean_square=float(np.mean(difference**2)) if alone else None, wide_alpha=wide_alpha,
    )  # fmt: skip


def compare_clusters(
    of: Clusters,
    how: Resampling,
    *,
    reach: float,
    step: float | None = None,
    mean_square: float | None = None,
    wide_alpha: float | None = None,
) -> Comparison:
    """Return what clusters of paired differences, weighted or not, say of their mean.

    Args:
        of: The clusters.
        how: Level, resamples, seed.
        reach: No difference can be larger than this.
        step: The size of a win, where each cluster is one unweighted win, tie or loss.
        mean_square: Of the differences, where each cluster is one of them.
        wide_alpha: Level of the second interval; None: that of `how`.
    """
    levels = (how.alpha, how.alpha if wide_alpha is None else wide_alpha)
    wins = int(np.sum(of.total > _TIE))
    losses = int(np.sum(of.total < -_TIE))
    if step is not None:
        wide, narrow = (
            Interval(step * low, step * high, "Tango score interval")
            for low, high in (tango_interval(wins, losses, of.n, level) for level in levels[::-1])
        )
        p_values = mcnemar_exact(wins, losses), mcnemar_exact(losses, wins)
        method = f"exact McNemar, {narrow.method}"
    else:
        narrow, wide = mean_intervals(of, how, levels, reach=reach)
        p_values = sign_flips(of, how)
        method = f"{narrow.method}, sign-flip permutation test"
    return Comparison(
        n=of.n,
        estimate=of.mean,
        standard_error=of.standard_error,
        ci_low=narrow.low,
        ci_high=narrow.high,
        wide=wide,
        p_value=p_values[0],
        p_below=p_values[1],
        method=method,
        wins=wins,
        losses=losses,
        ties=of.n - wins - losses,
        mean_square=of.n * of.standard_error**2 + of.mean**2
        if mean_square is None
        else mean_square,
    )
