"""Which texts repeat one of a few held texts, word for word or nearly: exhaustive, by batch.

Only words and 5-grams that a held text has can match, so a batch is first reduced to these;
what may reach a threshold is then compared exactly. No candidate is missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tuneloop.curate.similar import SHINGLE, Corpus, incidence, normalise

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
EXACT, NEAR, CONTAINED = 1, 2, 3
MIN_CONTAINED_WORDS = 8
"""Shorter texts are found inside others by chance."""
MAX_SHORT_WORDS = 40
"""A text of more words is no repetition of a held one of under five, whatever it repeats."""


@dataclass
class Matches:
    """The best match of each of n texts.

    Attributes:
        kind: 0 none, else EXACT, NEAR or CONTAINED; int8.
        index: Number of the held text, -1 none; int32.
        similarity: Jaccard, or the share of the held text for CONTAINED; float32.
    """

    kind: NDArray[np.int8]
    index: NDArray[np.int32]
    similarity: NDArray[np.float32]

    @classmethod
    def none(cls, n: int) -> Matches:
        """Return n texts without a match."""
        return cls(np.zeros(n, np.int8), np.full(n, -1, np.int32), np.zeros(n, np.float32))

    def take(self, which: Ints) -> Matches:
        """Return the matches of these texts."""
        return Matches(self.kind[which], self.index[which], self.similarity[which])

    def fill(self, more: Matches) -> None:
        """Take matches over for the texts that have none yet."""
        free = self.kind == 0
        for mine, theirs in ((self.index, more.index), (self.similarity, more.similarity)):
            mine[free] = theirs[free]
        self.kind[free] = more.kind[free]

    def offer(self, at: Ints, kind: int, index: Ints, similarity: NDArray[Any]) -> None:
        """Note pairs; a text keeps its strongest kind, then the most similar, then the first."""
        if not len(at):
            return
        order = np.lexsort((index, -similarity, at))
        at, index, similarity = at[order], index[order], similarity[order]
        first = np.flatnonzero(np.diff(at, prepend=-1))
        at, index, similarity = at[first], index[first], similarity[first]
        free = self.kind[at] == 0
        self.kind[at[free]] = kind
        self.index[at[free]] = index[free]
        self.similarity[at[free]] = similarity[free]


class Overlap:
    """Held texts, ready to be compared with batches of others.

    Args:
        texts: The held texts.
        near: Jaccard similarity of word 5-grams (words, where one has fewer than five) from
            which a text is NEAR.
        contained: Share of a held text's 5-grams from which it is CONTAINED; above 1 never.
    """

    def __init__(self, texts: Sequence[str], *, near: float, contained: float) -> None:
        self.near, self.contained = near, contained
        self.normal = _form(pa.array(texts, type=pa.large_string()))
        corpus = Corpus.of(self.normal)
        self.vocabulary = corpus.dictionary
        self.n_words = corpus.n_words
        self._by = {size: _Index.of(corpus, size) for size in (1, SHINGLE)}
        short = self.n_words < SHINGLE
        self._short, self._long = (self._by[1].only(which) for which in (short, ~short))

    def match(self, texts: pa.Array) -> Matches:
        """Return the best match of each text; a null matches nothing."""
        encoded = _form(texts).dictionary_encode()
        found = Matches.none(len(encoded.dictionary))
        if len(self.n_words) and len(encoded.dictionary):
            self._match(encoded.dictionary, found)
        codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        return found.take(codes)

    def likeness(self, texts: pa.Array) -> NDArray[np.float32]:
        """Return the highest cosine of word sets to a held text, rarer words weighing more.

        Words are weighed by how few held texts have them; words of most of them count nothing.
        """
        return self._by[1].cosine(self._known(Corpus.of(_form(texts))))

    def _known(self, whole: Corpus) -> Corpus:
        """Return the texts with their words as the held texts number them, -1 where unknown."""
        place = _positions(whole.dictionary, self.vocabulary)
        words = place[whole.words] if len(place) else whole.words
        return Corpus(whole.texts, words, whole.offsets)

    def _match(self, texts: pa.Array, found: Matches) -> None:
        index = _positions(texts, self.normal)
        at = np.flatnonzero((index >= 0) & (pc.binary_length(texts).to_numpy() > 0))
        found.offer(at, EXACT, index[at], np.ones(len(at)))
        whole = Corpus.of(texts)
        known = self._known(whole)
        by_shingle = self._by[SHINGLE].shared(known, whole.n_words >= SHINGLE)
        share = by_shingle.count / self._by[SHINGLE].sizes[by_shingle.held]
        near = [self._near(by_shingle.where(share >= self.near), whole, SHINGLE)]
        for held, chosen in (
            (self._short, whole.n_words <= MAX_SHORT_WORDS),
            (self._long, whole.n_words < SHINGLE),
        ):
            by_word = held.shared(known, chosen)
            enough = by_word.count >= self.near * self._by[1].sizes[by_word.held]
            near.append(self._near(by_word.where(enough), whole, 1))
        at, index, similarity = (np.concatenate(column) for column in zip(*near, strict=True))
        found.offer(at, NEAR, index, similarity)
        quoted = (share >= self.contained) & (self.n_words[by_shingle.held] >= MIN_CONTAINED_WORDS)
        inside = by_shingle.where(quoted)
        found.offer(inside.text, CONTAINED, inside.held, share[quoted])

    def _near(self, pairs: _Pairs, whole: Corpus, size: int) -> tuple[Ints, Ints, Floats]:
        """Return the pairs whose Jaccard similarity reaches the threshold."""
        texts, place = np.unique(pairs.text, return_inverse=True)
        chosen = Corpus.of(whole.texts.take(pa.array(texts)))
        sizes = np.diff(chosen.shingles(size).indptr)[place]
        similarity = pairs.count / (self._by[size].sizes[pairs.held] + sizes - pairs.count)
        near = similarity >= self.near
        return pairs.text[near], pairs.held[near], similarity[near]


@dataclass
class _Pairs:
    """Texts and held texts that share n-grams, and how many different ones."""

    text: Ints
    held: Ints
    count: Ints

    def where(self, which: Flags) -> _Pairs:
        return _Pairs(self.text[which], self.held[which], self.count[which])


@dataclass
class _Index:
    """The different n-grams of the held texts."""

    size: int
    codes: NDArray[np.uint64]  # ascending
    columns: Any  # sparse codes × held texts
    sizes: Ints  # n-grams of each held text

    @classmethod
    def of(cls, corpus: Corpus, size: int) -> _Index:
        row, code = corpus.ngrams(size)
        matrix = incidence(row, code, len(corpus.texts))  # columns in ascending order of code
        return cls(size, np.unique(code), matrix.T.tocsr(), np.diff(matrix.indptr).astype(np.int64))

    def only(self, which: Flags) -> _Index:
        """Return the index of these held texts alone, under their numbers."""
        from scipy.sparse import diags

        columns = (self.columns @ diags(which.astype(np.int32), dtype=np.int32)).tocsr()
        columns.eliminate_zeros()
        used = np.flatnonzero(np.diff(columns.indptr))
        return _Index(self.size, self.codes[used], columns[used], self.sizes)

    def shared(self, texts: Corpus, chosen: Flags) -> _Pairs:
        """Return every pair of a chosen text and a held one that shares an n-gram."""
        from scipy.sparse import csr_matrix

        row, code = texts.ngrams(self.size, known_only=True)
        if not len(self.codes):
            return _Pairs(*(np.zeros(0, dtype=np.int64) for _ in range(3)))
        place = np.minimum(np.searchsorted(self.codes, code), len(self.codes) - 1)
        hit = (self.codes[place] == code) & chosen[row]
        cells = np.unique(row[hit] * len(self.codes) + place[hit])  # a repeated n-gram counts once
        ones = np.ones(len(cells), dtype=np.int32)
        shape = (len(texts.texts), len(self.codes))
        where = (cells // len(self.codes), cells % len(self.codes))
        product = (csr_matrix((ones, where), shape=shape) @ self.columns).tocoo()
        return _Pairs(product.row.astype(np.int64), product.col.astype(np.int64), product.data)

    def cosine(self, texts: Corpus) -> NDArray[np.float32]:
        """Return the highest cosine of each text to a held one, n-grams weighed by rarity."""
        from scipy.sparse import csr_matrix, diags

        n_held = self.columns.shape[1]
        rarity = np.log(n_held / np.maximum(np.diff(self.columns.indptr), 1))
        held = diags(rarity) @ self.columns
        length = np.sqrt(np.asarray(held.multiply(held).sum(axis=0)).ravel())
        held = held @ diags(1 / np.maximum(length, 1e-9))
        row, code = texts.ngrams(self.size)
        place = np.minimum(np.searchsorted(self.codes, code), len(self.codes) - 1)
        hit = self.codes[place] == code
        weight = rarity[place[hit]]
        shape = (len(texts.texts), len(self.codes))
        mine = csr_matrix((weight, (row[hit], place[hit])), shape=shape)
        # Unknown words are as rare as can be.
        missing = np.bincount(row[~hit], minlength=shape[0]) * np.log(max(n_held, 2)) ** 2
        length = np.sqrt(np.asarray(mine.multiply(mine).sum(axis=1)).ravel() + missing)
        best = (mine @ held).max(axis=1).toarray().ravel() / np.maximum(length, 1e-9)
        likeness: NDArray[np.float32] = best.astype(np.float32)
        return likeness


def _form(texts: pa.Array) -> pa.Array:
    """Return normalised texts; one without a word stays as it is, so that 👍 equals only 👍."""
    texts = pc.fill_null(texts, "").cast(pa.large_string())
    encoded = texts.dictionary_encode()
    normal = normalise(encoded.dictionary)
    bare = pc.utf8_trim_whitespace(encoded.dictionary)
    normal = pc.if_else(pc.equal(pc.binary_length(normal), 0), bare, normal)
    return normal.take(encoded.indices)


def _positions(values: pa.Array, among: pa.Array) -> Ints:
    """Return the first place of each value in `among`, -1 where it is not there."""
    found = pc.index_in(values, value_set=among).fill_null(-1)
    places: Ints = found.to_numpy(zero_copy_only=False).astype(np.int64)
    return places
