"""Which of many sets are nearly the same: MinHash by bands, every pair verified."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_RECALL = 0.995  # of pairs exactly at the threshold; higher above it
MAX_RUN = 50  # neighbours compared in one bucket; its first member is compared with all
PAIRS_AT_ONCE = 100_000
ROWS_AT_ONCE = 20_000
Ints = NDArray[np.int64]


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

    @classmethod
    def join(cls, parts: Sequence[Sets]) -> Sets:
        """Return the sets of all parts, one after another."""
        sizes = [np.zeros(0, dtype=np.int64), *(part.sizes for part in parts)]
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64)
        codes = [np.zeros(0, dtype=np.uint32), *(part.codes for part in parts)]
        return cls(np.concatenate(codes), offsets)

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
            np.divide(n_shared, either, out=result[start : start + PAIRS_AT_ONCE], where=either > 0)
        return result


def _places(starts: Ints, sizes: Ints) -> Ints:
    """Return start, start + 1, … of each run, one run after another."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + sizes, sizes)


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
