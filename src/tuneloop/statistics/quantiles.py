"""Quantiles of the normal, t and beta distributions, without the import time of scipy.stats."""

from __future__ import annotations

from collections.abc import Sequence

Bounds = tuple[float | None, float | None]


def normal_quantile(probability: float) -> float:
    """Return z so that a standard normal lies below it with this probability."""
    from scipy.special import ndtri

    return float(ndtri(probability))


def normal_below(value: float) -> float:
    """Return the probability that a standard normal lies below the value."""
    from scipy.special import ndtr

    return float(ndtr(value))


def student_quantile(probability: float, degrees: float) -> float:
    """Return the quantile of Student's t with so many degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Return the quantile of a beta distribution."""
    from scipy.special import betaincinv

    return float(betaincinv(a, b, probability))


def binomial_tail(successes: int, trials: int, rate: float) -> float:
    """Return the probability of at least so many successes."""
    from scipy.special import bdtrc

    return 1.0 if successes <= 0 else float(bdtrc(successes - 1, trials, rate))


def quantile_bounds(values: Sequence[float], quantile: float, alpha: float) -> Bounds:
    """Return (lower, upper) one-sided bounds at `alpha` for a quantile, by order statistics.

    Nothing is assumed of the values' distribution. None where so few values bound nothing: an
    upper bound of the 95th percentile at 0.05 needs 59. Values that are missing because they took
    too long are given as infinity.

    Source: the number of values below a quantile is binomial (David and Nagaraja, Order
    Statistics, 7.1).
    """
    from scipy.stats import binom

    ordered, n = sorted(values), len(values)
    if not n:
        return None, None
    low = int(binom.ppf(alpha, n, quantile))
    if binom.cdf(low - 1, n, quantile) > alpha:
        low -= 1
    high = int(binom.ppf(1 - alpha, n, quantile)) + 1
    return (ordered[low - 1] if low >= 1 else None, ordered[high - 1] if high <= n else None)
