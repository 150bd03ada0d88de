"""Length control: against statsmodels, a refit of every resample, and planted truth."""

import numpy as np
import pytest
import statsmodels.api as sm

from tuneloop.statistics.length import length_controlled, length_feature, length_matched
from tuneloop.statistics.resampling import Resampling

HOW = Resampling(alpha=0.025, n_bootstrap=1500, seed=2)


def made(seed, n, *, quality=0.2, slope=1.2, longer=150.0):
    rng = np.random.default_rng(seed)
    candidate, champion = rng.normal(900 + longer, 300, n), rng.normal(900, 300, n)
    feature = length_feature(candidate, champion)
    chance = 1 / (1 + np.exp(-(quality + slope * feature)))
    return (rng.random(n) < chance).astype(float), feature


def logit(y, x):
    return sm.GLM(y, sm.add_constant(x), family=sm.families.Binomial()).fit().params


def test_the_fit_is_that_of_statsmodels():
    y, x = made(0, 500)
    y = 0.8 * y + 0.1
    found, theirs = length_controlled(y, x, HOW), logit(y, x)
    assert found.win_rate == pytest.approx(1 / (1 + np.exp(-theirs[0])), abs=2e-6)
    assert found.slope == pytest.approx(theirs[1], abs=1e-4)


def test_the_error_is_that_of_refitting_every_resample():
    y, x = made(1, 200)
    rng, drawn = np.random.default_rng(9), []
    for _ in range(400):
        rows = rng.integers(0, 200, 200)
        drawn.append(1 / (1 + np.exp(-logit(y[rows], x[rows])[0])))
    assert length_controlled(y, x, HOW).standard_error == pytest.approx(np.std(drawn), rel=0.1)


def test_a_win_by_length_alone_is_no_win():
    y, x = made(0, 1500, quality=0.0, slope=1.5, longer=250)
    found = length_controlled(y, x, HOW)
    assert y.mean() > 0.6
    assert found.ci_low < 0.5 < found.ci_high


def test_swapping_the_systems_mirrors_the_result():
    y, x = made(3, 300)
    a, b = length_controlled(y, x, HOW), length_controlled(1 - y, -x, HOW)
    assert a.win_rate == pytest.approx(1 - b.win_rate, abs=1e-12)
    assert (a.ci_low, a.ci_high) == pytest.approx((1 - b.ci_high, 1 - b.ci_low), abs=1e-12)


def test_order_and_names_of_clusters_do_not_matter():
    y, x = made(4, 240)
    codes = np.repeat(np.arange(60), 4)
    rng = np.random.default_rng(0)
    order, names = rng.permutation(240), rng.permutation(60)
    a = length_controlled(y, x, HOW, codes=codes)
    b = length_controlled(y[order], x[order], HOW, codes=names[codes[order]])
    assert (a.win_rate, a.standard_error) == pytest.approx((b.win_rate, b.standard_error))
    assert a.standard_error > 0.5 * length_controlled(y, x, HOW).standard_error


def test_copies_of_a_prompt_in_its_cluster_change_nothing():
    y, x = made(5, 150)
    once = length_controlled(y, x, HOW)
    thrice = length_controlled(
        np.repeat(y, 3), np.repeat(x, 3), HOW, codes=np.repeat(np.arange(150), 3)
    )
    assert thrice.standard_error == pytest.approx(once.standard_error, rel=0.08)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_one_outcome_everywhere_is_finite(value):
    _, x = made(6, 60)
    found = length_controlled(np.full(60, value), x, HOW)
    assert found.win_rate == pytest.approx(value, abs=0.01)
    assert 0 <= found.ci_low <= found.win_rate <= found.ci_high <= 1


def test_equal_lengths_have_no_feature():
    same = np.full(20, 300.0)
    assert length_feature(same, same) is None
    assert length_feature(same[:1], same[:1]) is None
    lengths = np.array([100.0, 130, 119]), np.full(3, 100.0)
    assert list(length_matched(*lengths, ratio=1.2)) == [True, False, True]
