"""Power, smallest effects and the worth of labels."""

import numpy as np
import pytest
from statsmodels.stats.power import normal_power

from tuneloop.statistics.power import (
    design_effect,
    effective_labels,
    labels_needed,
    minimum_effect,
    power_of,
    units_needed,
    win_rate_square,
)


@pytest.mark.parametrize(("n", "points"), [(200, 6.8), (400, 4.8), (800, 3.4), (1600, 2.4)])
def test_the_published_table(n, points):
    assert 100 * minimum_effect(win_rate_square(0.6), n, 0.05) == pytest.approx(points, abs=0.05)


def test_two_points_need_about_2320_prompts():
    assert units_needed(win_rate_square(0.6), 0.02, 0.05) == pytest.approx(2320, abs=5)


def test_power_agrees_with_statsmodels():
    square, n, effect = 0.15, 300, 0.05
    theirs = normal_power(effect / np.sqrt(square), n, 0.05, alternative="larger")
    assert power_of(effect, square, n, 0.05) == pytest.approx(theirs)


def test_effect_size_and_power_answer_one_another():
    square = 0.15
    n = units_needed(square, 0.04, 0.05, power=0.9)
    assert power_of(0.04, square, n, 0.05) == pytest.approx(0.9, abs=0.002)
    assert minimum_effect(square, n, 0.05, power=0.9) == pytest.approx(0.04, abs=2e-4)
    assert design_effect(6, 0.6) == pytest.approx(4.0)


def test_labels_are_worth_what_the_variance_says():
    rng = np.random.default_rng(3)
    n, total, r, rounds = 100, 1000, 0.8, 4000
    f = rng.normal(size=(rounds, total))
    y = r * f[:, :n] + np.sqrt(1 - r**2) * rng.normal(size=(rounds, n))
    scale = r  # λ over all prompts
    estimate = scale * f.mean(1) + (y - scale * f[:, :n]).mean(1)
    assert 1 / np.var(estimate) == pytest.approx(effective_labels(n, total, r), rel=0.08)


@pytest.mark.parametrize("n", [40, 200, 999])
def test_labels_needed_is_the_way_back(n):
    worth = effective_labels(n, 1000, 0.7)
    assert labels_needed(worth, 1000, 0.7) == n
    assert labels_needed(1001, 1000, 0.7) is None
