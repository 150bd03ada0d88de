"""The guard between training and the golden set: word for word, nearly, and by meaning.

`Guard.check` compares the words of each batch; `meaning.compare_meanings` then encodes what is
left, over all rows; `settle.settle` says which rows go, or stops the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.artefacts.golden import GoldenPrompt, Status
from tuneloop.config.golden import LeakConfig
from tuneloop.curate.overlap import EXACT, NEAR, Matches, Overlap
from tuneloop.curate.question import question_of
from tuneloop.curate.semantic import alike_share, nearest
from tuneloop.curate.similar import SHINGLE, Corpus, normalise

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


def asked(messages: list[dict[str, Any]]) -> str:
    """Return the question of a conversation, by the rule that questions of rows follow."""
    return question_of(messages)


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
        golden = golden if config.enabled else []
        self.ids = [prompt.id for prompt in golden]
        self.config = config
        self.encoder = encoder if config.semantic != "off" else None
        self._texts = [asked(prompt.messages) for prompt in golden]
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
        if turns is None:
            found = self._questions.match(questions)
        else:
            flat, owner = turns.flatten().cast(pa.large_string()), owners(turns)
            long = np.flatnonzero(
                pc.fill_null(pc.count_substring(flat, " "), 0).to_numpy(zero_copy_only=False)
                >= SHINGLE - 1
            )
            # Most turns are the question of another row, and are looked at once.
            said = [questions.cast(pa.large_string()), flat.take(pa.array(long))]
            every = self._questions.match(pa.concat_arrays(said))
            place = np.arange(len(every.kind))
            found = every.take(place[: len(questions)])
            _merge(found, every.take(place[len(questions) :]), owner[long])
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
        return alike_share(vectors, self.config.semantic_threshold) > NARROW

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
    sizes = np.diff(shingles.indptr)
    pairs = (shingles @ shingles.T).tocoo()
    either = sizes[pairs.row] + sizes[pairs.col] - pairs.data
    alike = np.bincount(pairs.row[pairs.data >= near * either], minlength=len(long))
    return [int(i) for i in long[alike == 1]]


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
