"""The mean of a value over prompts that come in clusters: error, bounds, and a sign test.

Everything rests on one row a cluster: `total` (the weighted sum of its values) and `weight`.
Without clusters and weights that is the value and 1, and the error is the sample standard
deviation over the root of n; with clusters it is the cluster-robust one of a regression on an
intercept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tuneloop.statistics.quantiles import normal_below, student_quantile
from tuneloop.statistics.rates import falling_root
from tuneloop.statistics.resampling import (
    EVERY_SIGN,
    Codes,
    Floats,
    Resampling,
    resampled_moments,
    sign_draws,
)

FEW_DIFFERENT = 10
"""With fewer clusters that differ, a bootstrap mostly redraws ties and says nothing."""
FEW_CLUSTERS = 30
"""Below this the wild cluster bootstrap, which is exact for symmetric clusters."""
MANY_CLUSTERS = 5_000
"""Above this a t interval and a normal test: what skew moves then is about 1 % of the error."""
_SAME = 1e-12


@dataclass(frozen=True)
class Clusters:
    """One row a cluster: weighted totals and weights, shapes (G,)."""

    total: Floats
    weight: Floats

    @classmethod
    def of(
        cls, values: Floats, codes: Codes | None = None, weights: Floats | None = None
    ) -> Clusters:
        """Return the totals of values by their cluster's code (0 to G - 1)."""
        weights = np.ones(len(values)) if weights is None else weights
        if codes is None:
            return cls(values * weights, weights)
        total: Floats = np.bincount(codes, weights=values * weights).astype(np.float64)
        return cls(total, np.bincount(codes, weights=weights).astype(np.float64))

    @property
    def n(self) -> int:
        """Number of clusters."""
        return len(self.total)

    @property
    def mean(self) -> float:
        """The weighted mean over all values."""
        return float(np.sum(self.total) / np.sum(self.weight))

    @property
    def standard_error(self) -> float:
        """Cluster-robust standard error of the mean; 0 for a single cluster.

        Source: Liang and Zeger 1986, Biometrika 73:13-22, with the factor G / (G - 1).
        """
        if self.n < 2:
            return 0.0
        residual = self.total - self.mean * self.weight
        spread = math.sqrt(self.n / (self.n - 1) * float(np.sum(residual**2)))
        return spread / float(np.sum(self.weight))

    def mirrored(self) -> Clusters:
        """Return the same with every value negated."""
        return Clusters(-self.total, self.weight)

    def shifted(self, by: float) -> Clusters:
        """Return the same with `by` subtracted from every value."""
        return Clusters(self.total - by * self.weight, self.weight)


@dataclass(frozen=True)
class Interval:
    """Lower and upper bound, each one-sided at the level it was asked for, and its method."""

    low: float
    high: float
    method: str


def mean_intervals(
    of: Clusters, how: Resampling, levels: tuple[float, ...], *, reach: float
) -> list[Interval]:
    """Return an interval for each one-sided level, all from the same resamples.

    Bootstrap-t, because it follows skewed differences where a t interval does not; under
    `FEW_CLUSTERS` clusters the wild bootstrap, above `MANY_CLUSTERS` a t interval. Where fewer
    than `FEW_DIFFERENT` clusters differ from 0 or all differ alike, two made-up values at the
    ends of the range keep the interval from collapsing. Negating all values negates the
    interval exactly.

    Source: Hall 1988, Annals of Statistics 16:927-953, for bootstrap-t; Cameron, Gelbach and
    Miller 2008, Review of Economics and Statistics 90:414-427, for the wild bootstrap; Bonett
    and Price 2012, Journal of Educational and Behavioral Statistics 37:479-488, for the
    made-up values.

    Args:
        of: The clusters.
        how: Resamples and seed; its own level is not used.
        levels: One-sided levels.
        reach: The mean cannot lie outside (-reach, reach).
    """
    if _leans_back(of):
        found = mean_intervals(of.mirrored(), how, levels, reach=reach)
        return [Interval(-i.high, -i.low, i.method) for i in found]
    differ = int(np.sum(np.abs(of.total) > _SAME))
    if of.n > 1 and (differ < FEW_DIFFERENT or of.standard_error < _SAME):
        found = [_padded_t_interval(of, level, reach) for level in levels]
    elif of.n < FEW_CLUSTERS:
        found = _wild_intervals(of, how, levels, reach)
    elif of.n > MANY_CLUSTERS:
        found = [_t_interval(of, level) for level in levels]
    else:
        found = _bootstrap_t_intervals(of, how, levels)
    return [Interval(max(float(i.low), -reach), min(float(i.high), reach), i.method) for i in found]


