"""What the feedback says about an answer: a score from −1 (bad) to 1 (good), and a weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tuneloop.artefacts.events import EXPLICIT_SIGNALS
from tuneloop.config.data import SignalWeights
from tuneloop.curate.rows import FeedbackRow, Row

WORDS_PER_S = 238 / 60
"""Silent reading of English prose. Source: Brysbaert 2019, J. Memory and Language 109."""
IDLE_FACTOR = 20.0
"""Beyond this many reading times the page was left open, which says nothing."""
IMPLICIT_CAP = 0.49
"""Behaviour alone never reaches the half from which an answer is taught or avoided."""
_PREFERRED_GIVER = {"reviewer": 1}


def weigh(rows: list[Row], weights: SignalWeights) -> None:
    """Fill in `correction`, `score` and `weight` of each row.

    The score is the weighted mean of the signals, shrunk towards 0 where all weights together
    are below 1; the weight is that sum, at most 1.
    """
    for row in rows:
        row.correction = _correction(row)
        total, mass, explicit = 0.0, 0.0, False
        for item in sorted(row.feedback, key=lambda item: item.id):
            said = opinion(item, row)
            weight = _weight(item, weights)
            if said is not None and weight > 0:
                total += said * weight
                mass += weight
                explicit = explicit or item.signal in EXPLICIT_SIGNALS
        score = total / max(mass, 1.0)
        cap = 1.0 if explicit else IMPLICIT_CAP
        row.score = round(max(-cap, min(cap, score)), 6)
        row.weight = round(min(mass, 1.0), 6)


def opinion(item: FeedbackRow, row: Row) -> float | None:
    """Return what one signal says, −1 … 1; None where it says nothing about quality."""
    says = _OPINIONS.get(item.signal)
    return says(item.value, row.answer) if says else None


def _dwell(seconds: float, answer: str) -> float | None:
    """Compare the time spent with the time the answer takes to read."""
    share = seconds * WORDS_PER_S / max(len(answer.split()), 1)
    return None if share > IDLE_FACTOR else min(share, 2.0) - 1.0


_OPINIONS: dict[str, Callable[[Any, str], float | None]] = {
    "thumb": lambda value, _: 1.0 if value in (True, 1, "up") else -1.0,
    "stars": lambda value, _: (float(value) - 3.0) / 2.0,
    "score": lambda value, _: 2.0 * float(value) - 1.0,
    "correction": lambda value, answer: 1.0 if value.strip() == answer.strip() else -1.0,
    "preference": lambda value, _: -1.0 if value.get("outcome") == "both_bad" else None,
    "dwell": lambda value, answer: _dwell(float(value), answer),
    "copy": lambda value, _: None if value is False else 1.0,
    "reformulation": lambda value, _: None if value is False else -1.0,
    "regenerate": lambda value, _: None if value is False else -1.0,
    "abandonment": lambda value, _: None if value is False else -1.0,
}


def _weight(item: FeedbackRow, weights: SignalWeights) -> float:
    if item.signal == "preference":
        return weights.thumb  # "both bad" is a thumb down on each
    name = "copy_" if item.signal == "copy" else item.signal
    return float(getattr(weights, name, 0.0))


def _correction(row: Row) -> str | None:
    """Return the correction in force: a reviewer's before a user's, then the latest."""
    corrections = [item for item in row.feedback if item.signal == "correction"]
    if not corrections:
        return None
    best = max(
        corrections,
        key=lambda item: (_PREFERRED_GIVER.get(item.actor_kind, 0), item.ts, item.id),
    )
    text = str(best.value)
    return None if text.strip() == row.answer.strip() else text
