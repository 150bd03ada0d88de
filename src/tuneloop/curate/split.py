"""Training and validation by group: what was once held out stays held out.

Interactions are gone through in order of time. The first of a group draws the group's side, by a
hash of its question; whatever is connected with it later (same conversation, near-equal question)
has that side. An interaction that is connected with both sides is dropped: in training it would
give validation away, and in validation it would be known. So the side of a group depends neither
on what comes later nor on feedback.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tuneloop.config.curate import SplitConfig
from tuneloop.curate.assemble import Assembled
from tuneloop.curate.columns import Flags, Interactions, Ints
from tuneloop.curate.duplicates import Questions
from tuneloop.curate.order import mix, order_of
from tuneloop.curate.similar import components

TRAIN, VALIDATION, BOTH = 0, 1, 2
_UNSEEN = 255
_AT_ONCE = 65_536


@dataclass
class Keys:
    """What connects rows: numbers below `n`, one column a kind, -1 for none.

    Attributes:
        single: Columns of numbers, one a row; questions first, where they connect.
        documents: (row, number) of each document.
        n: How many numbers there are.
    """

    single: list[Ints]
    documents: tuple[Ints, Ints]
    n: int

    @classmethod
    def of(cls, assembled: Assembled, questions: Questions, config: SplitConfig) -> Keys:
        """Return the keys that the config names."""
        codes = assembled.interactions.codes
        columns: dict[str, Any] = {
            "cluster": questions.of,
            "session": codes["session"],
            "user": codes["subject"],
        }
        single, n = [], 0
        for name, column in columns.items():
            if name in config.group_by:
                single.append(np.where(column >= 0, column + n, -1).astype(np.int64))
                n += int(column.max(initial=-1)) + 1
        sets = assembled.documents
        rows = np.repeat(np.arange(len(sets)), sets.sizes)
        names, number = np.unique(sets.codes, return_inverse=True)
        if "document" not in config.group_by:
            return cls(single, (rows[:0], rows[:0]), n)
        return cls(single, (rows, number + n), n + len(names))


def draw_sides(
    assembled: Assembled, questions: Questions, config: SplitConfig, *, seed: int
) -> np.ndarray:
    """Return the side of every row, in the set or not: TRAIN, VALIDATION, or BOTH."""
    interactions = assembled.interactions
    order = order_of(interactions.ts, interactions.id)
    keys = Keys.of(assembled, questions, config)
    held = _draws(interactions, order, config, seed=seed)
    near = _Neighbours(questions, "cluster" in config.group_by)
    side = np.zeros(len(interactions), dtype=np.int8)
    of_key = bytearray([_UNSEEN]) * keys.n
    for row, drawn, mine in _in_time(order, held, keys):
        sides = {of_key[key] for key in mine}
        if near.has and of_key[mine[0]] == _UNSEEN:
            sides.update(of_key[other] for other in near.of(mine[0]))
        sides.discard(_UNSEEN)
        if len(sides) > 1:
            side[row] = BOTH
            continue
        chosen = sides.pop() if sides else drawn
        side[row] = chosen
        for key in mine:
            of_key[key] = chosen
    return side


def _in_time(order: Ints, held: np.ndarray, keys: Keys) -> Iterator[tuple[int, int, list[int]]]:
    """Yield (row, what it would draw, its keys) in order of time."""
    documents: dict[int, list[int]] = {}
    for row, number in zip(*(column.tolist() for column in keys.documents), strict=True):
        documents.setdefault(row, []).append(number)
    for start in range(0, len(order), _AT_ONCE):
        rows = order[start : start + _AT_ONCE]
        columns = [column[rows].tolist() for column in keys.single]
        drawn = held[rows].tolist()
        for place, row in enumerate(rows.tolist()):
            mine = [column[place] for column in columns if column[place] >= 0]
            if row in documents:
                mine += documents[row]
            yield row, drawn[place], mine


class _Neighbours:
    """Which questions are near-equal to one."""

    def __init__(self, questions: Questions, wanted: bool) -> None:
        self.has = wanted
        one = np.concatenate([questions.a, questions.b])
        order = np.argsort(one, kind="stable")
        self._others = np.concatenate([questions.b, questions.a])[order]
        self._starts = np.searchsorted(one[order], np.arange(questions.n + 1)).tolist()

    def of(self, question: int) -> list[int]:
        low, high = self._starts[question], self._starts[question + 1]
        if low == high:
            return []
        others: list[int] = self._others[low:high].tolist()
        return others


def _draws(
    interactions: Interactions, order: Ints, config: SplitConfig, *, seed: int
) -> np.ndarray:
    """Return the side each row draws if it is the first of its group."""
    n, fraction = len(interactions), config.validation_fraction
    if not config.time:
        seeds = np.full(n, seed, dtype=np.uint64)
        drawn = mix(seeds, interactions.question).astype(np.float64) / 2.0**64
        return (drawn < fraction).astype(np.int8)
    if config.since is not None:
        return (interactions.ts >= config.since.timestamp()).astype(np.int8)
    newest = np.zeros(n, dtype=np.int8)
    newest[order[n - int(fraction * n) :]] = 1
    return newest


@dataclass
class Groups:
    """The groups of the rows that are in the set, each named after its earliest row.

    Attributes:
        group_id: One a row of `Interactions`; null outside the set.
        cluster_id: The same for its cluster of near-equal questions.
        cluster: Its number.
    """

    group_id: pa.Array
    cluster_id: pa.Array
    cluster: Ints
    n_groups: int
    n_clusters: int
    largest_cluster: int


def name_groups(
    assembled: Assembled, questions: Questions, kept: Flags, config: SplitConfig
) -> Groups:
    """Return what connects the rows in the set; no group and no cluster is on both sides."""
    interactions = assembled.interactions
    n, rows = len(interactions), np.flatnonzero(kept)
    present = np.zeros(questions.n, dtype=bool)
    present[questions.of[rows]] = True
    both = present[questions.a] & present[questions.b]
    a, b = questions.a[both], questions.b[both]
    cluster = components(a, b, questions.n)[questions.of]
    keys = Keys.of(assembled, questions, config)
    ends = [(rows[column[rows] >= 0], column[rows][column[rows] >= 0]) for column in keys.single]
    inside = kept[keys.documents[0]]
    ends.append((keys.documents[0][inside], keys.documents[1][inside]))
    if "cluster" in config.group_by:
        ends.append((a + n, b))  # questions have the first numbers
    left, right = (np.concatenate([end[i] for end in ends]) for i in (0, 1))
    group = components(left, right + n, n + keys.n)[:n]
    sizes = np.bincount(cluster[rows])
    return Groups(
        group_id=_named(interactions, group, rows),
        cluster_id=_named(interactions, cluster, rows),
        cluster=cluster,
        n_groups=len(np.unique(group[rows])),
        n_clusters=len(np.unique(cluster[rows])),
        largest_cluster=int(sizes.max(initial=0)),
    )


def _named(interactions: Interactions, label: Ints, rows: Ints) -> pa.Array:
    """Return the id of the earliest of `rows` with each row's label; null outside `rows`."""
    order = rows[order_of(interactions.ts[rows], interactions.id.take(pa.array(rows)))][::-1]
    earliest = np.full(int(label.max(initial=-1)) + 1, -1)
    earliest[label[order]] = order
    place = np.full(len(label), -1)
    place[rows] = earliest[label[rows]]
    return interactions.id.take(pa.array(place, mask=place < 0))
