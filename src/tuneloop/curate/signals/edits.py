"""How a correction or an edit differs from the answer it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuneloop.curate.columns import Floats

MAX_CHARS = 20_000
"""Longer texts are compared by their first part: the time grows with the product."""


@dataclass(frozen=True)
class Edit:
    """What was changed, as shares of the words of the longer text.

    Attributes:
        similarity: 1 − edit distance in characters / length of the longer text.
        inserted: Words that were added.
        deleted: Words that were taken out.
        replaced: Words that stand in another's place.
        length_ratio: Characters after / characters before (at least one).
    """

    similarity: float
    inserted: float
    deleted: float
    replaced: float
    length_ratio: float


def similarity(answers: Sequence[str], changed: Sequence[str]) -> Floats:
    """Return 1 − normalised edit distance (Levenshtein) of each pair of stripped texts, (k,).

    This is what `Feedback.value` holds for corrections and edits.
    """
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cpdist

    if not answers:
        return np.empty(0)
    pairs = [[text.strip()[:MAX_CHARS] for text in side] for side in (answers, changed)]
    found = cpdist(*pairs, scorer=Levenshtein.normalized_similarity, dtype=np.float64)
    # Texts that differ only where they were cut are not equal.
    cut = [a.strip() != b.strip() for a, b in zip(answers, changed, strict=True)]
    return np.where(cut, np.minimum(found, 1 - 1 / MAX_CHARS), found)


def describe_edit(answer: str, changed: str) -> Edit:
    """Return what was changed, for people who ask about one correction."""
    from rapidfuzz.distance import Levenshtein

    before, after = answer.split(), changed.split()
    longer = max(len(before), len(after), 1)
    kinds = [op.tag for op in Levenshtein.editops(before[:MAX_CHARS], after[:MAX_CHARS])]
    share = {tag: kinds.count(tag) / longer for tag in ("insert", "delete", "replace")}
    n_before, n_after = len(answer.strip()), len(changed.strip())
    return Edit(
        similarity=float(similarity([answer], [changed])[0]),
        inserted=share["insert"],
        deleted=share["delete"],
        replaced=share["replace"],
        length_ratio=n_after / max(n_before, 1),
    )
