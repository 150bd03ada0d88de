"""Which texts say nearly the same: shingles in columns, MinHash candidates, verified Jaccard.

Two texts are compared by their sets of word 5-grams; where one has fewer than five words, by
their sets of words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
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
PAIRS_AT_ONCE = 100_000
ROWS_AT_ONCE = 20_000
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
    """

    texts: pa.Array
    words: Ints
    offsets: Ints

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
        return cls(texts, codes, offsets)

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


@dataclass(frozen=True)
class Sets:
    """n sets of 32-bit codes; those of text i are `codes[offsets[i]:offsets[i + 1]]`, ascending."""

    codes: NDArray[np.uint32]
    offsets: Ints

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def sizes(self) -> Ints:
        """Codes of each set."""
        return np.diff(self.offsets)

    @classmethod
    def of(cls, owner: Ints, code: NDArray[np.uint64], n: int) -> Sets:
        """Return n sets from (owner, 64-bit code) in any order; repetitions count once."""
        keyed = (owner.astype(np.uint64) << np.uint64(32)) | (code >> np.uint64(32))
        keyed.sort()
        if len(keyed):
            keyed = keyed[np.concatenate([[True], keyed[1:] != keyed[:-1]])]
        sizes = np.bincount((keyed >> np.uint64(32)).astype(np.int64), minlength=n)
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return cls(keyed.astype(np.uint32), offsets)

    def take(self, rows: Ints) -> Sets:
        """Return the sets of these rows, in this order."""
        sizes = self.sizes[rows]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        codes = np.empty(offsets[-1], dtype=np.uint32)
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            low, high = offsets[start], offsets[min(start + ROWS_AT_ONCE, len(rows))]
            codes[low:high] = self.codes[_places(self.offsets[rows[part]], sizes[part])]
        return Sets(codes, offsets)

    def jaccard(self, a: Ints, b: Ints) -> NDArray[np.float64]:
        """Return the Jaccard similarity of each pair (a[i], b[i]); 0 where both are empty."""
        result = np.zeros(len(a))
        sizes = self.sizes
        for start in range(0, len(a), PAIRS_AT_ONCE):
            one, two = a[start : start + PAIRS_AT_ONCE], b[start : start + PAIRS_AT_ONCE]
            pair = np.arange(len(one), dtype=np.uint64) << np.uint64(32)
            keyed = [
                np.repeat(pair, sizes[side])
                | self.codes[_places(self.offsets[side], sizes[side])].astype(np.uint64)
                for side in (one, two)
            ]
            both = np.concatenate(keyed)
            both.sort()
            shared = both[1:][both[1:] == both[:-1]] >> np.uint64(32)
            n_shared = np.bincount(shared.astype(np.int64), minlength=len(one))
            either = sizes[one] + sizes[two] - n_shared
            np.divide(
                n_shared, either, out=result[start : start + PAIRS_AT_ONCE], where=either > 0
            )
        return result


def _places(starts: Ints, sizes: Ints) -> Ints:
    """Return start, start + 1, … of each run, one run after another."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + sizes, sizes)


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


def near_pairs(sets: Sets, *, threshold: float, n_permutations: int) -> tuple[Ints, Ints]:
    """Return the pairs of sets that are alike, found by MinHash and verified; each pair once.

    The signatures come and go band by band: memory is one key a set and band, and the pairs.
    """
    n_rows = band_rows(threshold, n_permutations)
    index = np.flatnonzero(sets.sizes > 0)
    starts = sets.offsets[index]
    keys: list[NDArray[np.uint32]] = []
    found = [(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))]
    multiplier = np.random.default_rng(1).integers(1, 2**63, (n_permutations, 2), dtype=np.uint64)
    for first in range(0, n_permutations - n_rows + 1, n_rows):
        keys.append(_band(sets.codes, starts, multiplier[first : first + n_rows]))
        for a, b in _same_key(keys[-1]):
            sizes = sets.sizes[index[a]], sets.sizes[index[b]]
            new = np.minimum(*sizes) >= threshold * np.maximum(*sizes)
            for earlier in keys[:-1]:
                new &= earlier[a] != earlier[b]
            x, y = index[a[new]], index[b[new]]
            near = sets.jaccard(x, y) >= threshold
            found.append((np.minimum(x, y)[near], np.maximum(x, y)[near]))
    return np.concatenate([x for x, _ in found]), np.concatenate([y for _, y in found])


def _band(
    codes: NDArray[np.uint32], starts: Ints, multipliers: NDArray[np.uint64]
) -> NDArray[np.uint32]:
    """Return one key a set: equal where the sets agree in all permutations of the band.

    A permutation is multiply-shift hashing. Source: Dietzfelbinger and others 1997, A Reliable
    Randomized Algorithm for the Closest-Pair Problem.
    """
    keys = np.zeros(len(starts), dtype=np.uint64)
    bounds = np.append(starts, len(codes))
    for first in range(0, len(starts), ROWS_AT_ONCE):
        last = min(first + ROWS_AT_ONCE, len(starts))
        part = codes[bounds[first] : bounds[last]].astype(np.uint64)
        for times, plus in multipliers:
            hashed = ((part * (times | np.uint64(1)) + plus) >> np.uint64(32)).astype(np.uint32)
            lowest = np.minimum.reduceat(hashed, bounds[first:last] - bounds[first])
            mixed = (keys[first:last] ^ lowest) * np.uint64(0x9E3779B97F4A7C15)
            keys[first:last] = mixed ^ (mixed >> np.uint64(29))
    return (keys >> np.uint64(32)).astype(np.uint32)


def _same_key(keys: NDArray[np.uint32]) -> Iterator[tuple[Ints, Ints]]:
    """Yield pairs with the same key, each once.

    All pairs of a short run of equal keys; in a long one each with the next `MAX_RUN`, and the
    first with all.
    """
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    place = np.arange(len(order))
    new = np.concatenate([[True], ordered[1:] != ordered[:-1]]) if len(order) else place > 0
    first = np.maximum.accumulate(np.where(new, place, 0))
    far = np.flatnonzero(place - first >= MAX_RUN)
    yield order[first[far]], order[far]
    near = np.flatnonzero(~new)
    for distance in range(1, MAX_RUN):
        near = near[near - first[near] >= distance]
        if not len(near):
            break
        yield order[near - distance], order[near]


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
