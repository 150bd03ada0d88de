"""How many liked the answers: as counted, and corrected for who was asked and served by what."""

from __future__ import annotations

from typing import Any

import numpy as np

from tuneloop.config.signals import PropensityConfig
from tuneloop.curate.columns import (
    ACTORS,
    Feedback,
    Floats,
    Interactions,
    Ints,
    signal_code,
)
from tuneloop.curate.signals.rates import rate

RATINGS = ("thumb", "stars", "score")
"""What a user answers when asked how it was."""


def approval(interactions: Interactions, feedback: Feedback, factor: Floats) -> Floats:
    """Return whether each interaction's user liked it: 1, 0, NaN where not rated or undecided."""
    which = np.isin(feedback.signal, [signal_code(name) for name in RATINGS])
    which &= (feedback.actor == ACTORS.index("user")) & ~feedback.derived
    said = np.where(which, np.nan_to_num(feedback.opinion) * feedback.trust * factor, 0.0)
    total = np.bincount(feedback.row, said, minlength=len(interactions))
    return np.where(total > 1e-9, 1.0, np.where(total < -1e-9, 0.0, np.nan))


def inverse_propensity(
    interactions: Interactions, config: PropensityConfig, *, served: bool
) -> Floats:
    """Return how many rows each stands for, shape (n,), at most `max_weight`.

    NaN where a propensity is missing or feedback was not asked for: nothing is guessed. Of those
    who were asked and said nothing no propensity is logged, so that stays uncorrected.

    Args:
        interactions: With `asked`, `p_asked` and `propensity`.
        config: Where weights are clipped.
        served: Also divide by the propensity of the arm that served the row, as the comparison
            of systems needs; without it the rate is that of the traffic as it was served.
    """
    chance = np.where(interactions.asked == 1, interactions.p_asked, np.nan)
    if served:
        chance = chance * interactions.propensity
    chance = np.where(chance > 0, chance, np.nan)
    return np.asarray(np.minimum(1.0 / chance, config.max_weight))


def approval_rates(
    interactions: Interactions, good: Floats, config: PropensityConfig
) -> list[dict[str, Any]]:
    """Return the raw and the corrected approval of all traffic, then of each system by name.

    `corrected` is None where no rated row has what it takes; `n_missing` counts the rated rows
    without a propensity (or not asked), which only the raw rate holds.
    """
    rated = np.flatnonzero(~np.isnan(good))
    weight = inverse_propensity(interactions, config, served=False)
    rows = [{"system": None, **_both(interactions, good, weight, rated, config)}]
    weight = inverse_propensity(interactions, config, served=True)
    known = rated[interactions.codes["system"][rated] >= 0]
    known = known[np.argsort(interactions.codes["system"][known], kind="stable")]
    numbers, starts = np.unique(interactions.codes["system"][known], return_index=True)
    names = interactions.names["system"]
    for number, some in zip(numbers, np.split(known, starts[1:]), strict=False):
        system = names[int(number)].as_py()
        rows.append({"system": system, **_both(interactions, good, weight, some, config)})
    return [rows[0], *sorted(rows[1:], key=lambda row: str(row["system"]))]


def _both(
    interactions: Interactions, good: Floats, weight: Floats, rows: Ints, config: PropensityConfig
) -> dict[str, Any]:
    """Return the raw rate of some rated rows and the corrected one of those with a weight."""
    subject = interactions.codes["subject"]
    known = rows[~np.isnan(weight[rows])]
    corrected = None
    if len(known):
        found = rate(good[known], weight=weight[known], cluster=subject[known])
        clipped = int((weight[known] >= config.max_weight).sum())
        corrected = {**found.as_dict(), "n_clipped": clipped}
    return {
        "raw": rate(good[rows], cluster=subject[rows]).as_dict(),
        "corrected": corrected,
        "n_missing": len(rows) - len(known),
    }
