"""All that was said of an answer as one score from −1 (bad) to 1 (good), and a weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tuneloop.config.signals import SignalsConfig
from tuneloop.curate.columns import (
    ACTORS,
    SIGNALS,
    Feedback,
    Floats,
    Interactions,
    Ints,
    Preferences,
    signal_code,
)
from tuneloop.curate.signals.calibrate import calibrate, outright
from tuneloop.curate.signals.people import Pairs, cap, judge_people
from tuneloop.curate.signals.propensity import approval, approval_rates

IMPLICIT_CAP = 0.49
"""Behaviour alone never reaches the half from which an answer is taught or avoided."""
REVIEWER = ACTORS.index("reviewer")


@dataclass(frozen=True)
class Evidence:
    """What the feedback comes to.

    Attributes:
        score: Of each interaction, −1 … 1, shape (n,).
        weight: How much was said of it, 0 … 1, shape (n,).
        correction: The piece whose text corrects it, -1 where none does, shape (n,).
        feedback_weight: What each piece counted for, 0 … 1, shape (m,).
        preference_weight: The same of each comparison, shape (p,).
        pairs: The compared pairs, one each.
        pair_weight: What each pair counts for, 0 … 1, shape (q,).
        report: For the summary: `signals`, `people`, `approval`, `counts`.
    """

    score: Floats
    weight: Floats
    correction: Ints
    feedback_weight: Floats
    preference_weight: Floats
    pairs: Pairs
    pair_weight: Floats
    report: dict[str, Any]


def evidence(
    interactions: Interactions,
    feedback: Feedback,
    preferences: Preferences,
    config: SignalsConfig,
) -> Evidence:
    """Return each interaction's evidence.

    The score is the weighted mean of the opinions, shrunk towards 0 where all weights together
    are below 1; the weight is that sum, at most 1. A piece's weight is that of its signal (as
    measured, where it can be), times its dimension's factor, its trust and its giver's weight,
    cut where one person has more than their share.

    Args:
        interactions: n of them.
        feedback: m pieces with opinions, derived ones among them, and trust as the gates left it.
        preferences: p comparisons.
        config: Weights.
    """
    factor = _dimension_factor(feedback, config)
    measured = calibrate(interactions, feedback, config, factor)
    people = judge_people(interactions, feedback, preferences, config.people)
    weight = measured.weight * factor * feedback.trust * people.weight[feedback.account]
    weight = np.where(np.isnan(feedback.opinion), 0.0, weight)
    compared = preferences.trust * people.weight[preferences.account]
    weight, compared, n_cut = _capped(feedback, preferences, weight, compared, config)
    pair_weight = _pair_weight(people.pairs, compared)
    score, mass = _scores(interactions, feedback, weight, people.pairs, pair_weight * config.thumb)
    good = approval(interactions, feedback, factor)
    return Evidence(
        score=np.round(score, 6) + 0.0,  # no minus zero
        weight=np.round(mass, 6),
        correction=correction_in_force(interactions, feedback),
        feedback_weight=np.round(weight, 6),
        preference_weight=np.round(compared, 6),
        pairs=people.pairs,
        pair_weight=np.round(pair_weight, 6),
        report={
            "counts": _counts(feedback),
            "signals": measured.rows,
            "people": people.report | {"n_cut_to_share": n_cut},
            "approval": approval_rates(interactions, good, config.propensity),
        },
    )


def correction_in_force(interactions: Interactions, feedback: Feedback) -> Ints:
    """Return the piece that corrects each interaction, shape (n,), -1 where the answer stands.

    A reviewer's before anybody else's, then the latest; where that one repeats the answer, the
    answer stands.
    """
    which = (feedback.signal == signal_code("correction")) & (feedback.trust > 0)
    pieces = np.flatnonzero(which)
    # Pieces come in order of (ts, id); the last assignment is what stays.
    pieces = pieces[np.argsort(feedback.actor[pieces] == REVIEWER, kind="stable")]
    found = np.full(len(interactions), -1)
    found[feedback.row[pieces]] = pieces
    repeats = (found >= 0) & (feedback.value[found] >= 1.0) if len(feedback) else found >= 0
    return np.where(repeats, -1, found)


def _dimension_factor(feedback: Feedback, config: SignalsConfig) -> Floats:
    """Return the factor of each piece by what it is about, shape (m,)."""
    by_name = {name.casefold(): factor for name, factor in config.dimensions.items()}
    factors = [by_name.get(name.casefold(), 1.0) for name in feedback.dimensions]
    return np.array([*factors, 1.0])[feedback.dimension]  # -1, none, is the last


def _capped(
    feedback: Feedback,
    preferences: Preferences,
    weight: Floats,
    compared: Floats,
    config: SignalsConfig,
) -> tuple[Floats, Floats, int]:
    """Return both weights with nobody above their share, and how many people were cut."""
    account = np.concatenate([feedback.account, preferences.account]).astype(np.int64)
    actor = np.concatenate([feedback.actor, preferences.actor])
    both = np.concatenate([weight, compared])
    factor = np.ones(len(both))
    if config.people.enabled:
        factor = cap(account, both, actor != REVIEWER, config.people)
    n_cut = len(np.unique(account[factor < 1.0]))
    both = both * factor
    return both[: len(weight)], both[len(weight) :], n_cut


def _pair_weight(pairs: Pairs, compared: Floats) -> Floats:
    """Return the weight of each pair: its confidence times its comparisons' sum, at most 1."""
    believed = pairs.of >= 0
    total = np.bincount(pairs.of[believed], compared[believed], minlength=len(pairs.first))
    return np.asarray(pairs.confidence * np.minimum(total, 1.0))


def _scores(
    interactions: Interactions,
    feedback: Feedback,
    weight: Floats,
    pairs: Pairs,
    pair_weight: Floats,
) -> tuple[Floats, Floats]:
    """Return score and weight of each interaction; "both bad" is a thumb down on each of two."""
    bad = pairs.outcome == 2
    row = np.concatenate([feedback.row, pairs.first[bad], pairs.second[bad]]).astype(np.int64)
    each = np.concatenate([weight, pair_weight[bad], pair_weight[bad]])
    says = np.concatenate([np.nan_to_num(feedback.opinion), np.full(2 * int(bad.sum()), -1.0)])
    sure = np.concatenate([outright(feedback), np.ones(2 * int(bad.sum()))])
    n = len(interactions)
    mass = np.bincount(row, each, minlength=n)
    score = np.bincount(row, each * says, minlength=n) / np.maximum(mass, 1.0)
    convinced = np.bincount(row, (each > 0) * sure, minlength=n) > 0
    most = np.where(convinced, 1.0, IMPLICIT_CAP)
    return np.clip(score, -most, most), np.minimum(mass, 1.0)


def _counts(feedback: Feedback) -> dict[str, int]:
    """Return how many pieces there are of each signal, derived ones apart."""
    counts = {}
    for name, derived in ((n, d) for n in SIGNALS for d in (False, True)):
        which = (feedback.signal == signal_code(name)) & (feedback.derived == derived)
        if which.any():
            counts[f"derived_{name}" if derived else name] = int(which.sum())
    return counts
