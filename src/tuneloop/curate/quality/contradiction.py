"""Feedback that contradicts itself: one account, one answer, two opinions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tuneloop.config.privacy import QualityConfig
from tuneloop.curate.columns import Feedback, signal_code

_SAYING = [signal_code(name) for name in ("thumb", "stars", "score")]
_REWRITING = [signal_code(name) for name in ("correction", "edit")]


def contradictions(feedback: Feedback, config: QualityConfig) -> NDArray[np.bool_]:
    """Return which pieces contradict another of the same account about the same answer.

    Thumbs, stars and scores that point both ways all do, over all dimensions that have none or
    the same name. A thumb up beside a correction that keeps less than `max_kept_fraction` of the
    answer does; the correction, which took work, does not.
    """
    hits = np.zeros(len(feedback), np.bool_)
    if config.contradiction == "off" or not len(feedback):
        return hits
    of = feedback.row.astype(np.int64) * (int(feedback.account.max()) + 2) + feedback.account
    said = np.isin(feedback.signal, _SAYING) & ~feedback.derived
    up = said & (feedback.opinion > 0)
    down = said & (feedback.opinion < 0)
    # An answer may be helpful and unkind: only one dimension can contradict itself.
    n_dimensions = len(feedback.dimensions) + 1
    by_dimension = of * n_dimensions + feedback.dimension + 1
    hits |= (up | down) & _both(by_dimension, up, down)
    kept = feedback.value < config.max_kept_fraction
    rewritten = np.isin(feedback.signal, _REWRITING) & kept
    hits |= up & np.isin(of, of[rewritten])
    return hits


def _both(
    groups: NDArray[np.int64], one: NDArray[np.bool_], other: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return the members of groups in which both stand."""
    return np.isin(groups, np.intersect1d(groups[one], groups[other]))
