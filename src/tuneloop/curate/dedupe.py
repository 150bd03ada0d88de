"""One interaction of each group that repeats: same person, same question, same answer."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from tuneloop.config.data import DedupeConfig
from tuneloop.curate.rows import Dropped, Row
from tuneloop.curate.similar import Corpus, components, normalise

MAX_GROUP = 200  # rows of one person in one cluster of prompts compared with one another


def cluster_rows(rows: list[Row], config: DedupeConfig) -> int:
    """Number each row by its cluster of near-equal prompts; return how many there are."""
    from tuneloop.curate.similar import cluster

    labels = cluster(
        [row.question for row in rows],
        threshold=config.near_threshold,
        n_permutations=config.n_permutations,
    )
    for row, label in zip(rows, labels.tolist(), strict=True):
        row.cluster = label
    return len(set(labels.tolist()))


def drop_duplicates(rows: list[Row], config: DedupeConfig, dropped: Dropped) -> list[Row]:
    """Keep the best-evidenced interaction of each group of repetitions.

    Different answers to one prompt stay: they make pairs. Different people with the same
    prompt and answer stay too: each is a vote of its own. People without a name count as one.
    """
    places: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        person = row.subject_key or row.session_id or ""
        places[row.tenant, person, row.cluster].append(i)
    a, b = _pairs([place for place in places.values() if len(place) > 1])
    if not len(a):
        return rows
    questions = Corpus.of(normalise([row.question for row in rows]))
    answers = Corpus.of(normalise([row.answer for row in rows]))
    same = _alike(questions, a, b, config) & _alike(answers, a, b, config)
    groups: dict[int, list[int]] = defaultdict(list)
    for i, label in enumerate(components(a[same], b[same], len(rows)).tolist()):
        groups[label].append(i)
    gone: dict[int, int] = {}
    for members in groups.values():
        best = min(members, key=lambda i: _rank(rows[i]))
        gone |= {i: best for i in members if i != best}
    for i, best in sorted(gone.items()):
        dropped.interaction(rows[i], "duplicate", f"repeats {rows[best].id}")
    return [row for i, row in enumerate(rows) if i not in gone]


def _alike(corpus: Corpus, a: np.ndarray, b: np.ndarray, config: DedupeConfig) -> np.ndarray:
    texts = corpus.texts.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    alike: np.ndarray = (texts[a] == texts[b]) | (corpus.similarity(a, b) >= config.near_threshold)
    return alike


def _pairs(places: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs within each group; in a huge one, neighbours and the first with all."""
    firsts, seconds = [], []
    for place in places:
        for distance in range(1, min(len(place), MAX_GROUP)):
            firsts += place[:-distance]
            seconds += place[distance:]
        if len(place) > MAX_GROUP:
            firsts += [place[0]] * (len(place) - 1)
            seconds += place[1:]
    return np.array(firsts, dtype=np.int64), np.array(seconds, dtype=np.int64)


def _rank(row: Row) -> tuple[bool, bool, float, float, str]:
    """Order by what a row is worth: compared, corrected, evidence, age."""
    compared = any(item.signal == "preference" for item in row.feedback)
    return (not compared, row.correction is None, -row.weight, row.ts, row.id)
