"""What behaviour, comments and judges are worth: their precision against what people stated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tuneloop.artefacts.events import EXPLICIT_SIGNALS
from tuneloop.config.signals import SignalsConfig
from tuneloop.curate.columns import (
    ACTORS,
    SIGNALS,
    Feedback,
    Flags,
    Floats,
    Interactions,
    signal_code,
)
from tuneloop.curate.signals.rates import rate

STATED = EXPLICIT_SIGNALS - {"comment", "preference"}
"""What is said outright of one answer; a comment is read by rule."""
PEOPLE = (ACTORS.index("user"), ACTORS.index("reviewer"))
SOURCES = ("logged", "derived", "judge", "rule")


@dataclass(frozen=True)
class Calibration:
    """The weight of each piece by its signal, shape (m,), and a row a signal and direction."""

    weight: Floats
    rows: list[dict[str, Any]]


def outright(feedback: Feedback) -> Flags:
    """Return which pieces somebody stated outright; the others are never trusted alone."""
    return np.isin(feedback.signal, [signal_code(name) for name in STATED]) & ~feedback.derived


def stated(feedback: Feedback) -> Flags:
    """Return which pieces a person stated outright: what the others are measured against."""
    return outright(feedback) & np.isin(feedback.actor, PEOPLE)


def stated_truth(interactions: Interactions, feedback: Feedback, factor: Floats) -> Floats:
    """Return what people stated of each interaction: 1 good, 0 bad, NaN nothing or both, (n,)."""
    which = stated(feedback) & ~np.isnan(feedback.opinion)
    said = np.where(which, feedback.opinion * feedback.trust * factor, 0.0)
    total = np.bincount(feedback.row, said, minlength=len(interactions))
    return np.where(total > 1e-9, 1.0, np.where(total < -1e-9, 0.0, np.nan))


def calibrate(
    interactions: Interactions, feedback: Feedback, config: SignalsConfig, factor: Floats
) -> Calibration:
    """Return the weight of each piece and what was measured.

    Where a signal speaks and people also stated their opinion of the same answer, its precision
    is the share it gets right. What it is worth is its precision beyond what is true of any rated
    answer, as a share of what can be beyond: (precision − base) / (1 − base). That is pulled to
    the configured weight by `prior_strength`, and never goes above it.

    Args:
        interactions: n of them.
        feedback: m pieces with opinion and trust.
        config: Priors and strength.
        factor: Factor of each piece by its dimension, shape (m,).

    Source: Light 1971, Psychological Bulletin 76:365-377, for agreement beyond chance given one
    answer (conditional kappa).
    """
    weight = np.array([config.prior(name) for name in SIGNALS])[feedback.signal]
    truth = stated_truth(interactions, feedback, factor)
    good = float(np.nanmean(truth)) if (~np.isnan(truth)).any() else np.nan
    source = np.where(feedback.derived, 1, 0)
    source[~feedback.derived & (feedback.actor == ACTORS.index("judge"))] = 2
    source[~feedback.derived & (feedback.actor == ACTORS.index("rule"))] = 3
    speaks = ~stated(feedback) & (feedback.trust > 0) & (factor > 0)
    speaks &= np.nan_to_num(feedback.opinion) != 0
    up = feedback.opinion > 0
    key = np.where(speaks, (feedback.signal * 4 + source) * 2 + up, -1)
    rows = []
    for number in np.unique(key[speaks]):
        which = key == number
        base = good if number % 2 else 1.0 - good
        row, learnt = _measure(interactions, feedback, which, truth, base=base, config=config)
        signal, rest = SIGNALS[number // 8], int(number) % 8
        names = {"signal": signal, "source": SOURCES[rest // 2], "says": ("bad", "good")[rest % 2]}
        rows.append(names | row)
        weight[which] = learnt
    return Calibration(weight, rows)


def _measure(
    interactions: Interactions,
    feedback: Feedback,
    which: Flags,
    truth: Floats,
    *,
    base: float,
    config: SignalsConfig,
) -> tuple[dict[str, Any], float]:
    """Return one row of the report and the weight that follows."""
    pieces = np.flatnonzero(which)
    prior = config.prior(SIGNALS[feedback.signal[pieces[0]]])
    rated = pieces[~np.isnan(truth[feedback.row[pieces]])]
    at = feedback.row[rated]
    right = (truth[at] == (feedback.opinion[rated] > 0)).astype(float)
    found = rate(right, cluster=interactions.codes["subject"][at])
    row: dict[str, Any] = {"n": len(pieces), "n_rated": len(rated), "precision": found.estimate,
           "low": found.low, "high": found.high, "base": base, "lift": None}  # fmt: skip
    learnt, status = prior, "prior"
    if found.estimate is not None:
        row["lift"] = found.estimate / base if base > 0 else None
    if found.estimate is None or not len(rated):
        row |= {"low": None, "high": None, "base": None}
    elif config.calibrate.enabled and len(rated) >= config.calibrate.min_overlap:
        worth = max(0.0, (found.estimate - base) / (1.0 - base)) if base < 1 else 0.0
        n, k = found.n_effective, config.calibrate.prior_strength
        learnt, status = min(prior, (n * worth + k * prior) / (n + k)), "measured"
    row |= {"prior": prior, "weight": learnt, "status": status}
    return {k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}, learnt
