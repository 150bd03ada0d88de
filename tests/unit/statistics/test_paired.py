"""The statistics against other implementations, published figures and simulated truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multinomial, permutation_test
from statsmodels.stats.contingency_tables import mcnemar

from tuneloop.statistics.means import Clusters, mean_intervals, sign_flips
from tuneloop.statistics.paired import compare
from tuneloop.statistics.power import minimum_effect, units_needed
from tuneloop.statistics.rates import mcnemar_exact, tango_interval
from tuneloop.statistics.resampling import Resampling


def mean_interval(difference, how, *, reach):
    (found,) = mean_intervals(Clusters.of(difference), how, (how.alpha,), reach=reach)
    return found.low, found.high, found.method


def test_tango_interval_of_a_published_table():
    # Fagerland, Lydersen and Laake: airway responsiveness, 1 against 7 discordant of 21.
    assert tango_interval(1, 7, 21, 0.025) == pytest.approx((-0.517, -0.026), abs=5e-4)


def test_tango_interval_has_a_width_where_no_pair_disagrees():
    low, high = tango_interval(0, 0, 50, 0.05)
    z2 = 1.6448536**2
    assert high == pytest.approx(z2 / (50 + z2), rel=1e-5)
    assert low == pytest.approx(-high)
    assert tango_interval(30, 0, 30, 0.05)[1] == 1
    assert tango_interval(0, 30, 30, 0.05)[0] == -1


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 60))
def test_tango_interval_swaps_with_the_labels(wins, losses, ties):
    n = wins + losses + ties
    if n == 0:
        return
    low, high = tango_interval(wins, losses, n, 0.05)
    swapped = tango_interval(losses, wins, n, 0.05)
    assert (low, high) == pytest.approx((-swapped[1], -swapped[0]), abs=1e-8)
    assert -1 <= low <= (wins - losses) / n <= high <= 1


@pytest.mark.parametrize(("wins", "losses"), [(9, 1), (30, 18), (7, 7), (0, 5)])
def test_mcnemar_agrees_with_statsmodels(wins, losses):
    two_sided = mcnemar([[10, losses], [wins, 20]], exact=True).pvalue
    tails = mcnemar_exact(wins, losses), mcnemar_exact(losses, wins)
    assert min(1.0, 2 * min(tails)) == pytest.approx(two_sided)


def test_sign_flip_agrees_with_scipy():
    difference = np.random.default_rng(3).normal(0.1, 0.4, 60)
    ours = sign_flips(Clusters.of(difference), Resampling(n_bootstrap=20_000, seed=1))[0]
    theirs = permutation_test(
        (difference,), np.mean, permutation_type="samples", alternative="greater",
        n_resamples=20_000, rng=2,
    ).pvalue  # fmt: skip
    assert ours == pytest.approx(theirs, abs=0.006)


def test_sign_flip_of_zeros_and_ones_is_mcnemar():
    difference = np.array([1.0] * 12 + [-1.0] * 4 + [0.0] * 30)
    assert sign_flips(Clusters.of(difference), Resampling(n_bootstrap=40_000))[0] == pytest.approx(
        mcnemar_exact(12, 4), abs=0.004
    )


@pytest.mark.parametrize(("wins", "losses"), [(0.3, 0.3), (0.1, 0.02), (0.6, 0.05), (0.2, 0.25)])
def test_tango_covers_the_truth_as_often_as_it_says(wins, losses):
    n, truth = 60, wins - losses
    tables = [(w, x, n - w - x) for w in range(n + 1) for x in range(n + 1 - w)]
    chances = multinomial(n, [wins, losses, 1 - wins - losses]).pmf(tables)
    likely = [(t, p) for t, p in zip(tables, chances, strict=True) if p > 1e-8]
    bounds = np.array([tango_interval(w, x, n, 0.05) for (w, x, _), _ in likely])
    weights = np.array([p for _, p in likely])
    for missed in (bounds[:, 0] > truth + 1e-9, bounds[:, 1] < truth - 1e-9):
        # Not a simulation: every table by its probability. Counts are lumpy, hence the slack.
        assert 0.03 <= weights @ missed <= 0.065


@pytest.mark.parametrize("shape", ["normal", "skewed", "sparse"])
def test_the_interval_of_a_mean_covers_the_truth(shape):
    rng, n, rounds = np.random.default_rng(11), 80, 400
    draw = {
        "normal": lambda: (rng.normal(0.05, 0.3, n), 0.05),
        "skewed": lambda: (rng.exponential(0.2, n) - 0.1, 0.1),
        "sparse": lambda: (rng.choice([0, 0.5, 1.0], n, p=[0.97, 0.015, 0.015]), 0.0225),
    }[shape]
    missed = np.zeros(2)
    for seed in range(rounds):
        difference, truth = draw()
        low, high, _ = mean_interval(difference, Resampling(0.05, 400, seed), reach=2.0)
        missed += [low > truth, high < truth]
    assert np.all(missed / rounds <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / rounds))


def test_a_mean_where_all_differ_alike_keeps_a_width():
    low, high, name = mean_interval(np.zeros(30), Resampling(), reach=1.0)
    assert low < 0 < high
    assert "made-up" in name


def test_graded_values_are_compared_by_bootstrap_and_permutation():
    rng = np.random.default_rng(2)
    champion = rng.uniform(0, 1, 100)
    found = compare(champion, np.clip(champion + 0.1, 0, 1), Resampling())
    assert found.method == "bootstrap-t, sign-flip permutation test"
    assert found.ci_low > 0
    assert found.p_value < 0.001
    assert found.estimate == pytest.approx(found.candidate_rate - found.champion_rate)


def test_minimum_effect_is_the_published_table():
    # Win-rate points at discordance 0.6: half a point a decided pair, hence 0.25 * 0.6.
    for n, points in [(200, 6.8), (400, 4.8), (800, 3.4), (1600, 2.4)]:
        assert 100 * minimum_effect(0.25 * 0.6, n, 0.05) == pytest.approx(points, abs=0.05)
    assert units_needed(0.25 * 0.6, 0.02, 0.05) == pytest.approx(2320, abs=5)
    assert minimum_effect(0.0, 100, 0.05) is None
    assert units_needed(0.3, 0.0, 0.05) is None


@pytest.mark.parametrize("margin", [0.05, 0.1])
def test_units_needed_of_equal_answers_is_where_the_score_interval_passes(margin):
    n = units_needed(0.0, margin, 0.05)
    assert tango_interval(0, 0, n, 0.05)[0] >= -margin
    assert tango_interval(0, 0, n - 1, 0.05)[0] < -margin
