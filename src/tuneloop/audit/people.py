"""Which share of the feedback comes from how few people."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from tuneloop.audit.events import Log

N_RESAMPLES = 1000
MANY_PEOPLE = 20_000
"""Above this the resamples are fewer: their spread is small, and the time is not."""


def concentration(log: Log, *, seed: int = 0) -> dict[str, Any]:
    """Return how feedback is spread over people, each figure with its interval over people.

    `effective_people` is 1 / Σ share²: so many equally busy ones would weigh as much.
    `half_from` is the fewest people who gave half of it.
    """
    said = log.stated()
    by_person = Counter(p for word in said if (p := log.person_of(word)) is not None)
    counts = np.array(sorted(by_person.values(), reverse=True), dtype=np.float64)
    n = int(counts.sum())
    found: dict[str, Any] = {
        "n_feedback": len(said),
        "n_attributed": n,
        "n_missing": len(said) - n,
        "missing_reason": None if n == len(said) else "nobody is named",
        "n_people": len(counts),
    }
    if not len(counts):
        return found | {"status": "missing", "reason": "no feedback names a person"}
    figures = _figures(counts)
    found |= {"status": "ok", **figures, "half_from": _half(counts)}
    if len(counts) > 1:
        rng = np.random.default_rng(seed)
        n_draws = N_RESAMPLES if len(counts) <= MANY_PEOPLE else 100
        drawn = [_figures(np.sort(rng.choice(counts, len(counts)))[::-1]) for _ in range(n_draws)]
        for name in figures:
            low, high = np.quantile([one[name] for one in drawn], [0.025, 0.975])
            found |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    return found


def _figures(counts: np.ndarray) -> dict[str, float]:
    """Return the figures of counts sorted from the largest."""
    share = counts / counts.sum()
    n, ranks = len(share), np.arange(1, len(share) + 1)
    return {
        "top_1_share": float(share[0]),
        "top_10_share": float(share[:10].sum()),
        "top_tenth_share": float(share[: max(1, round(n / 10))].sum()),
        "effective_people": float(1 / np.sum(share**2)),
        "gini": float(1 - np.sum((2 * ranks - 1) * share) / n),
    }


def _half(counts: np.ndarray) -> int:
    return int(np.searchsorted(np.cumsum(counts), counts.sum() / 2) + 1)
