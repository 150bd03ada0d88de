"""One interaction of each group that repeats: same person, same question, same answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.config.curate import DedupeConfig
from tuneloop.curate.assemble import Assembled
from tuneloop.curate.columns import Flags, Floats, Interactions, Ints, Texts
from tuneloop.curate.dropped import Dropped
from tuneloop.curate.near import Sets
from tuneloop.curate.order import order_of
from tuneloop.curate.similar import Corpus, components, fingerprints, near_questions, normalise

MAX_GROUP = 200  # rows of one person in one cluster of prompts compared with one another


@dataclass
class Questions:
    """The different questions in order of first appearance, and which are near-equal.

    In that order, questions that come later change nothing about pairs of earlier ones.

    Attributes:
        of: Number of each row's question.
        a: Pairs of near-equal questions: this one,
        b: and that.
        first: First row of each question.
    """

    of: Ints
    a: Ints
    b: Ints
    first: Ints

    @property
    def n(self) -> int:
        """How many there are."""
        return len(self.first)

    def clusters(self) -> Ints:
        """Return the number of each row's cluster of near-equal questions."""
        return components(self.a, self.b, self.n)[self.of]


def near_equal(assembled: Assembled, config: DedupeConfig) -> Questions:
    """Return the different questions and every pair of near-equal ones that was found."""
    interactions = assembled.interactions
    order = order_of(interactions.ts, interactions.id)
    _, first, of = np.unique(interactions.question[order], return_index=True, return_inverse=True)
    number = np.empty(len(first), dtype=np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    first = order[np.sort(first)]
    numbers = np.empty(len(order), dtype=np.int64)
    numbers[order] = number[of]
    a, b = near_questions(
        assembled.shingles.take(first), assembled.words.take(first),
        threshold=config.near_threshold, n_permutations=config.n_permutations,
    )  # fmt: skip
    return Questions(numbers, a, b, first)


@dataclass
class Worth:
    """What a row is worth when only one of several can stay: compared, corrected, weight, age."""

    compared: Flags
    corrected: Flags
    score: Floats
    weight: Floats

    def order(self, interactions: Interactions) -> Ints:
        """Return all rows, the most valuable first; time and id settle what evidence does not."""
        order = order_of(interactions.ts, interactions.id)
        keys = (-self.weight[order], ~self.corrected[order], ~self.compared[order])
        ranked: Ints = order[np.lexsort(keys)]
        return ranked


def drop_duplicates(
    interactions: Interactions,
    kept: Flags,
    worth: Worth,
    texts: Texts,
    config: DedupeConfig,
    dropped: Dropped,
) -> dict[str, Any]:
    """Keep the best-evidenced interaction of each group of repetitions; return what was found.

    Different answers to one prompt stay: they make pairs. Different people with the same
    prompt and answer stay too: each is a vote of its own. People without a name count as one.
    Where repetitions contradict one another, the side with more evidence stays; with as much on
    both, none does.
    """
    a, b = _same_place(interactions, kept)
    exact = (interactions.question[a] == interactions.question[b]) & (
        interactions.answer[a] == interactions.answer[b]
    )
    same = exact | _alike(texts, a, b, exact, len(interactions), config.near_threshold)
    label = components(a[same], b[same], len(interactions))
    order = worth.order(interactions)
    order = order[kept[order]]
    n_groups = int(label.max(initial=-1)) + 1
    mass = worth.score * worth.weight
    up, down = (np.bincount(label[kept], side[kept], minlength=n_groups)
                for side in (np.maximum(mass, 0), np.maximum(-mass, 0)))  # fmt: skip
    split = (up > 0) & (down > 0)
    tied = split & (np.round(up - down, 9) == 0)
    losing = split[label] & (np.sign(mass) != np.sign(up - down)[label])
    best = np.full(n_groups, -1)
    ranked = order[~losing[order]][::-1]
    best[label[ranked]] = ranked
    best[tied] = -1
    gone = np.flatnonzero(kept & (best[label] != np.arange(len(label))))
    kept[gone] = False
    ids = interactions.id
    contradicted = tied[label[gone]]
    lost, repeats = gone[contradicted], gone[~contradicted]
    dropped.add("interaction", ids.take(pa.array(lost)), "duplicate_conflict",
                "repetitions that contradict one another")  # fmt: skip
    kept_ids = ids.take(pa.array(best[label[repeats]]))
    dropped.add("interaction", ids.take(pa.array(repeats)), "duplicate", _repeats(kept_ids))
    return {
        "exact_pairs": int(exact.sum()),
        "near_pairs": int((same & ~exact).sum()),
        "n_dropped": len(gone),
        "n_conflicts": int(split.sum()),
        "n_undecided": int(tied.sum()),
    }


def _repeats(ids: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(pa.scalar("repeats"), ids, " ")


def _same_place(interactions: Interactions, kept: Flags) -> tuple[Ints, Ints]:
    """Return pairs of rows of one person in one cluster.

    In a huge group neighbours, and the first with all.
    """
    subject, session = interactions.codes["subject"], interactions.codes["session"]
    n_sessions = len(interactions.names["session"])
    person = np.where(subject >= 0, subject + n_sessions, session).astype(np.int64)
    rows = np.flatnonzero(kept)
    place = (
        person[rows] * (int(interactions.cluster.max(initial=0)) + 1) + interactions.cluster[rows]
    )
    order = np.argsort(place, kind="stable")
    rows, place = rows[order], place[order]
    starts = np.maximum.accumulate(
        np.where(np.diff(place, prepend=place[:1] - 1) != 0, np.arange(len(place)), 0)
    )
    depth = np.arange(len(place)) - starts
    firsts, seconds = [rows[starts[depth >= MAX_GROUP]]], [rows[depth >= MAX_GROUP]]
    later = np.flatnonzero(depth > 0)
    for distance in range(1, MAX_GROUP):
        later = later[depth[later] >= distance]
        if not len(later):
            break
        firsts.append(rows[later - distance])
        seconds.append(rows[later])
    return np.concatenate(firsts), np.concatenate(seconds)


def _alike(texts: Texts, a: Ints, b: Ints, exact: Flags, n: int, threshold: float) -> Flags:
    """Return which pairs that are not exact have near-equal questions and answers."""
    alike = np.zeros(len(a), dtype=bool)
    pairs = np.flatnonzero(~exact)
    if not len(pairs):
        return alike
    wanted = np.zeros(n, dtype=bool)
    wanted[a[pairs]] = wanted[b[pairs]] = True
    place = np.cumsum(wanted) - 1
    found: dict[str, list[tuple[Sets, Sets]]] = {"question": [], "answer": []}
    for _, batch in texts.prompts(list(found), wanted):
        for column, prints in found.items():
            corpus = Corpus.of(normalise(batch[column]), stable=True)
            prints.append(fingerprints(corpus, threshold))
    same = np.ones(len(pairs), dtype=bool)
    for prints in found.values():
        shingles, words = (Sets.join([both[i] for both in prints]) for i in (0, 1))
        same &= _near(shingles, words, place[a[pairs]], place[b[pairs]], threshold)
    alike[pairs] = same
    return alike


def _near(shingles: Sets, words: Sets, a: Ints, b: Ints, threshold: float) -> Flags:
    short = np.minimum(shingles.sizes[a], shingles.sizes[b]) == 0
    similarity = shingles.jaccard(a, b)
    similarity[short] = words.jaccard(a[short], b[short])
    near: Flags = similarity >= threshold
    return near
