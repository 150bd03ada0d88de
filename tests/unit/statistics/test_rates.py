"""Rates, corrections and distributions against scipy and statsmodels."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from tuneloop.statistics import quantiles
from tuneloop.statistics.multiplicity import benjamini_hochberg, holm, next_alpha, remaining_alpha
from tuneloop.statistics.rates import clopper_pearson, wilson, zero_failures_bound


@pytest.mark.parametrize(("successes", "n"), [(0, 20), (3, 20), (20, 20), (61, 805), (1, 1)])
@pytest.mark.parametrize("alpha", [0.05, 0.025])
def test_intervals_of_rates_agree_with_statsmodels(successes, n, alpha):
    ours = wilson(successes, n, alpha), clopper_pearson(successes, n, alpha)
    for found, method in zip(ours, ("wilson", "beta"), strict=True):
        theirs = proportion_confint(successes, n, alpha=2 * alpha, method=method)
        assert found == pytest.approx(theirs, abs=1e-9)


def test_no_failure_in_n_bounds_the_rate_by_three_over_n():
    assert zero_failures_bound(200, 0.05) == pytest.approx(3 / 200, rel=0.01)
    assert zero_failures_bound(200, 0.05) == pytest.approx(1 - 0.05 ** (1 / 200))
    assert zero_failures_bound(0, 0.05) == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_adjusted_p_values_agree_with_statsmodels(p):
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1])


def test_holm_is_the_textbook_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert benjamini_hochberg([]) == []


def test_quantiles_are_those_of_scipy():
    assert quantiles.normal_quantile(0.95) == pytest.approx(scipy.stats.norm.ppf(0.95))
    assert quantiles.normal_below(0.3) == pytest.approx(scipy.stats.norm.cdf(0.3))
    assert quantiles.student_quantile(0.95, 7) == pytest.approx(scipy.stats.t.ppf(0.95, 7))
    assert quantiles.beta_quantile(0.2, 3, 4) == pytest.approx(scipy.stats.beta.ppf(0.2, 3, 4))
    for k in range(6):
        theirs = scipy.stats.binomtest(k, 5, 0.5, alternative="greater").pvalue
        assert quantiles.binomial_tail(k, 5, 0.5) == pytest.approx(theirs)
    assert quantiles.binomial_tail(0, 0, 0.5) == 1


def test_a_golden_set_is_spent_after_as_many_decisions_as_its_budget_holds():
    spent = []
    while (level := next_alpha(0.05, 0.2, spent)) is not None:
        spent.append(level)
    assert spent == [0.05] * 4
    assert remaining_alpha(0.2, [0.05, 0.1]) == pytest.approx(0.05)
    assert remaining_alpha(0.1, [0.05, 0.1]) == 0


def test_the_union_bound_holds_for_decisions_that_share_prompts():
    # Four equal candidates against one champion: their differences share the champion's noise.
    rng = np.random.default_rng(5)
    n, rounds = 100, 4000
    champion = rng.normal(size=(rounds, n, 1))
    gaps = rng.normal(size=(rounds, n, 4)) - champion
    t = gaps.mean(1) / (gaps.std(1, ddof=1) / np.sqrt(n))
    any_promoted = np.mean((t > scipy.stats.t.ppf(0.95, n - 1)).any(axis=1))
    assert 0.05 < any_promoted <= 4 * 0.05
