"""The guard between training and the golden set: word for word, nearly, and by meaning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.artefacts.golden import GoldenPrompt, Status
from tuneloop.config.data import LeakConfig as RowLeakConfig
from tuneloop.config.golden import LeakConfig
from tuneloop.curate.overlap import EXACT, NEAR, Matches, Overlap
from tuneloop.curate.rows import Dropped, Row, question_of
from tuneloop.curate.semantic import nearest
from tuneloop.curate.similar import SHINGLE, Corpus, normalise
from tuneloop.errors import LeakError

if TYPE_CHECKING:
    from tuneloop.runtime.encoder import Encoder

KINDS = ("", "exact", "near", "contained", "semantic", "reference", "source")
"""How a row repeats a golden prompt; the code of a kind is its place here."""
SEMANTIC, REFERENCE, SOURCE = 4, 5, 6
MIN_REFERENCE_WORDS = 20
NARROW = 0.05
"""From this share of golden prompts that another one is as near to as a leak would be, meaning
alone cannot tell the same question from one of the same domain."""
MAX_LISTED = 10


def held_statuses(config: LeakConfig) -> tuple[Status, ...]:
    """Return which golden prompts training is kept from."""
    return ("active", "candidate") if config.hold_out_candidates else ("active",)


class Guard:
    """Finds what repeats a golden prompt, batch by batch. May be pickled.

    Args:
        golden: What training is kept from (`held_statuses`), redacted as the rows are.
        config: Thresholds.
        encoder: What compares meanings; None: nothing does.
    """

    def __init__(
        self, golden: Sequence[GoldenPrompt], config: LeakConfig, encoder: Encoder | None = None
    ) -> None:
        self.ids = [prompt.id for prompt in golden]
        self.config = config
        self.encoder = encoder if config.semantic != "off" else None
        self._texts = [question_of(prompt.messages) for prompt in golden]
        self._questions = Overlap(
            self._texts, near=config.near_threshold, contained=config.contained_threshold
        )
        self._telling = _telling(golden, config.near_threshold) if config.references else []
        self._references = Overlap(
            [golden[i].reference or "" for i in self._telling],
            near=config.near_threshold, contained=config.contained_threshold,
        )  # fmt: skip
        sources = {id: i for i, p in enumerate(golden) for id in p.source.interaction_ids}
        self._source_ids = pa.array(list(sources), type=pa.large_string())
        self._source_of = np.array(list(sources.values()), dtype=np.int32)

    def check(
        self,
        questions: pa.Array,
        turns: pa.ListArray | None = None,
        answers: Sequence[pa.Array] = (),
        ids: pa.Array | None = None,
    ) -> Matches:
        """Return how each of n rows repeats a golden prompt, meaning aside; codes of KINDS.

        Args:
            questions: The question of each row.
            turns: What else was said to the model in each row: user turns, system prompts.
                Turns of under five words are passed over.
            answers: Columns of texts that could be trained on: answers, corrections, edits.
            ids: Ids of the interactions; those a golden prompt was made from are its SOURCE.
        """
        found = self._questions.match(questions)
        if turns is not None:
            flat, owner = turns.flatten(), owners(turns)
            long = np.flatnonzero(
                pc.fill_null(pc.count_substring(flat, " "), 0).to_numpy(zero_copy_only=False)
                >= SHINGLE - 1
            )
            said = self._questions.match(flat.take(pa.array(long)))
            _merge(found, said, owner[long])
        for column in answers if self._telling else ():
            given = self._references.match(column)
            at = np.flatnonzero((given.kind == EXACT) | (given.kind == NEAR))
            index = np.array(self._telling, dtype=np.int64)[given.index[at]]
            found.offer(at, REFERENCE, index, given.similarity[at])
        if ids is not None and len(self._source_ids):
            place = pc.index_in(ids.cast(pa.large_string()), value_set=self._source_ids)
            at = np.flatnonzero(place.is_valid().to_numpy(zero_copy_only=False))
            found.kind[at] = SOURCE
            found.index[at] = self._source_of[place.drop_null().to_numpy()]
            found.similarity[at] = 1
        return found

    def check_meaning(self, questions: pa.Array) -> Matches:
        """Return which of n questions are golden ones in other words; none without an encoder.

        Encodes every different question: see `most_alike` for choosing those worth it.
        """
        found = Matches.none(len(questions))
        if self.encoder is None or not self._texts or not len(questions):
            return found
        encoded = pc.fill_null(questions, "").dictionary_encode()
        vectors = self.encoder.encode(encoded.dictionary.to_pylist())
        index, similarity = nearest(vectors, self.encoder.encode(self._texts))
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        index, similarity = index[codes], similarity[codes]
        at = np.flatnonzero(similarity >= self.config.semantic_threshold)
        found.offer(at, SEMANTIC, index[at], similarity[at])
        return found

    @cached_property
    def narrow(self) -> bool:
        """Whether golden prompts, each another question, are as near as a leak would be."""
        if self.encoder is None or len(self._texts) < 2:
            return False
        vectors = self.encoder.encode(self._texts)
        cosine = vectors @ vectors.T
        np.fill_diagonal(cosine, -1)
        share = (cosine.max(axis=1) >= self.config.semantic_threshold).mean()
        return bool(share > NARROW)

    def likeness(self, questions: pa.Array) -> np.ndarray:
        """Return how many of its rarer words each of n questions shares with a golden one, 0 … 1.

        Cheap, and only an order: the questions that come first are worth encoding first.
        """
        return self._questions.likeness(questions)


def _telling(golden: Sequence[GoldenPrompt], near: float) -> list[int]:
    """Return the prompts whose reference would give them away: long, and nobody else's."""
    texts = [prompt.reference or "" for prompt in golden]
    corpus = Corpus.of(normalise(texts))
    long = np.flatnonzero(corpus.n_words >= MIN_REFERENCE_WORDS)
    shingles = corpus.by_shingle[long]
    shared = (shingles @ shingles.T).toarray()
    sizes = np.diff(shingles.indptr)
    alike = shared / (sizes[:, None] + sizes[None, :] - shared) >= near
    return [int(i) for i in long[alike.sum(axis=1) == 1]]


def owners(lists: pa.ListArray) -> np.ndarray:
    """Return of each value in the lists the number of its list."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return np.repeat(np.arange(len(lists)), lengths)


def _merge(found: Matches, more: Matches, owner: np.ndarray) -> None:
    """Give each row the strongest kind among its own match and those of its texts."""
    has = more.kind > 0
    kind, row = more.kind[has], owner[has]
    index, similarity = more.index[has].astype(np.int64), more.similarity[has]
    order = np.lexsort((index, -similarity, kind, row))
    first = order[np.flatnonzero(np.diff(row[order], prepend=-1))]
    at = row[first]
    mine = found.kind[at]
    better = (mine == 0) | (kind[first] < mine) | (
        (kind[first] == mine) & (similarity[first] > found.similarity[at])
    )  # fmt: skip
    at, first = at[better], first[better]
    found.kind[at], found.index[at] = kind[first], index[first]
    found.similarity[at] = similarity[first]


# -- on rows, until curation works on columns -----------------------------------------------
GOLDEN_AT_ONCE = 64


@dataclass(frozen=True)
class Leak:
    """One interaction that repeats one golden prompt."""

    golden_id: str
    interaction_id: str
    similarity: float


def guard(
    rows: list[Row], golden: list[GoldenPrompt], config: RowLeakConfig, dropped: Dropped
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
