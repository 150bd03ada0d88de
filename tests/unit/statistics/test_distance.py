import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tuneloop.statistics.distance import kolmogorov_smirnov, mean_discrepancy
from tuneloop.statistics.resampling import Resampling

HOW = Resampling(alpha=0.025, n_bootstrap=500, seed=1)


def alone(n):
    return np.arange(n, dtype=np.int64)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=40))
def test_the_distance_of_functions_is_scipys_and_swapping_the_systems_changes_nothing(pairs):
    a, b = np.array(pairs, dtype=np.float64).T
    found = kolmogorov_smirnov(a, b, alone(len(a)), HOW)
    assert found.estimate == pytest.approx(stats.ks_2samp(a, b).statistic)
    back = kolmogorov_smirnov(b, a, alone(len(a)), HOW)
    assert (back.estimate, back.p_value) == pytest.approx((found.estimate, found.p_value))
    assert found.low <= found.estimate <= found.high


def test_a_known_p_value_by_every_swap():
    # Three pairs that all moved one way: of 8 swaps, only none and all are as far.
    found = kolmogorov_smirnov(np.zeros(3), np.ones(3), alone(3), HOW)
    assert (found.estimate, found.p_value) == (1.0, 0.25)


def plain_mmd(a, b):
    both = np.concatenate([a, b])
    apart = ((both[:, None] - both) ** 2).sum(-1)
    k = np.exp(-apart / (2 * np.median(apart[np.triu_indices(len(both), 1)])))
    n = len(a)
    off = ~np.eye(n, dtype=bool)
    return (k[:n, :n][off] + k[n:, n:][off] - k[:n, n:][off] - k[n:, :n][off]).mean()


def test_the_discrepancy_is_that_of_its_definition():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(30, 4)), rng.normal(0.5, 1, size=(30, 4))
    assert mean_discrepancy(a, b, alone(30), HOW).estimate == pytest.approx(plain_mmd(a, b))


@pytest.mark.parametrize("distance", [kolmogorov_smirnov, mean_discrepancy])
def test_alike_systems_are_found_apart_as_rarely_as_the_level_says(distance):
    rng = np.random.default_rng(5)
    found = []
    for _ in range(200):
        shared = rng.normal(size=(24, 3))  # what the prompt asks moves both answers
        a, b = (shared + rng.normal(size=(24, 3)) for _ in range(2))
        if distance is kolmogorov_smirnov:
            a, b = a[:, 0], b[:, 0]
        few = Resampling(alpha=0.025, n_bootstrap=200, seed=1)
        found.append(distance(a, b, alone(24), few).p_value)
    assert np.mean(np.array(found) <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    assert np.mean(np.array(found) <= 0.5) > 0.3


def test_a_shift_is_seen_and_copies_of_a_prompt_are_one_unit():
    rng = np.random.default_rng(7)
    a = rng.normal(size=(12, 3))
    b = a + rng.normal(0.8, 1, size=(12, 3))
    once = mean_discrepancy(a, b, alone(12), HOW)
    assert once.p_value < 0.05
    assert once.estimate > once.null_high
    copied = mean_discrepancy(np.tile(a, (5, 1)), np.tile(b, (5, 1)), np.tile(alone(12), 5), HOW)
    assert copied.n == 12
    assert copied.p_value == pytest.approx(once.p_value, abs=0.02)
    lengths = kolmogorov_smirnov(a[:, 0], b[:, 0], alone(12), HOW)
    many = kolmogorov_smirnov(
        np.tile(a[:, 0], 5), np.tile(b[:, 0], 5), np.tile(alone(12), 5), HOW
    )  # fmt: skip
    assert many.p_value == pytest.approx(lengths.p_value)


def test_one_cluster_says_nothing():
    found = mean_discrepancy(np.zeros((3, 2)), np.ones((3, 2)), np.zeros(3, dtype=np.int64), HOW)
    assert (found.p_value, found.n) == (1.0, 1)
