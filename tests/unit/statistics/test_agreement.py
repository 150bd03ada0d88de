"""Kappa against statsmodels and bootstraps; nothing is made of a single class."""

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from tuneloop.statistics.agreement import agreement, verdict_classes


def draws(seed, n, k):
    rng = np.random.default_rng(seed)
    human = rng.integers(0, k, n)
    return np.where(rng.random(n) < 0.5, human, rng.integers(0, k, n)), human


@pytest.mark.parametrize("k", [2, 3])
def test_kappa_and_its_error_are_those_of_statsmodels(k):
    judge, human = draws(1, 400, k)
    theirs = cohens_kappa(np.bincount(judge * k + human, minlength=k * k).reshape(k, k))
    ours = agreement(judge, human)
    assert ours.kappa == pytest.approx(theirs.kappa)
    assert (ours.kappa_low, ours.kappa_high) == pytest.approx(
        (theirs.kappa_low, theirs.kappa_upp), abs=1e-9
    )


def test_judgments_of_one_prompt_count_once():
    judge, human = draws(2, 200, 3)
    once = agreement(judge, human)
    twice = agreement(np.repeat(judge, 2), np.repeat(human, 2), np.repeat(np.arange(200), 2))
    assert (twice.kappa, twice.kappa_low) == pytest.approx((once.kappa, once.kappa_low))


def test_kappa_of_a_single_class_is_missing():
    same = np.full(30, 2)
    found = agreement(same, same)
    assert (found.accuracy, found.kappa, found.kappa_low) == (1.0, None, None)


def test_one_half_alone_is_a_tie():
    assert list(verdict_classes(np.array([0.0, 0.49, 0.5, 0.1 + 0.4, 0.51, 1.0]))) == [
        0, 0, 1, 1, 2, 2,
    ]  # fmt: skip
