"""Paired comparison of two systems: intervals, tests, and how much a sample can show.

Everything works on units (prompts or prompt families): rows of one unit are averaged before
they come here, since rows that share a prompt promote a tie far too often.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

POWER = 0.8
FEW_DIFFERENT = 10
"""With fewer units that differ, a bootstrap mostly redraws ties and says nothing."""
_DRAWS_AT_A_TIME = 2_000_000


@dataclass(frozen=True)
class Comparison:
    """Candidate minus champion over `n` units; each bound is one-sided at alpha."""

    n: int
    estimate: float
    ci_low: float
    ci_high: float
    p_value: float
    method: str
    champion_rate: float
    candidate_rate: float
    wins: int
    losses: int
    ties: int
    mean_square: float


@dataclass(frozen=True)
class Resampling:
    """How a comparison is drawn: the one-sided level, the number of resamples, the seed."""

    alpha: float = 0.05
    n_bootstrap: int = 10_000
    seed: int = 0


def compare(
    champion: Floats, candidate: Floats, how: Resampling, *, scale: float = 1
) -> Comparison:
    """Return the paired comparison of two systems on the same units.

    Values that are all 0 or 1 get the exact McNemar test and Tango's score interval; all
    others a bootstrap-t interval and a sign-flip permutation test.

    Args:
        champion: One value per unit, shape (n,), n at least 1.
        candidate: The same units, shape (n,).
        how: Level, resamples, seed.
        scale: Factor on the difference; 0.5 makes it win-rate points where the values are
            two shares that add up to 1.
    """
    difference = scale * (candidate - champion)
    wins = int(np.sum(difference > 1e-12))
    losses = int(np.sum(difference < -1e-12))
    n = len(difference)
    both = np.concatenate([champion, candidate])
    if scale == 1 and bool(np.all((both == 0) | (both == 1))):
        low, high = tango_interval(wins, losses, n, how.alpha)
        p_value, method = mcnemar_exact(wins, losses), "exact McNemar, Tango score interval"
    else:
        reach = scale * max(1.0, float(np.max(np.abs(both))))
        low, high, name = mean_interval(difference, how, reach=reach)
        p_value, method = sign_flip(difference, how), f"{name}, sign-flip permutation test"
    return Comparison(
        n=n,
        estimate=float(np.mean(difference)),
        ci_low=low,
        ci_high=high,
        p_value=p_value,
        method=method,
        champion_rate=float(np.mean(champion)),
        candidate_rate=float(np.mean(candidate)),
        wins=wins,
        losses=losses,
        ties=n - wins - losses,
        mean_square=float(np.mean(difference**2)),
    )


def mcnemar_exact(wins: int, losses: int) -> float:
    """Return the one-sided exact McNemar p-value that the candidate is better.

    Source: McNemar 1947; the binomial tail over the pairs that disagree.
    """
    from scipy.stats import binomtest

    if wins + losses == 0:
        return 1.0
    return float(binomtest(wins, wins + losses, 0.5, alternative="greater").pvalue)


def tango_interval(wins: int, losses: int, n: int, alpha: float) -> tuple[float, float]:
    """Return the score interval of a paired difference of proportions at 1 - 2 alpha.

    It inverts the score test of each difference, so it has a width even where no pair
    disagrees, and stays inside [-1, 1].

    Source: Tango 1998, Statistics in Medicine 17:891-908; recommended by Fagerland,
    Lydersen and Laake 2014, Statistics in Medicine 33:2850-2875.
    """
    from scipy.optimize import brentq

    z = _z(1 - alpha)
    edge = 1 - 1e-9

    def score(delta: float) -> float:
        linear = (2 * n - wins + losses) * delta - wins - losses
        root = math.sqrt(max(linear**2 + 8 * n * losses * delta * (1 - delta), 0.0))
        rate = (root - linear) / (4 * n)  # the losses' share if the difference were delta
        variance = n * (2 * rate + delta * (1 - delta))
        return (wins - losses - n * delta) / math.sqrt(max(variance, 1e-300))

    low = -1.0 if score(-edge) <= z else float(brentq(lambda d: score(d) - z, -edge, edge))
    high = 1.0 if score(edge) >= -z else float(brentq(lambda d: score(d) + z, -edge, edge))
    return low, high


def mean_interval(difference: Floats, how: Resampling, *, reach: float) -> tuple[float, float, str]:
    """Return bounds of a mean over units, and the method's name.

    Bootstrap-t, because it follows skewed differences where a t interval does not. Where
    fewer than `FEW_DIFFERENT` units differ or all differ alike, two made-up units at the ends
    of the range (-reach, +reach) keep the interval from collapsing.

    Source: Hall 1988, Annals of Statistics 16:927-953, for bootstrap-t; Bonett and Price
    2012, Journal of Educational and Behavioral Statistics 37:479-488, for the made-up units.
    """
    n = len(difference)
    mean = float(np.mean(difference))
    spread = float(np.std(difference, ddof=1)) if n > 1 else 0.0
    if np.sum(np.abs(difference) > 1e-12) < FEW_DIFFERENT or spread < 1e-12:
        low, high = _padded_t_interval(difference, how.alpha, reach)
        name = "t interval with two made-up units"
    else:
        error = spread / math.sqrt(n)
        t = _bootstrap_t(difference, how)
        q_low, q_high = np.quantile(t, [how.alpha, 1 - how.alpha])
        low, high = mean - float(q_high) * error, mean - float(q_low) * error
        name = "bootstrap-t"
    return max(low, -reach), min(high, reach), name


def sign_flip(difference: Floats, how: Resampling) -> float:
    """Return the one-sided p-value that the mean is above 0, by flipping the units' signs.

    Source: Phipson and Smyth 2010, Statistical Applications in Genetics and Molecular
    Biology 9:39, for counting the sample itself, which keeps the test valid.
    """
    rng = np.random.default_rng(how.seed)
    observed = float(np.sum(difference))
    as_high = 0
    for size in _chunks(how.n_bootstrap, len(difference)):
        signs = rng.integers(0, 2, size=(size, len(difference)), dtype=np.int8) * 2 - 1
        as_high += int(np.sum(signs @ difference >= observed - 1e-9))
    return (as_high + 1) / (how.n_bootstrap + 1)


def minimum_effect(mean_square: float, n: int, alpha: float) -> float | None:
    """Return the smallest true difference that `n` units show with 80 % power.

    None where no unit differs: nothing is known about the spread then. For 0/1 values
    `mean_square` is the share of pairs that disagree.
    """
    if n == 0 or mean_square <= 0:
        return None
    return (_z(1 - alpha) + _z(POWER)) * math.sqrt(mean_square / n)


def units_needed(mean_square: float, distance: float, alpha: float) -> int | None:
    """Return how many units show a difference `distance` from its limit with 80 % power.

    None where the estimate lies on the wrong side of its limit: more units will not help.
    With few differing pairs the score interval's own floor, z² (1 - d) / d, is what counts.
    """
    if distance <= 0:
        return None
    by_spread = ((_z(1 - alpha) + _z(POWER)) / distance) ** 2 * mean_square
    floor = _z(1 - alpha) ** 2 * (1 - min(distance, 1.0)) / distance
    return max(math.ceil(by_spread), math.ceil(floor), 1)


def zero_failures_bound(n: int, alpha: float) -> float:
    """Return the upper bound of a failure rate after no failure in `n`: about 3/n at 0.05.

    Source: Hanley and Lippman-Hand 1983, JAMA 249:1743-1745.
    """
    return min(1.0, -math.log(alpha) / n) if n else 1.0


def holm(p_values: list[float]) -> list[float]:
    """Return p-values adjusted by Holm's step-down procedure."""
    if not p_values:
        return []
    from statsmodels.stats.multitest import multipletests

    adjusted: Any = multipletests(p_values, method="holm")[1]
    return [float(p) for p in adjusted]


