"""PPI++ against published code's figures, simulated truth, and its own limits."""

import numpy as np
import pytest

from tuneloop.statistics.ppi import corrected_rate


def made(seed, n, total, *, bias=0.0, r=0.7):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, total).astype(float)
    flip = rng.random(total) > (1 + r) / 2
    f = np.clip(np.where(flip, 1 - y, y) * 0.8 + 0.1 + bias, 0, 1)
    human = np.where(np.arange(total) < n, y, np.nan)
    return f, human, y


@pytest.mark.parametrize(
    ("case", "theta", "low", "high"),
    [
        ((1, 80, 400, 0.1, 0.7), 0.485063, 0.416970, 0.553156),
        ((2, 200, 1000, 0.0, 0.3), 0.511247, 0.454460, 0.568034),
        ((3, 300, 900, -0.05, 0.9), 0.505670, 0.474625, 0.536715),
    ],
)
def test_it_agrees_with_ppi_python(case, theta, low, high):
    # ppi_mean_pointestimate and ppi_mean_ci(alpha=0.1) of ppi-python 0.2.3 on the same rows;
    # its variances divide by n, ours by n - 2, its quantile is the normal one, without skew.
    seed, n, total, bias, r = case
    f, human, _ = made(seed, n, total, bias=bias, r=r)
    found = corrected_rate(f, human)
    assert found.estimate == pytest.approx(theta, abs=2e-4)
    assert found.interval == pytest.approx((low, high), abs=3e-3)


def test_a_biased_judge_is_put_right_and_the_interval_covers():
    covered, rounds = 0, 400
    for seed in range(rounds):
        f, human, _ = made(seed, 100, 500, bias=0.05)
        low, high = corrected_rate(f, human, alpha=0.05).interval
        covered += low <= 0.5 <= high
    assert covered / rounds == pytest.approx(0.9, abs=3 * np.sqrt(0.09 / rounds))


def test_labels_drawn_unequally_are_weighted_back():
    # Labels are drawn where the judge is high, and there people differ from it most.
    rng, rounds, found, plain = np.random.default_rng(4), 300, [], []
    covered = 0
    for _ in range(rounds):
        f = rng.uniform(size=800)
        y = (rng.random(800) < f**2).astype(float)
        p = np.where(f > 0.7, 0.5, 0.05)
        human = np.where(rng.random(800) < p, y, np.nan)
        weighted = corrected_rate(f, human, probability=p)
        found.append(weighted.estimate)
        plain.append(corrected_rate(f, human).estimate)
        covered += weighted.interval[0] <= 1 / 3 <= weighted.interval[1]
    assert np.mean(found) == pytest.approx(1 / 3, abs=0.012)
    assert abs(np.mean(plain) - 1 / 3) > abs(np.mean(found) - 1 / 3)
    assert covered / rounds >= 0.85


def test_equal_probabilities_change_nothing():
    f, human, _ = made(6, 90, 400)
    alike, plain = corrected_rate(f, human, probability=np.full(400, 0.2)), corrected_rate(f, human)
    assert alike.estimate == pytest.approx(plain.estimate)
    assert alike.interval == pytest.approx(plain.interval)


def test_where_all_are_labelled_people_decide_alone():
    f, _, y = made(7, 50, 50)
    found = corrected_rate(f, y)
    assert found.estimate == pytest.approx(y.mean())
    assert found.standard_error == pytest.approx(y.std(ddof=1) / np.sqrt(50))
    assert found.weight == 0


def test_a_judge_of_noise_gets_no_weight():
    f, human, y = made(8, 150, 600, r=0.0)
    found = corrected_rate(np.full(600, 0.8), human)
    assert (found.weight, found.correlation) == (0, None)
    assert found.estimate == pytest.approx(y[:150].mean())
    assert corrected_rate(1 - f, human).weight < 0.2


def test_prompts_of_one_cluster_are_one_piece_of_evidence():
    f, human, _ = made(9, 60, 300)
    codes = np.repeat(np.arange(300), 3)
    once, thrice = (
        corrected_rate(f, human),
        corrected_rate(np.repeat(f, 3), np.repeat(human, 3), codes),
    )
    assert thrice.standard_error == pytest.approx(once.standard_error)
    assert thrice.n_clusters == once.n_clusters == 60


def test_labels_that_all_agree_are_not_certainty():
    human = np.where(np.arange(200) < 12, 1.0, np.nan)
    low, high = corrected_rate(np.full(200, 0.9), human).interval
    assert low < 0.9
    assert high == 1


def test_a_bias_that_few_labels_can_show_does_not_promote():
    # The judge turns 6 % of losses into wins: of 40 labels one or two show it, often none.
    promoted, rounds = 0, 600
    for seed in range(rounds):
        rng = np.random.default_rng(seed)
        y = (rng.random(1500) < 0.5).astype(float)
        f = np.where((y == 0) & (rng.random(1500) < 0.12), 1.0, y)
        human = np.where(np.arange(1500) < 40, y, np.nan)
        promoted += corrected_rate(f, human).interval[0] > 0.5
    assert promoted / rounds <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / rounds)
