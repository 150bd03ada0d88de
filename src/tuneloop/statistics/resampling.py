"""Drawing clusters again: moments of every resample, and of every flip of signs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

FEWEST_DRAWS = 500
"""A large sample is not resampled less often than this."""
MOST_CELLS = 20_000_000
"""Clusters times resamples; above it fewer resamples are drawn, but `FEWEST_DRAWS`."""
EVERY_SIGN = 12
"""Up to so many clusters all flips of their signs are taken, not a sample of them."""
_CELLS_AT_A_TIME = 4_000_000
_FEW_KINDS = 64
DIGITS = 12
"""Values are rounded to so many decimals, so that 0.1 + 0.2 and 0.3 are one value."""


@dataclass(frozen=True)
class Resampling:
    """How a comparison is drawn: the one-sided level, the number of resamples, the seed."""

    alpha: float = 0.05
    n_bootstrap: int = 10_000
    seed: int = 0

    def draws(self, n_clusters: int) -> int:
        """Return the number of resamples for so many clusters."""
        affordable = max(FEWEST_DRAWS, MOST_CELLS // max(n_clusters, 1))
        return min(self.n_bootstrap, affordable)


def resampled_moments(rows: Floats, how: Resampling) -> Floats:
    """Return the sums over clusters drawn with replacement, one row a resample.

    Clusters that are alike are drawn together by a multinomial, which is the same bootstrap
    and costs nothing where values are few (0, ½, 1). The order of the rows does not matter.

    Args:
        rows: One row of moments a cluster, shape (G, m).
        how: Resamples and seed.

    Returns:
        Sums, shape (B, m).
    """
    rng = np.random.default_rng(how.seed)
    kinds, times = np.unique(np.round(rows, DIGITS), axis=0, return_counts=True)
    n_clusters, n_draws = len(rows), how.draws(len(rows))
    if len(kinds) <= _FEW_KINDS:
        drawn = rng.multinomial(n_clusters, times / n_clusters, size=n_draws)
        return np.asarray(drawn @ kinds, dtype=np.float64)
    ordered = np.repeat(kinds, times, axis=0)
    return np.concatenate([counts @ ordered for counts in draw_counts(n_clusters, how)])


def draw_counts(n_clusters: int, how: Resampling) -> Iterator[NDArray[Any]]:
    """Yield how often each cluster is drawn, blocks of shape (b, G)."""
    rng = np.random.default_rng(how.seed)
    for size in blocks(how.draws(n_clusters), n_clusters):
        drawn = rng.integers(0, n_clusters, size=(size, n_clusters), dtype=np.int64)
        drawn += n_clusters * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * n_clusters)
        yield counts.reshape(size, n_clusters).astype(np.float64)


def sign_draws(n_clusters: int, how: Resampling) -> Iterator[NDArray[Any]]:
    """Yield signs of clusters, blocks of shape (b, G); all of them where there are few."""
    if n_clusters <= EVERY_SIGN:
        every = np.arange(2**n_clusters)[:, None] >> np.arange(n_clusters)
        yield (1 - 2 * (every & 1)).astype(np.float64)
        return
    rng = np.random.default_rng(how.seed)
    for size in blocks(how.draws(n_clusters), n_clusters):
        yield (rng.integers(0, 2, size=(size, n_clusters), dtype=np.int8) * 2 - 1).astype(
            np.float64
        )


def blocks(total: int, width: int) -> list[int]:
    """Return sizes that add up to `total`, each small enough for memory at this width."""
    step = max(1, _CELLS_AT_A_TIME // max(width, 1))
    return [min(step, total - start) for start in range(0, total, step)]