def sign_flips(of: Clusters, how: Resampling) -> tuple[float, float]:
    """Return the one-sided p-values that the mean is above, and that it is below 0.

    By flipping the clusters' signs: exact where clusters are symmetric about 0, and a higher
    value never weakens what speaks for a mean above 0. Negating all values swaps the two.

    Source: Phipson and Smyth 2010, Statistical Applications in Genetics and Molecular
    Biology 9:39, for counting the sample itself, which keeps the test valid.
    """
    size, total = np.sort(np.abs(np.round(of.total, 12))), float(np.sum(of.total))
    if of.n > MANY_CLUSTERS:  # the flips' own normal limit
        z = total / max(math.sqrt(float(np.sum(size**2))), 1e-300)
        return normal_below(-z), normal_below(z)
    above = below = n_drawn = 0
    for signs in sign_draws(of.n, how):
        flipped = signs @ size
        above += int(np.sum(flipped >= total - 1e-9))
        below += int(np.sum(flipped >= -total - 1e-9))
        n_drawn += len(signs)
    own = 0 if of.n <= EVERY_SIGN else 1
    return (above + own) / (n_drawn + own), (below + own) / (n_drawn + own)


def _leans_back(of: Clusters) -> bool:
    """Return whether the mirrored problem is the one to draw: then swapping changes nothing."""
    for power in (1, 3, 5):
        moment = float(np.sum(np.round(of.total, 12) ** power))
        if abs(moment) > 1e-9:
            return moment < 0
    return False


def _bootstrap_t_intervals(
    of: Clusters, how: Resampling, levels: tuple[float, ...]
) -> list[Interval]:
    a, b = of.total, of.weight
    drawn = resampled_moments(np.column_stack([a, b, a * a, a * b, b * b]), how)
    mean, error = of.mean, of.standard_error
    weight = drawn[:, 1]
    off = drawn[:, 0] / weight - mean
    theta = off + mean
    square = drawn[:, 2] - 2 * theta * drawn[:, 3] + theta**2 * drawn[:, 4]
    errors = np.sqrt(np.maximum(square, 0) * of.n / (of.n - 1)) / weight
    # A resample without spread is as far off as one can be, not a division by zero.
    t = np.where(errors > 1e-9, off / np.maximum(errors, 1e-9), np.sign(off) * 1e6)
    found = []
    for level in levels:
        low, high = np.quantile(t, [level, 1 - level])
        found.append(Interval(mean - high * error, mean - low * error, "bootstrap-t"))
    return found


def _wild_intervals(
    of: Clusters, how: Resampling, levels: tuple[float, ...], reach: float
) -> list[Interval]:
    order = np.lexsort((of.weight, of.total))
    a, b = of.total[order], of.weight[order]
    columns = np.column_stack([a, b, a * b, b * b])
    flips = np.concatenate([signs @ columns for signs in sign_draws(of.n, how)])
    back = flips * np.array([-1.0, 1.0, -1.0, 1.0])
    found = []
    for level in levels:
        low = _wild_low(a, b, flips, level, reach)
        high = -_wild_low(-a, b, back, level, reach)
        found.append(Interval(low, high, "wild cluster bootstrap-t"))
    return found


def _wild_low(a: Floats, b: Floats, flips: Floats, level: float, reach: float) -> float:
    """Return the lowest mean that is not rejected by flipping the residuals it leaves."""
    every = len(flips) == 2 ** len(a)

    def studentised(total: Floats, crossed: Floats, squares: float) -> Floats:
        mean = total / b.sum()
        square = squares - 2 * mean * crossed + mean**2 * np.sum(b * b)
        return np.asarray(total / np.sqrt(np.maximum(square, 1e-18)))

    def tail(theta: float) -> float:
        residual = a - theta * b
        squares = float(np.sum(residual**2))
        t = studentised(
            flips[:, 0] - theta * flips[:, 1], flips[:, 2] - theta * flips[:, 3], squares
        )
        own = studentised(np.array([residual.sum()]), np.array([np.sum(residual * b)]), squares)
        as_high = float(np.sum(t >= own[0] - 1e-9))
        return as_high / len(t) if every else (as_high + 1) / (len(t) + 1)

    return falling_root(lambda theta: level - tail(theta), -reach, float(a.sum() / b.sum()))


def _t_interval(of: Clusters, alpha: float) -> Interval:
    half = student_quantile(1 - alpha, of.n - 1) * of.standard_error
    return Interval(of.mean - half, of.mean + half, "t interval")


def _padded_t_interval(of: Clusters, alpha: float, reach: float) -> Interval:
    size = float(np.mean(of.weight))
    padded = Clusters(
        np.append(of.total, [-reach * size, reach * size]), np.append(of.weight, [size, size])
    )
    found = _t_interval(padded, alpha)
    return Interval(found.low, found.high, "t interval with two made-up values")
