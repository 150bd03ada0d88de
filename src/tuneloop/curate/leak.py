"""The guard between training and the golden set: exhaustive, so no candidate is missed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.config.data import LeakConfig
from tuneloop.curate.rows import Dropped, Row, question_of
from tuneloop.curate.similar import SHINGLE, Corpus, normalise
from tuneloop.errors import LeakError

GOLDEN_AT_ONCE = 64
MAX_LISTED = 10


@dataclass(frozen=True)
class Leak:
    """One interaction that repeats one golden prompt."""

    golden_id: str
    interaction_id: str
    similarity: float


def guard(
    rows: list[Row], golden: list[GoldenPrompt], config: LeakConfig, dropped: Dropped
) -> tuple[list[Row], list[Leak]]:
    """Return the rows that repeat no golden prompt, and the leaks that were found.

    Validation rows are guarded too: early stopping learns from them.

    Raises:
        LeakError: naming the first pairs, where there are any and `on_leak` is `fail`.
    """
    leaks = find_leaks(rows, golden, config.near_threshold)
    if leaks and config.on_leak == "fail":
        listed = "\n".join(
            f"  {leak.golden_id} ↔ {leak.interaction_id} (similarity {leak.similarity:.2f})"
            for leak in leaks[:MAX_LISTED]
        )
        more = f"\n  and {len(leaks) - MAX_LISTED} more" if len(leaks) > MAX_LISTED else ""
        raise LeakError(
            f"{len(leaks)} interactions repeat golden prompts (golden ↔ interaction):\n"
            f"{listed}{more}",
            where="curate.leak",
            hint="take those prompts out of the golden set, or set curate.leak.on_leak: drop",
        )
    by_row = {leak.interaction_id: leak for leak in leaks}
    for row in rows:
        if row.id in by_row:
            dropped.interaction(row, "golden_leak", f"repeats {by_row[row.id].golden_id}")
    return [row for row in rows if row.id not in by_row], leaks


def find_leaks(rows: list[Row], golden: list[GoldenPrompt], threshold: float) -> list[Leak]:
    """Return each interaction that repeats a golden prompt, with the most similar one."""
    questions = [question_of(prompt.messages) for prompt in golden]
    texts, owners = [], []
    for i, row in enumerate(rows):
        said = _texts(row)
        texts += said
        owners += [i] * len(said)
    if not texts or not questions:
        return []
    corpus = Corpus.of(normalise(questions + texts))
    best: dict[int, tuple[float, int]] = {}
    for g, t, similarity in _similar_pairs(corpus, len(golden), threshold):
        owner = owners[t]
        if similarity > best.get(owner, (0.0, -1))[0]:
            best[owner] = (similarity, g)
    return [
        Leak(golden[g].id, rows[i].id, round(similarity, 4))
        for i, (similarity, g) in sorted(best.items())
    ]


def _texts(row: Row) -> list[str]:
    """Return what of a prompt may repeat a golden one: its question and each longer turn."""
    turns = [m["content"] for m in row.messages if m["role"] == "user"]
    longer = [turn for turn in turns[:-1] if len(turn.split()) >= SHINGLE]
    return list(dict.fromkeys([row.question, *turns[-1:], *longer]))


def _similar_pairs(
    corpus: Corpus, n_golden: int, threshold: float
) -> Iterator[tuple[int, int, float]]:
    """Yield (golden, text, similarity) of every near pair; the golden come first in the corpus.

    A sparse product counts the shared shingles of all pairs at once: nothing is sampled.
    """
    short = corpus.n_words < SHINGLE
    golden, texts = np.arange(n_golden), np.arange(n_golden, len(short))
    comparisons = [
        (corpus.by_shingle, golden[~short[golden]], texts[~short[texts]]),
        (corpus.by_word, golden[short[golden]], texts),
        (corpus.by_word, golden[~short[golden]], texts[short[texts]]),
    ]
    for matrix, left, right in comparisons:
        sizes = np.diff(matrix.indptr)
        columns = matrix[right].T.tocsr()
        for start in range(0, len(left), GOLDEN_AT_ONCE):
            block = left[start : start + GOLDEN_AT_ONCE]
            shared = (matrix[block] @ columns).tocoo()
            g, t = block[shared.row], right[shared.col]
            similarity = shared.data / (sizes[g] + sizes[t] - shared.data)
            near = similarity >= threshold
            found = (g[near].tolist(), (t[near] - n_golden).tolist(), similarity[near].tolist())
            yield from zip(*found, strict=True)
