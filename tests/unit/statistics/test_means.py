"""Means of clustered values: against statsmodels, simulated truth, and their own properties."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.statistics.means import Clusters, mean_intervals, sign_flips
from tuneloop.statistics.paired import compare_differences
from tuneloop.statistics.resampling import Resampling, resampled_moments

HOW = Resampling(n_bootstrap=400, seed=4)
SHARES = st.lists(st.sampled_from([-0.5, -0.25, 0.0, 0.125, 0.25, 0.5]), min_size=1, max_size=60)


def test_the_error_of_single_rows_is_the_deviation_over_the_root_of_n():
    x = np.random.default_rng(0).normal(size=57)
    error = x.std(ddof=1) / np.sqrt(57)
    assert Clusters.of(x).standard_error == pytest.approx(error, rel=1e-14)


def test_the_error_of_clusters_is_that_of_a_clustered_regression():
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 37, 400)
    codes = np.unique(codes, return_inverse=True)[1]
    x = rng.normal(size=400) + rng.normal(size=codes.max() + 1)[codes]
    fit = sm.OLS(x, np.ones(400)).fit(cov_type="cluster", cov_kwds={"groups": codes})
    of = Clusters.of(x, codes)
    assert of.mean == pytest.approx(fit.params[0])
    assert of.standard_error == pytest.approx(fit.bse[0])


def test_weights_are_those_of_a_weighted_regression():
    rng = np.random.default_rng(2)
    x, w = rng.normal(size=90), rng.uniform(0.2, 3, 90)
    fit = sm.WLS(x, np.ones(90), weights=w).fit(cov_type="HC1")
    of = Clusters.of(x, weights=w)
    assert (of.mean, of.standard_error) == pytest.approx((fit.params[0], fit.bse[0]))


@pytest.mark.parametrize(("n_clusters", "size"), [(12, 5), (20, 8), (60, 4)])
def test_clustered_bounds_are_crossed_as_often_as_they_say(n_clusters, size):
    rng, rounds = np.random.default_rng(7), 400
    codes = np.repeat(np.arange(n_clusters), size)
    crossed = np.zeros(2)
    for seed in range(rounds):
        x = rng.normal(size=n_clusters)[codes] + rng.normal(size=len(codes))
        how = Resampling(0.05, 400, seed)
        (found,) = mean_intervals(Clusters.of(x, codes), how, (0.05,), reach=9.0)
        crossed += [found.low > 0, found.high < 0]
    assert np.all(crossed / rounds <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / rounds))
    assert np.all(crossed / rounds >= 0.015)


def test_rows_that_share_a_prompt_would_promote_a_tie_far_too_often():
    rng, rounds, n, m = np.random.default_rng(8), 2000, 200, 6
    shared = np.sqrt(0.6) * rng.normal(size=(rounds, n, 1))
    x = shared + np.sqrt(0.4) * rng.normal(size=(rounds, n, m))
    naive = x.reshape(rounds, -1)
    t = naive.mean(1) / (naive.std(1, ddof=1) / np.sqrt(n * m))
    assert np.mean(t > 1.645) > 0.15
    units = x.mean(2)
    t = units.mean(1) / (units.std(1, ddof=1) / np.sqrt(n))
    assert np.mean(t > 1.653) < 0.065


@settings(deadline=None, max_examples=60)
@given(SHARES, st.integers(1, 9), st.randoms())
def test_negating_negates_and_order_does_not_matter(values, n_codes, random):
    x = np.array(values)
    codes = np.unique([i % n_codes for i in range(len(x))], return_inverse=True)[1]
    for groups in (None, codes):
        found = compare_differences(x, HOW, reach=0.5, codes=groups)
        back = compare_differences(-x, HOW, reach=0.5, codes=groups)
        if abs(x.sum()) > 1e-9 or groups is None:
            assert found.ci_low == pytest.approx(-back.ci_high, abs=1e-9)
            assert found.ci_high == pytest.approx(-back.ci_low, abs=1e-9)
        order = list(range(len(x)))
        random.shuffle(order)
        shuffled = compare_differences(
            x[order], HOW, reach=0.5, codes=None if groups is None else groups[order]
        )
        assert (found.ci_low, found.ci_high, found.p_value) == pytest.approx(
            (shuffled.ci_low, shuffled.ci_high, shuffled.p_value), abs=1e-9
        )
        assert -0.5 <= found.ci_low <= found.ci_high <= 0.5


@settings(deadline=None, max_examples=60)
@given(SHARES, st.integers(0, 59))
def test_a_better_answer_never_weakens_the_sign_test(values, which):
    x = np.array(values)
    better = x.copy()
    better[which % len(x)] = 0.5
    assert sign_flips(Clusters.of(better), HOW)[0] <= sign_flips(Clusters.of(x), HOW)[0] + 0.02


def test_drawing_kinds_is_drawing_clusters():
    x = np.repeat([0.0, 0.5, 1.0], [30, 20, 50])
    jittered = x + np.linspace(0, 1e-9, 100)  # a hundred kinds: drawn one by one
    how = Resampling(n_bootstrap=20_000)
    few, many = (resampled_moments(v[:, None], how)[:, 0] / 100 for v in (x, jittered))
    assert few.mean() == pytest.approx(many.mean(), abs=0.002)
    assert few.std() == pytest.approx(many.std(), rel=0.03)


def test_one_cluster_shows_nothing():
    found = compare_differences(np.full(40, 0.5), HOW, reach=0.5, codes=np.zeros(40, dtype=int))
    assert (found.ci_low, found.ci_high) == pytest.approx((-0.5, 0.5))
    assert found.p_value == 0.5
