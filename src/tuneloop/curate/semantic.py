"""Which questions mean the same: close vectors, exactly, a block at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tuneloop.curate.columns import Codes, Ints
from tuneloop.curate.similar import components

Vectors = NDArray[np.float32]
BLOCK = 2_048
MAX_TEXTS = 200_000
"""Comparing all pairs of more would take hours; the ones above are left alone and counted."""


def nearest(vectors: Vectors, among: Vectors) -> tuple[Ints, NDArray[np.float32]]:
    """Return for each of n unit vectors the number of the nearest of m others, and its cosine.

    Among equals the first is taken.
    """
    index = np.zeros(len(vectors), dtype=np.int64)
    cosine = np.full(len(vectors), -1, dtype=np.float32)
    if not len(among):
        return index, cosine
    for start in range(0, len(vectors), BLOCK):
        part = slice(start, start + BLOCK)
        product = vectors[part] @ among.T
        index[part] = product.argmax(axis=1)
        cosine[part] = product[np.arange(len(product)), index[part]]
    return index, np.round(cosine, 4)


def alike_share(vectors: Vectors, threshold: float) -> float:
    """Return the share of unit vectors that another one reaches the threshold with."""
    if len(vectors) < 2:
        return 0.0
    alike = np.zeros(len(vectors), dtype=bool)
    for a, b in close_pairs(vectors, threshold):
        alike[a] = alike[b] = True
    return float(alike.mean())


def close_pairs(vectors: Vectors, threshold: float) -> Iterator[tuple[Ints, Ints]]:
    """Yield every pair (a < b) of unit vectors whose cosine reaches the threshold, by blocks."""
    for start in range(0, len(vectors), BLOCK):
        left = vectors[start : start + BLOCK]
        for other in range(start, len(vectors), BLOCK):
            a, b = np.nonzero(np.round(left @ vectors[other : other + BLOCK].T, 4) >= threshold)
            a, b = a + start, b + other
            ahead = a < b
            yield a[ahead], b[ahead]


def join(cluster: Codes, vectors: Vectors, questions: Ints, threshold: float) -> Codes:
    """Return cluster numbers with the clusters joined whose questions mean the same.

    Args:
        cluster: Number of each row's cluster of near-equal questions; −1 is left as it is.
        vectors: One a different question, (q, d).
        questions: Number of each row's question, 0 … q−1.
        threshold: Cosine from which two questions are one.

    Returns:
        Numbers 0 … k−1 in order of first appearance.
    """
    held = cluster >= 0
    n_clusters = int(cluster.max(initial=-1)) + 1
    of_question = np.full(len(vectors), -1, dtype=np.int64)
    of_question[questions[held]] = cluster[held]
    a: list[Ints] = [np.zeros(0, dtype=np.int64)]
    b: list[Ints] = [np.zeros(0, dtype=np.int64)]
    for one, other in close_pairs(vectors, threshold):
        known = (of_question[one] >= 0) & (of_question[other] >= 0)
        a.append(of_question[one[known]])
        b.append(of_question[other[known]])
    labels = components(np.concatenate(a), np.concatenate(b), n_clusters)
    joined = cluster.copy()
    joined[held] = labels[cluster[held]]
    seen, first, place = np.unique(joined[held], return_index=True, return_inverse=True)
    order = np.empty(len(seen), dtype=np.int64)
    order[np.argsort(first, kind="stable")] = np.arange(len(seen))
    joined[held] = order[place]
    return joined