def _bootstrap_t(difference: Floats, how: Resampling) -> Floats:
    rng = np.random.default_rng(how.seed)
    n, mean = len(difference), float(np.mean(difference))
    drawn = []
    for size in _chunks(how.n_bootstrap, n):
        sample = difference[rng.integers(0, n, size=(size, n))]
        off = sample.mean(axis=1) - mean
        error = sample.std(axis=1, ddof=1) / math.sqrt(n)
        # A resample without spread is as far off as one can be, not a division by zero.
        drawn.append(np.where(error > 1e-12, off / np.maximum(error, 1e-12), np.sign(off) * 1e6))
    return np.concatenate(drawn)


def _padded_t_interval(difference: Floats, alpha: float, reach: float) -> tuple[float, float]:
    from scipy.stats import t as student

    padded = np.append(difference, [-reach, reach])
    error = float(np.std(padded, ddof=1)) / math.sqrt(len(padded))
    width = float(student.ppf(1 - alpha, len(padded) - 1)) * error
    mean = float(np.mean(padded))
    return mean - width, mean + width


def _chunks(total: int, width: int) -> list[int]:
    step = max(1, _DRAWS_AT_A_TIME // max(width, 1))
    return [min(step, total - start) for start in range(0, total, step)]


def _z(probability: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(probability))
