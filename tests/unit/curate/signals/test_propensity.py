"""Where only some are asked, the corrected rate's interval holds the truth; the raw one's not."""

import numpy as np
import pytest

from tuneloop.config.signals import PropensityConfig
from tuneloop.curate.signals.opinion import opinions
from tuneloop.curate.signals.propensity import approval, approval_rates

CONFIG = PropensityConfig()


def rates(hand, rows, pieces, config=CONFIG):
    interactions, feedback = hand.interactions(rows), hand.feedback(pieces)
    feedback.opinion = opinions(interactions, feedback)
    good = approval(interactions, feedback, np.ones(len(feedback)))
    return approval_rates(interactions, good, config)


def asked_unevenly(hand, seed, n=1500):
    """Short answers are good and asked about often; long ones are neither. The truth is 0.65."""
    rng = np.random.default_rng(seed)
    rows, pieces = [], []
    for row in range(n):
        short = rng.random() < 0.5
        p_asked = 0.6 if short else 0.1
        asked = rng.random() < p_asked
        rows.append({"subject": f"s{row}", "asked": int(asked), "p_asked": p_asked})
        if asked:
            liked = rng.random() < (0.9 if short else 0.4)
            pieces.append((row, "thumb", 1 if liked else -1))
    return rates(hand, rows, pieces)[0]


def test_the_corrected_interval_holds_the_truth(hand):
    raw = corrected = 0
    for seed in range(60):
        row = asked_unevenly(hand, seed)
        raw += row["raw"]["low"] <= 0.65 <= row["raw"]["high"]
        corrected += row["corrected"]["low"] <= 0.65 <= row["corrected"]["high"]
    assert corrected >= 54
    assert raw <= 2


def test_systems_are_compared_as_if_each_had_served_all(hand):
    """Hard questions go to B mostly; both systems are alike."""
    rng = np.random.default_rng(0)
    rows, pieces = [], []
    for row in range(6000):
        hard = rng.random() < 0.5
        p_b = 0.8 if hard else 0.2
        b = rng.random() < p_b
        rows.append({"subject": f"s{row}", "asked": 1, "p_asked": 1.0, "system": "AB"[b],
                     "propensity": p_b if b else 1 - p_b})  # fmt: skip
        pieces.append((row, "thumb", 1 if rng.random() < (0.3 if hard else 0.9) else -1))
    by = {row["system"]: row for row in rates(hand, rows, pieces)}
    assert by["A"]["raw"]["estimate"] - by["B"]["raw"]["estimate"] > 0.3
    for name in "AB":
        assert by[name]["corrected"]["low"] <= 0.6 <= by[name]["corrected"]["high"]
        assert by[name]["corrected"]["ess"] < by[name]["raw"]["n"]


def test_missing_propensities_are_said_not_guessed(hand):
    rows = [{"subject": f"s{k}", "system": "A", "asked": 1, "p_asked": 0.5} for k in range(4)]
    rows += [{"subject": "t", "asked": 0, "p_asked": 0.5}, {"subject": "v"}, {"asked": 1}]
    overall, of_a = rates(hand, rows, [(row, "thumb", 1) for row in range(7)])
    assert (overall["raw"]["n"], overall["corrected"]["n"], overall["n_missing"]) == (7, 4, 3)
    assert of_a["corrected"] is None  # nobody logged how likely A was to serve
    assert of_a["n_missing"] == 4


def test_weights_are_clipped_and_counted(hand):
    rows = [{"asked": 1, "p_asked": p} for p in (0.001, 0.5, 0.5)]
    pieces = [(0, "thumb", 1), (1, "thumb", -1), (2, "thumb", -1)]
    [row] = rates(hand, rows, pieces, PropensityConfig(max_weight=4))
    assert row["corrected"]["n_clipped"] == 1
    assert row["corrected"]["estimate"] == pytest.approx(4 / 8)


def test_only_users_ratings_are_approval(hand):
    rows = [{}, {}, {}]
    pieces = [(0, "thumb", 1, {"actor": "reviewer"}), (1, "copy", 1), (2, "stars", 2)]
    [row] = rates(hand, rows, pieces)
    assert (row["raw"]["n"], row["raw"]["estimate"]) == (1, 0)
