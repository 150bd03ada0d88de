"""How much a sample can show: smallest effects, sizes, power, and what labels are worth."""

from __future__ import annotations

import math

from tuneloop.statistics.quantiles import normal_below, normal_quantile

POWER = 0.8
DISCORDANCE = 0.6
"""Share of pairs that one side wins, where nothing is known yet; the rest are ties."""


def win_rate_square(discordance: float = DISCORDANCE) -> float:
    """Return the mean square of win-rate differences: half a point where a side wins."""
    return 0.25 * discordance


def design_effect(cluster_size: float, icc: float) -> float:
    """Return by how much clusters of this size inflate the variance of a mean.

    Source: Kish 1965, Survey Sampling, 1 + (m - 1) ρ.
    """
    return 1 + (cluster_size - 1) * icc


def minimum_effect(
    mean_square: float, n: float, alpha: float, *, power: float = POWER
) -> float | None:
    """Return the smallest true difference that `n` units show with this power.

    None where no unit differs: nothing is known about the spread then. For 0/1 values
    `mean_square` is the share of pairs that disagree.
    """
    if n <= 0 or mean_square <= 0:
        return None
    return (normal_quantile(1 - alpha) + normal_quantile(power)) * math.sqrt(mean_square / n)


def power_of(effect: float, mean_square: float, n: float, alpha: float) -> float:
    """Return the chance that `n` units prove a true difference of this size above its limit."""
    if n <= 0 or mean_square <= 0:
        return 0.0
    return normal_below(effect / math.sqrt(mean_square / n) - normal_quantile(1 - alpha))


def units_needed(
    mean_square: float, distance: float, alpha: float, *, power: float = POWER
) -> int | None:
    """Return how many units show a difference `distance` from its limit with this power.

    None where the estimate lies on the wrong side of its limit: more units will not help.
    With few differing pairs the score interval's own floor, z² (1 - d) / d, is what counts.
    """
    if distance <= 0:
        return None
    z = normal_quantile(1 - alpha)
    by_spread = ((z + normal_quantile(power)) / distance) ** 2 * mean_square
    floor = z**2 * (1 - min(distance, 1.0)) / distance
    return max(math.ceil(by_spread - 1e-9), math.ceil(floor - 1e-9), 1)


def effective_labels(n_labels: float, n_prompts: float, correlation: float) -> float:
    """Return how many human labels alone would be as good as these with a judge beside them.

    `n_labels` of `n_prompts` prompts carry a label, the judge scored all. With the best λ the
    variance is that of the labels times 1 - r² (1 - n / N); r is the correlation of the
    judge's score with the label.

    Source: Angelopoulos, Duchi and Zrnic 2023, PPI++, with λ put in.
    """
    unlabelled = max(0.0, 1 - n_labels / n_prompts) if n_prompts else 0.0
    return n_labels / max(1 - correlation**2 * unlabelled, 1e-12)


def labels_needed(effective: float, n_prompts: float, correlation: float) -> int | None:
    """Return the fewest labels worth `effective` ones, or None: not even all prompts labelled.

    Solves n / (1 - r² (1 - n / N)) = effective for n.
    """
    if effective > n_prompts:
        return None
    squared = correlation**2
    return math.ceil(effective * (1 - squared) / (1 - squared * effective / n_prompts) - 1e-9)
