"""Quantiles of the normal, t and beta distributions, without the import time of scipy.stats."""

from __future__ import annotations


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
