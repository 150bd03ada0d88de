"""How many rows of each kind some interactions would give, looked at on a part of a curated set."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.artefacts.stage import CuratedSet
from tuneloop.build.chunks import chunks
from tuneloop.build.rules import KINDS
from tuneloop.build.tally import Tally
from tuneloop.build.texts import NONE
from tuneloop.config.sets import BuildConfig

REWORDED = ("reformulation", "regenerate")
ROWS = 32_768


@dataclass
class Supply:
    """What the rules made of some curated rows.

    Attributes:
        n_curated: How many there are.
        n_read: How many were looked at: whole prompts, whose order says nothing of them.
        by_rule: By kind and rule, the rows that stand, before the caps of the whole set.
        unwanted: Interactions whose answer was disliked, corrected or reworded: for each, new
            answers can be sampled and paired.
    """

    n_curated: int = 0
    n_read: int = 0
    by_rule: dict[str, Counter[str]] = field(default_factory=lambda: {k: Counter() for k in KINDS})
    unwanted: int = 0


def supply(
    curated: CuratedSet, config: BuildConfig, *, dislike_score: float, most: int = ROWS
) -> Supply:
    """Return what the rules make of about `most` curated rows; nothing is written."""
    tally, found = Tally(), Supply()
    names = list(config.rules)
    for sources, settled in chunks(curated, config, tally, None):
        rows = sources.rows
        found.n_read += len(rows)
        for kind, (made, _) in settled.items():
            found.by_rule[kind].update(names[i] for i in made.rule.tolist())
        reworded = np.zeros(len(rows), dtype=np.bool_)
        is_one = pc.is_in(rows.signals.signal, pa.array(REWORDED)).to_numpy(zero_copy_only=False)
        reworded[rows.signals.row[is_one]] = True
        corrected = sources.texts.correction != NONE
        found.unwanted += int((reworded | corrected | (rows.score <= dislike_score)).sum())
        if found.n_read >= most:
            break
    found.n_curated = tally.n_in
    return found
