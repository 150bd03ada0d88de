"""Which texts say nearly the same: shingles in columns, MinHash candidates, verified Jaccard.

Two texts are compared by their sets of word 5-grams; where one has fewer than five words, by
their sets of words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

SHINGLE = 5
MIN_RECALL = 0.995  # of pairs exactly at the threshold; higher above it
MAX_RUN = 50  # neighbours compared in one bucket; its first member is compared with all
PAIRS_AT_ONCE = 200_000
Ints = NDArray[np.int64]


def normalise(texts: list[str]) -> pa.Array:
    """Return texts in one form: NFKC, lower case, words and single spaces only.

    Placeholders lose their numbers; Chinese, Japanese and Korean signs become words of one.
    """
    column = pa.array(texts, type=pa.large_string())
    column = pc.replace_substring_regex(column, r"\[([A-Z]+)_\d+\]", r"[\1]")
    column = pc.utf8_lower(pc.utf8_normalize(column, "NFKC"))
    column = pc.replace_substring_regex(
        column, r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}])", r" \1 "
    )
    column = pc.replace_substring_regex(column, r"[^\p{L}\p{N}\p{M}_]+", " ")
    return pc.utf8_trim_whitespace(column)


@dataclass(frozen=True)
class Corpus:
    """Texts as columns of words.

    Attributes:
        texts: Normalised, one a text.
        words: Dictionary number of each word, texts one after another.
        offsets: Where each text's words begin in `words`, and the end.
    """

    texts: pa.Array
    words: Ints
    offsets: Ints

    @classmethod
    def of(cls, texts: pa.Array) -> Corpus:
        """Split normalised texts into words."""
        lists = pc.split_pattern(texts, " ")
        flat = lists.flatten()
        empty = pc.equal(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False)
        lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False) - empty
        flat = flat.filter(pc.greater(pc.binary_length(flat), 0))
        codes = flat.dictionary_encode().indices.to_numpy(zero_copy_only=False)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return cls(texts, codes.astype(np.int64), offsets)

    @property
    def n_words(self) -> Ints:
        """Words of each text."""
        return np.diff(self.offsets)

    @cached_property
    def by_word(self) -> Any:
        """Sparse texts × words, 1 where the text has the word."""
        return self.shingles(1)

    @cached_property
    def by_shingle(self) -> Any:
        """Sparse texts × 5-grams, 1 where the text has it."""
        return self.shingles(SHINGLE)

    def shingles(self, size: int) -> Any:
        """Return the sparse binary matrix texts × word n-grams of this size."""
        row, code = self.ngrams(size)
        return incidence(row, code, len(self.texts))

    def ngrams(self, size: int) -> tuple[Ints, NDArray[np.uint64]]:
        """Return (text, 64-bit code) of every n-gram, in reading order."""
        owner = np.repeat(np.arange(len(self.texts)), self.n_words)
        n = max(len(self.words) - size + 1, 0)
        code = np.zeros(n, dtype=np.uint64)
        for k in range(size):
            word = self.words[k : n + k].astype(np.uint64) + np.uint64(1)
            code = (code ^ (word * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xD6E8FEB86659FD93)
            code ^= code >> np.uint64(32)
        inside = owner[:n] == owner[size - 1 : n + size - 1]
        return owner[:n][inside], code[inside]

    def similarity(self, a: Ints, b: Ints) -> NDArray[np.float64]:
        """Return the Jaccard similarity of each pair (a[i], b[i])."""
        result = np.zeros(len(a))
        for start in range(0, len(a), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            short = np.minimum(self.n_words[a[part]], self.n_words[b[part]]) < SHINGLE
            whole = _jaccard(self.by_shingle, a[part], b[part])
            whole[short] = _jaccard(self.by_word, a[part][short], b[part][short])
            result[part] = whole
        return result


def incidence(row: Ints, code: NDArray[np.uint64], n_rows: int) -> Any:
    """Return a sparse binary matrix, one column a distinct code."""
    from scipy.sparse import csr_matrix

    _, column = np.unique(code, return_inverse=True)
    n_columns = int(column.max()) + 1 if len(column) else 0
    ones = np.ones(len(row), dtype=np.int32)
    matrix = csr_matrix((ones, (row, column)), shape=(n_rows, n_columns))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def _jaccard(matrix: Any, a: Ints, b: Ints) -> NDArray[np.float64]:
    sizes = np.diff(matrix.indptr)
    both = np.asarray(matrix[a].multiply(matrix[b]).sum(axis=1)).ravel()
    either = sizes[a] + sizes[b] - both
    result: NDArray[np.float64] = np.divide(both, either, out=np.zeros(len(a)), where=either > 0)
    return result


def cluster(texts: list[str], *, threshold: float, n_permutations: int, size: int = 5) -> Ints:
    """Return the number of each text's cluster: connected by near-equality of neighbours.

    Args:
        texts: Any texts; equal ones after normalising share a cluster.
        threshold: Jaccard similarity from which two texts are neighbours.
        n_permutations: MinHash permutations for finding candidates.
        size: 5 for word 5-grams (word sets where shorter), 1 for word sets throughout.
    """
    if not texts:
        return np.zeros(0, dtype=np.int64)
    encoded = normalise(texts).dictionary_encode()
    corpus = Corpus.of(encoded.dictionary)
    a, b = _candidates(corpus, threshold, n_permutations, size)
    similar = corpus.similarity(a, b) if size == SHINGLE else _jaccard(corpus.by_word, a, b)
    near = similar >= threshold
    labels = components(a[near], b[near], len(corpus.texts))
    codes: Ints = encoded.indices.to_numpy(zero_copy_only=False)
    return labels[codes]


def components(a: Ints, b: Ints, n: int) -> Ints:
    """Return the component number of each of `n` nodes under the edges (a[i], b[i])."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(a), dtype=np.int8), (a, b)), shape=(n, n))
    labels: Ints = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels


def _candidates(
    corpus: Corpus, threshold: float, n_permutations: int, size: int
) -> tuple[Ints, Ints]:
    """Return pairs that MinHash finds alike; each pair once, the smaller number first."""
    n_words = corpus.n_words
    everything = n_words > 0
    groups = [(everything, 1)]
    if size == SHINGLE:  # a short text's partner has at most 4 / threshold different words
        n_different = np.diff(corpus.by_word.indptr)
        short = everything & (n_different <= (SHINGLE - 1) / threshold)
        groups = [(n_words >= SHINGLE, SHINGLE), (short, 1)]
    n = len(corpus.texts)
    found = [np.zeros(0, dtype=np.int64)]
    for chosen, ngram in groups:
        index = np.flatnonzero(chosen)
        signatures = _minhash(corpus.texts.take(pa.array(index)), ngram, n_permutations)
        for pair in _same_bucket(signatures, threshold):
            a, b = index[pair[0]], index[pair[1]]
            found.append(np.minimum(a, b) * n + np.maximum(a, b))
    pairs = np.unique(np.concatenate(found))
    return pairs // n, pairs % n


def _minhash(texts: pa.Array, ngram: int, n_permutations: int) -> NDArray[np.uint32]:
    """Return MinHash signatures, texts × permutations."""
    import daft
    from daft import col

    if not len(texts):
        return np.zeros((0, n_permutations), dtype=np.uint32)
    frame = daft.from_arrow(pa.table({"i": np.arange(len(texts)), "text": texts}))
    hashed = frame.select(
        "i", col("text").minhash(num_hashes=n_permutations, ngram_size=ngram, seed=1).alias("h")
    ).to_arrow()
    hashed = hashed.sort_by("i")  # a cluster may hand parts back in any order
    flat: NDArray[np.uint32] = pc.list_flatten(hashed["h"]).to_numpy()
    return flat.reshape(len(texts), n_permutations)


def _same_bucket(signatures: NDArray[np.uint32], threshold: float) -> list[tuple[Ints, Ints]]:
    """Return pairs that agree in a whole band of permutations."""
    n_rows = band_rows(threshold, signatures.shape[1])
    pairs = []
    for start in range(0, signatures.shape[1] - n_rows + 1, n_rows):
        band = np.ascontiguousarray(signatures[:, start : start + n_rows]).astype(np.uint64)
        key = np.zeros(len(band), dtype=np.uint64)
        for column in band.T:
            key = (key ^ column) * np.uint64(0x9E3779B97F4A7C15)
            key ^= key >> np.uint64(29)
        order = np.argsort(key, kind="stable")
        key = key[order]
        first = np.maximum.accumulate(
            np.where(np.concatenate([[True], key[1:] != key[:-1]]), np.arange(len(key)), 0)
        )
        pairs.append((order[first], order))
        for distance in range(1, min(MAX_RUN, len(key))):
            same = np.flatnonzero(key[distance:] == key[:-distance])
            if not len(same):
                break
            pairs.append((order[same], order[same + distance]))
    return [(a[a != b], b[a != b]) for a, b in pairs]


def band_rows(threshold: float, n_permutations: int) -> int:
    """Return the most permutations a band whose bands together still find nearly every pair.

    A pair of similarity s agrees in one of b bands of r rows with probability 1 - (1 - s^r)^b.
    Source: Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, 3.4.
    """
    best = 1
    for rows in range(2, n_permutations + 1):
        bands = n_permutations // rows
        if 1 - math.pow(1 - threshold**rows, bands) >= MIN_RECALL:
            best = rows
    return best
