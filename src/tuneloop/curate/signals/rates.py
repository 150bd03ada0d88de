"""Shares with intervals: weighted, clustered by person, and the difference of two of them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tuneloop.curate.columns import Codes, Floats

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Rate:
    """A share among n rows with its 95 % interval.

    Attributes:
        n: Rows.
        n_clusters: People (or sessions) behind them.
        estimate: The share, 0 … 1; None where n is 0.
        low: Lower end.
        high: Upper end.
        n_effective: How many independent, equally weighted rows tell as much.
        ess: Kish's effective sample size of the weights alone; n without weights.
    """

    n: int
    n_clusters: int
    estimate: float | None
    low: float
    high: float
    n_effective: float
    ess: float

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON, rounded."""
        return {k: round(v, 6) if isinstance(v, float) else v for k, v in asdict(self).items()}


@dataclass(frozen=True)
class Difference:
    """The second rate minus the first, its 95 % interval and two-sided p-value."""

    estimate: float
    low: float
    high: float
    p_value: float


def wilson(share: float, n: float) -> tuple[float, float]:
    """Return Wilson's 95 % score interval of a share among n, which need not be whole.

    Source: Wilson 1927, J. American Statistical Association 22:209-212.
    """
    if n <= 0:
        return 0.0, 1.0
    z2 = Z95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return (0.0 if share == 0 else low), (1.0 if share == 1 else high)


def rate(good: Floats, *, weight: Floats | None = None, cluster: Codes | None = None) -> Rate:
    """Return the weighted share of `good` and Wilson's interval at the effective sample size.

    The effective size is share (1 − share) / variance, the variance being that of the ratio of
    sums over clusters; it is never above n, nor above Kish's size where weights differ. Where
    all rows agree the variance is 0 and the size is Kish's of the clusters' weights.

    Args:
        good: 0 … 1, shape (k,).
        weight: Shape (k,), none below 0; None: all equal (Hájek's estimator otherwise).
        cluster: Number of each row's person, -1 a person of its own; None: all independent.

    Source: Franco, Little, Louis and Slud 2019, J. Survey Statistics and Methodology 7:334-364,
    for Wilson's interval with the effective sample size.
    """
    n = len(good)
    w = np.ones(n) if weight is None else weight
    total = float(w.sum())
    if n == 0 or total <= 0:
        return Rate(n, 0, None, 0.0, 1.0, 0.0, 0.0)
    share = float(min(max(float((w * good).sum()) / total, 0.0), 1.0))
    ess = total**2 / float((w**2).sum())
    of, n_clusters = _clusters(n, cluster)
    mass = np.bincount(of, w, minlength=n_clusters)
    off = np.bincount(of, w * (good - share), minlength=n_clusters)
    more = n_clusters / (n_clusters - 1) if n_clusters > 1 else 1.0
    variance = more * float((off**2).sum()) / total**2
    by_cluster = float(mass.sum()) ** 2 / float((mass**2).sum())
    # With one person, or none who differs, the spread between people is not seen.
    seen = n_clusters > 1 and variance > 1e-12 and 0 < share < 1
    effective = min(share * (1 - share) / variance, ess, n) if seen else min(by_cluster, ess)
    low, high = wilson(share, effective)
    return Rate(n, n_clusters, share, low, high, effective, ess)


def difference(first: Rate, second: Rate) -> Difference | None:
    """Return second − first; None where either has no rows.

    Source: Newcombe 1998, Statistics in Medicine 17:873-890, for the interval from two of
    Wilson's; the p-value is of the z test with pooled variance, at the effective sizes.
    """
    a, b = first.estimate, second.estimate
    if a is None or b is None or not first.n_effective or not second.n_effective:
        return None
    low = b - a - math.hypot(b - second.low, first.high - a)
    high = b - a + math.hypot(second.high - b, a - first.low)
    na, nb = first.n_effective, second.n_effective
    pooled = (a * na + b * nb) / (na + nb)
    error = math.sqrt(pooled * (1 - pooled) * (1 / na + 1 / nb))
    p_value = math.erfc(abs(b - a) / error / math.sqrt(2)) if error > 0 else 1.0
    return Difference(b - a, max(low, -1.0), min(high, 1.0), p_value)


def adjust(p_values: list[float]) -> list[float]:
    """Return p-values adjusted for the share of false findings.

    Source: Benjamini and Hochberg 1995, J. Royal Statistical Society B 57:289-300.
    """
    from scipy.stats import false_discovery_control

    return [float(p) for p in false_discovery_control(p_values)] if p_values else []


def _clusters(n: int, cluster: Codes | None) -> tuple[Codes, int]:
    if cluster is None:
        return np.arange(n, dtype=np.int32), n
    alone = cluster < 0
    of = cluster.astype(np.int64)
    of[alone] = of.max(initial=0) + 1 + np.arange(int(alone.sum()))
    names, numbers = np.unique(of, return_inverse=True)
    return numbers.astype(np.int32), len(names)
