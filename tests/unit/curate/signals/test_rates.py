"""Shares with intervals: against statsmodels, and by how often they hold the truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    proportions_ztest,
)

from tuneloop.curate.signals.rates import adjust, difference, rate, wilson


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson(counts):
    good, n = counts
    low, high = wilson(good / n, n)
    theirs = proportion_confint(good, n, method="wilson")
    assert (low, high) == pytest.approx(theirs, abs=1e-9)
    assert low <= good / n <= high


def of(good, n):
    return rate(np.repeat([1.0, 0.0], [good, n - good]))


def test_rows_that_are_independent_and_equal():
    found = of(30, 100)
    assert found.n == found.n_clusters == 100
    assert found.ess == pytest.approx(100)
    assert (found.low, found.high) == pytest.approx(wilson(0.3, 99), abs=2e-3)


def test_nothing_is_known_of_no_rows():
    found = rate(np.empty(0))
    assert found.estimate is None
    assert (found.low, found.high) == (0, 1)
    assert difference(found, of(3, 10)) is None


def test_all_alike_still_has_a_width():
    assert of(20, 20).low < 0.9
    one_person = rate(np.ones(50), cluster=np.zeros(50, np.int32))
    assert one_person.low < 0.25


def test_one_persons_rows_count_for_less():
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(40), 10).astype(np.int32)
    good = np.repeat(rng.random(40) < 0.6, 10).astype(float)
    wide, narrow = rate(good, cluster=person), rate(good)
    assert wide.estimate == narrow.estimate
    assert wide.n_effective == pytest.approx(40, rel=0.05)
    assert wide.high - wide.low > 2.5 * (narrow.high - narrow.low)


def test_weights_cost_effective_rows():
    weight = np.array([1.0] * 90 + [20.0] * 10)
    found = rate(np.tile([1.0, 0.0], 50), weight=weight)
    assert found.ess == pytest.approx(weight.sum() ** 2 / (weight**2).sum())
    assert found.n_effective <= found.ess


def test_intervals_of_clusters_hold_the_truth():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        people = rng.beta(3, 2, 60)
        person = rng.integers(0, 60, 400).astype(np.int32)
        good = (rng.random(400) < people[person]).astype(float)
        found = rate(good, cluster=person)
        held += found.low <= 0.6 <= found.high
    assert held / 400 > 0.92


@given(st.integers(0, 60), st.integers(0, 80))
def test_difference(a, b):
    found = difference(of(a, 60), of(b, 80))
    low, high = confint_proportions_2indep(b, 80, a, 60, method="newcomb", compare="diff")
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)
    if 5 < a < 55 and 5 < b < 75:
        theirs = proportions_ztest([a, b], [60, 80])[1]
        assert found.p_value == pytest.approx(theirs, abs=0.02)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_adjust(p_values):
    assert adjust(p_values) == pytest.approx(multipletests(p_values, method="fdr_bh")[1])


def test_adjusting_nothing():
    assert adjust([]) == []
