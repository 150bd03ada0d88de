"""The statistics behind the gate, against their definitions and other implementations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.curate.trust.reliability import (
    MIN_VOTES,
    account_evidence,
    discoveries,
    turning_points,
)
from tuneloop.curate.trust.scene import Votes


def votes_of(accounts, p_up, rng, flip=None):
    n = len(accounts)
    up = rng.random(n) < p_up
    if flip is not None:
        up ^= flip
    return Votes(
        piece=np.arange(n), row=np.arange(n), own=np.zeros(n, bool), account=accounts,
        up=up, ts=np.arange(n, dtype=float), stated=np.ones(n, bool),
    )  # fmt: skip


def test_honest_accounts_expect_an_e_value_of_at_most_one():
    rng = np.random.default_rng(0)
    accounts = np.repeat(np.arange(20_000), 8)
    temper = np.repeat(rng.normal(size=20_000), 8)
    p = rng.uniform(0.05, 0.95, len(accounts))
    odds = np.exp(np.log(p / (1 - p)) + temper)
    votes = votes_of(accounts, odds / (1 + odds), rng)
    log_e = account_evidence(
        votes, p, np.arange(len(p)) % 3, np.arange(20_000) % 5, np.ones(20_000, bool)
    )
    assert np.exp(log_e).mean() <= 1.1
    assert (log_e >= np.log(20)).mean() <= 0.05  # Markov


def test_flipped_votes_are_evidence_and_few_votes_are_none():
    rng = np.random.default_rng(1)
    accounts = np.repeat(np.arange(100), 10)
    p = np.where(rng.random(1_000) < 0.5, 0.85, 0.15)
    votes = votes_of(accounts, p, rng, flip=accounts < 10)
    log_e = account_evidence(votes, p, np.zeros(1_000, int), np.arange(100) % 5, np.ones(100, bool))
    assert np.median(log_e[:10]) > 5 > 0 > np.median(log_e[10:])
    few = votes_of(np.repeat(np.arange(50), MIN_VOTES - 1), 0.5, rng)
    p = np.full(len(few), 0.5)
    log_e = account_evidence(few, p, np.zeros(len(p), int), np.arange(50) % 5, np.ones(50, bool))
    assert np.isneginf(log_e).all()


@given(st.lists(st.floats(-5, 20), min_size=1, max_size=40), st.sampled_from([0.01, 0.05, 0.2]))
@settings(max_examples=100, deadline=None)
def test_discoveries_are_those_of_e_bh(log_e, alpha):
    """By the definition: the largest k with e_(k) at least n / (k alpha)."""
    log_e = np.array(log_e)
    e = np.sort(np.exp(log_e))[::-1]
    n = len(e)
    passing = [k for k in range(1, n + 1) if np.log(e[k - 1]) >= np.log(n / (k * alpha)) - 1e-12]
    found = discoveries(log_e, np.full(n, 10), alpha)
    expected = log_e >= np.log(e[max(passing) - 1]) - 1e-9 if passing else np.zeros(n, bool)
    assert np.array_equal(found, expected)


def test_groups_that_vote_as_often_are_judged_apart():
    log_e = np.array([4.0] * 5 + [-1.0] * 1_000)
    n_votes = np.array([20] * 5 + [3] * 1_000)
    assert discoveries(log_e, n_votes, 0.05)[:5].all()
    assert not discoveries(log_e, np.full(1_005, 3), 0.05).any()


@pytest.mark.parametrize("turn", [0, 6, 12])
def test_the_turning_point_is_where_the_votes_turn(turn):
    rng = np.random.default_rng(2)
    p = np.where(np.arange(20) % 2, 0.9, 0.1)
    votes = votes_of(np.zeros(20, int), np.round(p), rng, flip=np.arange(20) >= turn)
    assert turning_points(votes, p, 1)[0] == pytest.approx(turn, abs=1)
