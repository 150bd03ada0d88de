"""What follows from rows that repeat golden prompts: which go, and when the run stops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.config.golden import LeakConfig
from tuneloop.curate.columns import Flags, Hashes
from tuneloop.curate.leak import KINDS, REFERENCE, SEMANTIC, SOURCE, Guard, owners
from tuneloop.curate.overlap import Matches
from tuneloop.errors import LeakError

MARK = "golden"
"""Tag of an interaction that is part of an evaluation and must never be trained on."""
CANNED = 2
"""A reference given to this many different questions is a canned reply, and gives none away."""
MIN_SEMANTIC_ROWS = 20
MAX_LISTED = 10


def refuse_marked(ids: pa.Array, tags: pa.ListArray) -> None:
    """Fail where a row is marked as golden itself.

    Raises:
        LeakError: naming the first of them.
    """
    marked = pc.equal(tags.flatten(), MARK).to_numpy(zero_copy_only=False)
    rows = np.unique(owners(tags)[np.flatnonzero(marked)])
    if len(rows):
        named = ", ".join(ids.take(pa.array(rows[:MAX_LISTED])).to_pylist())
        raise LeakError(
            f"{len(rows)} interactions are tagged {MARK!r} and would be trained on: {named}",
            where="curate.leak",
            hint="evaluation traffic does not belong in the lake: keep it out at its source",
        )


@dataclass
class LeakReport:
    """What the guard came to.

    Attributes:
        drop: Which rows may not be trained on.
        summary: For `summary.json`.
    """

    drop: Flags
    summary: dict[str, object]


def settle(guard: Guard, found: Matches, questions: Hashes, ids: pa.Array) -> LeakReport:
    """Decide which rows are dropped, from what was found in all batches together.

    A reference given to different questions is a canned reply and no leak. In a narrow domain,
    where golden prompts themselves are that near to one another, the same questions come back in
    other words for ever and are what is to be learned: there at most `semantic_max_share` of the
    rows go for their meaning alone, the nearest first, and they do not count towards the stop.

    Args:
        guard: Which compared them.
        found: Of all n rows, in order; `found.kind` is changed where a match does not count.
        questions: Hashes of the rows' questions.
        ids: Ids of the rows, for messages.

    Raises:
        LeakError: if more than `max_share` of the rows leak, or any does and `on_leak` is `fail`.
    """
    config, n = guard.config, len(found.kind)
    canned = _canned(found, questions)
    found.kind[(found.kind == REFERENCE) & np.isin(found.index, canned)] = 0
    near = found.kind == SEMANTIC
    n_above = int(near.sum())
    bounded = n_above > _semantic_most(config, n) and guard.narrow
    cut = config.semantic_threshold
    if bounded:  # equal ones go together
        cut = float(np.sort(found.similarity[near])[-_semantic_most(config, n)])
        found.kind[near & (found.similarity < cut)] = 0
    drop = found.kind > 0
    uncounted = (SOURCE, SEMANTIC) if bounded else (SOURCE,)
    leaked = drop & ~np.isin(found.kind, uncounted)
    share = float(leaked.sum()) / max(n, 1)
    if leaked.any() and (config.on_leak == "fail" or share > config.max_share):
        raise _too_many(guard, found, ids, leaked)
    counts = np.bincount(found.kind, minlength=len(KINDS))
    return LeakReport(
        drop=drop,
        summary={
            "by_kind": {name: int(counts[code]) for code, name in enumerate(KINDS) if code},
            "n_golden_prompts": len(set(found.index[drop].tolist())),
            "share": round(share, 6),
            "n_canned_references": len(canned),
            "semantic": {
                "checked": guard.encoder is not None,
                "threshold": config.semantic_threshold,
                "threshold_in_force": round(cut, 4),
                "n_above_threshold": n_above,
                "narrow_domain": bounded,
            },
        },
    )


def detail(guard: Guard, found: Matches, row: int) -> str:
    """Return what `dropped.parquet` says of a row: kind, golden id, similarity."""
    return f"{KINDS[found.kind[row]]}:{guard.ids[found.index[row]]}:{found.similarity[row]:.2f}"


def refuse_share(leaks: Flags, kept: Flags, config: LeakConfig) -> None:
    """Fail where too many of the rows ask a held-out question in other words.

    Raises:
        LeakError: if more than `max_share` do, or any does and `on_leak` is `fail`.
    """
    n, share = int(leaks.sum()), float(leaks.sum()) / max(int(kept.sum()), 1)
    if n and (config.on_leak == "fail" or share > config.max_share):
        raise LeakError(
            f"{n} training rows ({share:.1%}) ask a held-out question in other words",
            where="curate.leak",
            hint="hold out by time or by user (curate.split), or allow more: curate.leak.max_share",
        )


def _canned(found: Matches, questions: Hashes) -> np.ndarray:
    given = found.kind == REFERENCE
    if not given.any():
        return np.zeros(0, dtype=np.int64)
    pairs = np.unique(np.stack([found.index[given].astype(np.uint64), questions[given]]), axis=1)
    index, n_questions = np.unique(pairs[0], return_counts=True)
    return index[n_questions >= CANNED].astype(np.int64)


def _semantic_most(config: LeakConfig, n: int) -> int:
    return max(int(config.semantic_max_share * n), MIN_SEMANTIC_ROWS)


def _too_many(guard: Guard, found: Matches, ids: pa.Array, leaked: Flags) -> LeakError:
    rows = np.flatnonzero(leaked)
    listed = "\n".join(
        f"  {guard.ids[found.index[i]]} ↔ {ids[int(i)].as_py()} "
        f"({KINDS[found.kind[i]]}, similarity {found.similarity[i]:.2f})"
        for i in rows[:MAX_LISTED]
    )
    more = f"\n  and {len(rows) - MAX_LISTED} more" if len(rows) > MAX_LISTED else ""
    share = len(rows) / len(leaked)
    return LeakError(
        f"{len(rows)} interactions ({share:.1%}) repeat golden prompts (golden ↔ interaction):\n"
        f"{listed}{more}",
        where="curate.leak",
        hint="take those prompts out of the golden set, or allow more: curate.leak.on_leak drop "
        "and max_share",
    )
