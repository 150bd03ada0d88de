"""Comparing what questions mean, over all rows: the golden guard's last look, and duplicates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tuneloop.config.golden import EncoderConfig, LeakConfig, SemanticConfig
from tuneloop.curate.columns import Codes, Findings, Flags, Hashes, Ints, Texts
from tuneloop.curate.leak import NARROW, Guard
from tuneloop.curate.overlap import Matches
from tuneloop.curate.semantic import MAX_TEXTS, alike_share, join, nearest
from tuneloop.errors import DataError

if TYPE_CHECKING:
    from tuneloop.runtime.encoder import Encoder


def open_encoder(
    config: EncoderConfig, *, leak: LeakConfig, semantic: SemanticConfig, cache: Path | None
) -> Encoder | None:
    """Return the encoder if any step compares meanings and it is here; nothing is loaded yet.

    Raises:
        TuneloopError: if a step cannot do without it and it is not installed.
    """
    from tuneloop.runtime.encoder import find_encoder

    needed = semantic.enabled or (leak.enabled and leak.semantic == "on")
    if not needed and not (leak.enabled and leak.semantic == "auto"):
        return None
    return find_encoder(config, cache=cache, required=needed)


def compare_meanings(guard: Guard, texts: Texts, questions: Hashes, found: Matches) -> Findings:
    """Find the rows that are golden prompts in other words; note them in `found`.

    Each different question that no comparison of words has found yet is encoded once. Where
    there are more than `semantic_max_texts`, those go first that share most rare words with the
    golden set, and how many were left out is said.

    Args:
        guard: With an encoder; without one nothing happens.
        texts: Column `question`.
        questions: Hash of each row's question.
        found: What the comparison of words found; completed in place.
    """
    if guard.encoder is None:
        return Findings("golden_meaning", {"questions": 0, "encoded": 0, "left_out": 0})
    keys, first = np.unique(questions, return_index=True)
    keys, first = keys[found.kind[first] == 0], first[found.kind[first] == 0]
    chosen = np.ones(len(keys), dtype=bool)
    most = guard.config.semantic_max_texts
    if len(keys) > most:
        likeness = np.zeros(len(keys), dtype=np.float32)
        for place, column in _questions(texts, first, len(questions)):
            likeness[place] = guard.likeness(column)
        order = np.lexsort((keys, -likeness))
        chosen[order[most:]] = False
    means = Matches.none(len(keys))
    for place, column in _questions(texts, first[chosen], len(questions)):
        at = np.flatnonzero(chosen)[place]
        part = guard.check_meaning(column)
        means.kind[at], means.index[at] = part.kind, part.index
        means.similarity[at] = part.similarity
    if len(keys):
        place = np.minimum(np.searchsorted(keys, questions), len(keys) - 1)
        spread = means.take(place.astype(np.int64))
        spread.kind[keys[place] != questions] = 0
        found.fill(spread)
    n = int(chosen.sum())
    counts = {"questions": len(keys), "encoded": n, "left_out": len(keys) - n}
    return Findings("golden_meaning", counts)


def join_meanings(
    encoder: Encoder, texts: Texts, questions: Hashes, cluster: Codes, config: SemanticConfig
) -> tuple[Codes, Findings]:
    """Return cluster numbers with the clusters of questions joined that mean the same.

    Raises:
        DataError: if there are more different questions than can be compared with one another.
    """
    keys, first, number = np.unique(questions, return_index=True, return_inverse=True)
    if len(keys) > MAX_TEXTS:
        raise DataError(
            f"{len(keys):,} different questions are too many to compare by meaning",
            where="curate.dedupe.semantic",
            hint=f"at most {MAX_TEXTS:,}: switch it off, or curate a shorter time",
        )
    vectors: np.ndarray | None = None
    for place, column in _questions(texts, first, len(questions)):
        part = encoder.encode(column.to_pylist())
        if vectors is None:
            vectors = np.zeros((len(keys), part.shape[1]), dtype=np.float32)
        vectors[place] = part
    if vectors is None:
        return cluster, Findings("semantic_duplicates", {"questions": 0})
    joined = join(cluster, vectors, number.astype(np.int64), config.threshold)
    before, after = (len(np.unique(c[c >= 0])) for c in (cluster, joined))
    counts = {"questions": len(keys), "clusters_before": before, "clusters_after": after}
    return joined, Findings("semantic_duplicates", counts)


@dataclass
class Across:
    """Training questions that mean what a held-out one does.

    Attributes:
        leaks: Which rows go.
        similarity: Cosine of each row's question to the nearest held-out one; -1 not compared.
        counts: For `summary.json`.
    """

    leaks: Flags
    similarity: NDArray[np.float32]
    counts: dict[str, Any]


def across_meanings(
    encoder: Encoder, texts: Texts, questions: Hashes, sides: tuple[Flags, Flags],
    config: LeakConfig,
) -> Across:  # fmt: skip
    """Find the training rows that ask a validation question in other words.

    Where held-out questions, each another one, are as near to one another as that, meaning alone
    cannot tell the same question from one of the same domain, and no row goes for it. Of more
    than `semantic_max_texts` different questions the held-out ones are compared first, and how
    many were left out is said.

    Args:
        encoder: What compares meanings.
        texts: Column `question`.
        questions: Hash of each of n rows' question.
        sides: Which rows train, and which are held out.
        config: Threshold and bound.
    """
    train, held = sides
    keys, first = np.unique(questions[train | held], return_index=True)
    first = np.flatnonzero(train | held)[first]
    is_held = np.isin(keys, questions[held])
    order = np.argsort(~is_held, kind="stable")[: config.semantic_max_texts]
    vectors: NDArray[np.float32] | None = None
    for place, column in _questions(texts, first[order], len(questions)):
        part = encoder.encode(column.to_pylist())
        if vectors is None:
            vectors = np.zeros((len(order), part.shape[1]), dtype=np.float32)
        vectors[place] = part
    similarity = np.full(len(questions), -1, dtype=np.float32)
    counts: dict[str, Any] = {"questions": len(keys), "left_out": len(keys) - len(order)}
    if vectors is None or is_held[order].all() or not is_held.any():
        return Across(np.zeros(len(questions), dtype=bool), similarity, counts)
    theirs = vectors[is_held[order]]
    mine = np.flatnonzero(~is_held[order])
    _, cosine = nearest(vectors[mine], theirs)
    of_key = np.full(len(keys), -1, dtype=np.float32)
    of_key[order[mine]] = cosine
    place = np.minimum(np.searchsorted(keys, questions), len(keys) - 1)
    known = (keys[place] == questions) & train
    similarity[known] = of_key[place[known]]
    narrow = alike_share(theirs, config.semantic_threshold) > NARROW
    leaks = similarity >= config.semantic_threshold
    counts |= {"n_above_threshold": int(leaks.sum()), "narrow_domain": narrow}
    return Across(leaks & (not narrow), similarity, counts)


def _questions(texts: Texts, rows: Ints, n: int) -> Iterator[tuple[Ints, pa.Array]]:
    """Yield (places in `rows`, questions) of chosen rows of n, which may be in any order."""
    wanted: Flags = np.zeros(n, dtype=bool)
    wanted[rows] = True
    order = np.argsort(rows, kind="stable")
    for numbers, batch in texts.prompts(["question"], wanted):
        yield order[np.searchsorted(rows[order], numbers)], batch.column("question")
