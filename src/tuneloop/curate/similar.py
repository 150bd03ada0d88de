"""Which texts say nearly the same: shingles in columns, MinHash candidates, verified Jaccard.

Two texts are compared by their sets of word 5-grams; where one has fewer than five words, by
their sets of words.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tuneloop.curate.lookalikes import fold
from tuneloop.curate.near import Sets, near_pairs

SHINGLE = 5
PAIRS_AT_ONCE = 200_000
_SIGN = r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}])"
Ints = NDArray[np.int64]


def normalise(texts: list[str] | pa.Array) -> pa.Array:
    """Return texts in one form: NFKC, lower case, words and single spaces only, lookalikes folded.

    Placeholders lose their numbers; Chinese, Japanese and Korean signs become words of one.
    """
    column = pa.array(texts, type=pa.large_string()) if isinstance(texts, list) else texts
    column = pc.replace_substring_regex(column, r"\[([A-Z]+)_\d+\]", r"[\1]")
    column = fold(pc.utf8_lower(pc.utf8_normalize(column, "NFKC")))
    column = _spaced(column)
    # Single spaces are most of what is between words, and stay as they are.
    column = pc.replace_substring_regex(
        column, r" *[^\p{L}\p{N}\p{M}_ ][^\p{L}\p{N}\p{M}_]*|  +", " "
    )
    return pc.utf8_trim_whitespace(column)


def _spaced(texts: pa.Array) -> pa.Array:
    """Return texts with their Chinese, Japanese and Korean signs apart; ASCII has none."""
    wide = pc.invert(pc.string_is_ascii(texts))
    signs = texts.filter(wide)
    if not len(signs):
        return texts
    apart = pc.replace_substring_regex(signs, _SIGN, r" \1 ")
    return pc.replace_with_mask(texts, wide, apart)


def hash_texts(texts: pa.Array) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each text, the same everywhere (xxh3); 0 for null."""
    from xxhash import xxh3_64_intdigest

    encoded = texts.cast(pa.large_binary()).to_pylist()
    values = (0 if text is None else xxh3_64_intdigest(text) for text in encoded)
    return np.fromiter(values, dtype=np.uint64, count=len(texts))


@dataclass(frozen=True)
class Corpus:
    """Texts as columns of words.

    Attributes:
        texts: Normalised, one a text.
        words: Number of each word, texts one after another: its place in the dictionary of
            this corpus or, where that is `stable`, a hash.
        offsets: Where each text's words begin in `words`, and the end.
        dictionary: The different words, in order of first appearance.
    """

    texts: pa.Array
    words: Ints
    offsets: Ints
    dictionary: pa.Array | None = None

    @classmethod
    def of(cls, texts: pa.Array, *, stable: bool = False) -> Corpus:
        """Split normalised texts into words; `stable` numbers are equal in every corpus."""
        lists = pc.split_pattern(texts, " ")
        flat = lists.flatten()
        empty = pc.equal(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False)
        lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False) - empty
        flat = flat.filter(pc.greater(pc.binary_length(flat), 0))
        coded = flat.dictionary_encode()
        codes = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        if stable:
            codes = hash_texts(coded.dictionary).view(np.int64)[codes]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return cls(texts, codes, offsets, coded.dictionary)

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

    def ngrams(self, size: int, *, known_only: bool = False) -> tuple[Ints, NDArray[np.uint64]]:
        """Return (text, 64-bit code) of every n-gram, in reading order.

        Args:
            size: Words of an n-gram.
            known_only: Leave out n-grams with a word numbered -1.
        """
        owner = np.repeat(np.arange(len(self.texts)), self.n_words)
        n = max(len(self.words) - size + 1, 0)
        chosen = owner[:n] == owner[size - 1 : n + size - 1]
        if known_only:
            known = self.words >= 0
            for k in range(size):
                chosen &= known[k : n + k]
        at = np.flatnonzero(chosen)
        code = np.zeros(len(at), dtype=np.uint64)
        for k in range(size):
            word = self.words[at + k].astype(np.uint64) + np.uint64(1)
            code = (code ^ (word * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xD6E8FEB86659FD93)
            code ^= code >> np.uint64(32)
        return owner[at], code

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


def fingerprints(corpus: Corpus, threshold: float) -> tuple[Sets, Sets]:
    """Return each text's set of word 5-grams, and its set of words where those are few.

    A text with fewer than five words has no 5-grams and is compared by its words; its partner
    has at most 4 / threshold different words, so that longer ones need no set of words.
    """
    n = len(corpus.texts)
    words = Sets.of(*corpus.ngrams(1), n)
    few = words.sizes <= (SHINGLE - 1) / threshold
    kept = np.repeat(few, words.sizes)
    offsets = np.concatenate([[0], np.cumsum(np.where(few, words.sizes, 0))]).astype(np.int64)
    return Sets.of(*corpus.ngrams(SHINGLE), n), Sets(words.codes[kept], offsets)


def near_questions(
    shingles: Sets, words: Sets, *, threshold: float, n_permutations: int
) -> tuple[Ints, Ints]:
    """Return the pairs (smaller number first) whose fingerprints are alike; each pair once."""
    a, b = near_pairs(shingles, threshold=threshold, n_permutations=n_permutations)
    few = np.flatnonzero(words.sizes > 0)
    c, d = near_pairs(words.take(few), threshold=threshold, n_permutations=n_permutations)
    c, d = few[c], few[d]
    short = np.minimum(shingles.sizes[c], shingles.sizes[d]) == 0  # two long ones: by 5-grams
    pairs = np.unique(np.concatenate([a * len(shingles) + b, (c * len(shingles) + d)[short]]))
    return pairs // max(len(shingles), 1), pairs % max(len(shingles), 1)


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
    options: dict[str, Any] = {"threshold": threshold, "n_permutations": n_permutations}
    if size == SHINGLE:
        a, b = near_questions(*fingerprints(corpus, threshold), **options)
    else:
        a, b = near_pairs(Sets.of(*corpus.ngrams(size), len(corpus.texts)), **options)
    labels = components(a, b, len(corpus.texts))
    codes: Ints = encoded.indices.to_numpy(zero_copy_only=False)
    return labels[codes]


def components(a: Ints, b: Ints, n: int) -> Ints:
    """Return the component number of each of `n` nodes under the edges (a[i], b[i])."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(a), dtype=np.int8), (a, b)), shape=(n, n))
    labels: Ints = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels
