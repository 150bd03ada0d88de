"""Rates and pairs of yes and no: exact tests, score intervals."""

from __future__ import annotations

import math
from collections.abc import Callable

from tuneloop.statistics.quantiles import beta_quantile, binomial_tail, normal_quantile


def mcnemar_exact(wins: int, losses: int) -> float:
    """Return the one-sided exact McNemar p-value that the candidate is better.

    Source: McNemar 1947; the binomial tail over the pairs that disagree.
    """
    return binomial_tail(wins, wins + losses, 0.5)


def tango_interval(wins: int, losses: int, n: int, alpha: float) -> tuple[float, float]:
    """Return the score interval of a paired difference of proportions at 1 - 2 alpha.

    It inverts the score test of each difference, so it has a width even where no pair
    disagrees, and stays inside [-1, 1].

    Source: Tango 1998, Statistics in Medicine 17:891-908; recommended by Fagerland,
    Lydersen and Laake 2014, Statistics in Medicine 33:2850-2875.
    """
    z = normal_quantile(1 - alpha)
    edge = 1 - 1e-9

    def score(delta: float) -> float:
        linear = (2 * n - wins + losses) * delta - wins - losses
        root = math.sqrt(max(linear**2 + 8 * n * losses * delta * (1 - delta), 0.0))
        rate = (root - linear) / (4 * n)  # the losses' share if the difference were delta
        variance = n * (2 * rate + delta * (1 - delta))
        return (wins - losses - n * delta) / math.sqrt(max(variance, 1e-300))

    low = -1.0 if score(-edge) <= z else falling_root(lambda d: score(d) - z, -edge, edge)
    high = 1.0 if score(edge) >= -z else falling_root(lambda d: score(d) + z, -edge, edge)
    return low, high


def wilson(successes: float, n: float, alpha: float) -> tuple[float, float]:
    """Return Wilson's score interval of a rate at 1 - 2 alpha; (0, 1) where n is 0.

    Source: Wilson 1927, Journal of the American Statistical Association 22:209-212.
    """
    if n == 0:
        return 0.0, 1.0
    z, rate = normal_quantile(1 - alpha), successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def clopper_pearson(successes: int, n: int, alpha: float) -> tuple[float, float]:
    """Return the exact interval of a rate at 1 - 2 alpha; (0, 1) where n is 0.

    Source: Clopper and Pearson 1934, Biometrika 26:404-413.
    """
    low = beta_quantile(alpha, successes, n - successes + 1) if successes else 0.0
    high = beta_quantile(1 - alpha, successes + 1, n - successes) if successes < n else 1.0
    return low, high


def zero_failures_bound(n: int, alpha: float) -> float:
    """Return the exact upper bound of a failure rate after no failure in `n`: about 3/n at 0.05.

    Source: Clopper and Pearson 1934; the 3/n is Hanley and Lippman-Hand 1983,
    JAMA 249:1743-1745.
    """
    return clopper_pearson(0, n, alpha)[1]


def falling_root(of: Callable[[float], float], low: float, high: float) -> float:
    """Return where a falling function crosses zero, by halving the bracket to 1e-12."""
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if of(middle) > 0 else (low, middle)
    return (low + high) / 2
