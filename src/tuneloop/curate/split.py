"""Training and validation by group, so that nothing near-equal is on both sides."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable

import numpy as np

from tuneloop.config.data import SplitConfig
from tuneloop.curate.rows import Row
from tuneloop.curate.similar import components


def split(rows: list[Row], config: SplitConfig, *, seed: int) -> None:
    """Fill in `cluster_id`, `group_id` and `split`.

    A group is named after its earliest interaction, and its side is a hash of that name:
    later traffic moves nothing, unless it joins two groups. A group too large for its side
    (above half of the validation share) always trains, or one chain of near-duplicates could
    take most rows away from training.
    """
    for members in _groups(rows, ["cluster"]):
        name = _first(members)
        for row in members:
            row.cluster_id = name
    most = max(1.0, 0.5 * config.validation_fraction * len(rows))
    for members in _groups(rows, list(config.group_by)):
        name = _first(members)
        held_out = len(members) <= most and _draw(name, seed) < config.validation_fraction
        for row in members:
            row.group_id = name
            row.split = "validation" if held_out else "train"


def _groups(rows: list[Row], by: list[str]) -> list[list[Row]]:
    """Return the rows connected through any of the named keys."""
    numbers: dict[Hashable, int] = {}
    a, b = [], []
    for i, row in enumerate(rows):
        for kind in by:
            value = _key(row, kind)
            if value is not None:
                key = (kind, row.tenant, value)
                a.append(i)
                b.append(len(rows) + numbers.setdefault(key, len(numbers)))
    edges = (np.array(a, dtype=np.int64), np.array(b, dtype=np.int64))
    labels = components(*edges, len(rows) + len(numbers))[: len(rows)]
    found: dict[int, list[Row]] = defaultdict(list)
    for row, label in zip(rows, labels.tolist(), strict=True):
        found[label].append(row)
    return list(found.values())


def _key(row: Row, kind: str) -> Hashable | None:
    return {"user": row.subject_key, "session": row.session_id, "cluster": row.cluster}[kind]


def _first(members: list[Row]) -> str:
    return min(members, key=lambda row: (row.ts, row.id)).id


def _draw(name: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
