"""No one user, segment, intent, template or tuned model may be most of what is learned."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pyarrow as pa

from tuneloop.config.caps import CapsConfig
from tuneloop.curate.columns import Codes, Flags, Floats, Hashes, Interactions, Ints
from tuneloop.curate.dropped import Dropped

CAPPED = {"user": "subject", "segment": "segment", "intent": "intent", "template": "template"}


def apply_caps(
    interactions: Interactions,
    kept: Flags,
    worth: tuple[Floats, Hashes],
    config: CapsConfig,
    dropped: Dropped,
) -> dict[str, Any]:
    """Drop what is above each cap from `kept`, in place; return the shares before.

    Args:
        interactions: n of them.
        kept: Which are still in.
        worth: Weight of each row, and a hash that settles ties.
        config: The caps.
        dropped: Where what goes is noted, as `cap_<name>`.
    """
    tuned = _tuned(interactions, config.tuned_systems)
    report: dict[str, Any] = {}
    codes = {"tuned": tuned} | {name: interactions.codes[column] for name, column in CAPPED.items()}
    for name, code in codes.items():
        share = getattr(config, name)
        report[name] = {"cap": share, "largest_share": _largest(code[kept])}
        if share is None:
            continue
        gone = above(code, kept, worth, share, config.min_rows)
        kept[gone] = False
        report[name]["n_dropped"] = len(gone)
        ids = interactions.id.take(pa.array(gone))
        dropped.add("interaction", ids, f"cap_{name}", f"share above {share:g}")
    return report


def _tuned(interactions: Interactions, patterns: list[str]) -> Codes:
    names = interactions.names["system"].to_pylist()
    hits = np.array(
        [any(fnmatchcase(name, pattern) for pattern in patterns) for name in names] + [False]
    )
    return np.where(hits[interactions.codes["system"]], 0, -1).astype(np.int32)


def _largest(code: Codes) -> float:
    counts = np.bincount(code[code >= 0])
    return round(float(counts.max(initial=0)) / max(len(code), 1), 6)


def above(
    code: Codes, kept: Flags, worth: tuple[Floats, Hashes], share: float, min_rows: int
) -> Ints:
    """Return the rows above the cap: the least weighty of each thing that has too many."""
    rows = np.flatnonzero(kept & (code >= 0))
    counts = np.bincount(code[rows]).astype(np.int64)
    most = _most(counts, int(kept.sum()), share, min_rows)
    weight, tie = worth
    order = rows[np.lexsort((tie[rows], -weight[rows], code[rows]))]
    starts = np.cumsum(counts) - counts
    rank = np.arange(len(order)) - starts[code[order]]
    return np.sort(order[rank >= most])


def _most(counts: Ints, total: int, share: float, min_rows: int) -> int:
    """Return how many rows a thing may have so that none has more than the share of what is left.

    Each round's cap shrinks the whole, and with it the next cap; where the rest is too small for
    any share to hold, it ends at `min_rows`.
    """
    most = max(total, min_rows)
    while True:
        left = total - int((counts - np.minimum(counts, most)).sum())
        next_most = max(min_rows, int(share * left))
        if next_most >= most:
            return most
        most = next_most
