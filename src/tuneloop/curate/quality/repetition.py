"""Answers that go round in circles, by the measures of Gopher.

Source: Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training
Gopher", table A1. Its thresholds were set for web pages; what differs here is said below.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

MIN_WORDS = 24
"""Answers of fewer words are not judged: two equal sentences would do."""
MAX_LINES = 0.30
"""Share of lines that stood before."""
MAX_LINE_CHARS = 0.20
"""Share of characters in such lines."""
MAX_TOP = {2: 0.20, 3: 0.18, 4: 0.16}
"""Share of characters in the most common word n-gram."""
MAX_AGAIN = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
"""Share of characters in word n-grams that stood before."""
_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass
class _Words:
    """The words of some texts, one after the other.

    Attributes:
        code: The same number for the same word.
        owner: Which text it is of, ascending.
        flat: The words.
    """

    code: NDArray[np.uint64]
    owner: NDArray[np.int64]
    flat: pa.Array

    @cached_property
    def size(self) -> NDArray[np.int64]:
        """Characters of each word."""
        lengths = pc.utf8_length(self.flat).to_numpy(zero_copy_only=False)
        return np.asarray(lengths, dtype=np.int64)

    def grams(self, n: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Return (hash, place of the first word) of each n-gram within one text."""
        last = len(self.code) - n + 1
        gram = np.zeros(max(last, 0), np.uint64)
        for k in range(n if last > 0 else 0):
            gram = (gram ^ self.code[k : last + k]) * _ODD
            gram ^= gram >> np.uint64(29)
        place = np.flatnonzero(self.owner[: len(gram)] == self.owner[n - 1 :][: len(gram)])
        return gram[place], place

    def of(self, texts: NDArray[np.int64]) -> _Words:
        """Return the words of these texts alone."""
        mine = np.isin(self.owner, texts)
        return _Words(self.code[mine], self.owner[mine], self.flat.filter(pa.array(mine)))


def split_words(texts: pa.Array) -> pa.ListArray:
    """Return the words of each text: what white space parts."""
    return pc.ascii_split_whitespace(pc.utf8_trim_whitespace(texts))


def repetitive(
    texts: pa.Array, scale: float = 1.0, *, lists: pa.ListArray | None = None
) -> NDArray[np.bool_]:
    """Return which texts repeat themselves beyond one of the thresholds, times `scale`.

    Only texts in which word 4-grams repeat are looked at closer: without them no line of four
    words and no longer n-gram does.

    Args:
        texts: n of them.
        scale: What the thresholds are multiplied by.
        lists: Their words (`split_words`), where known.
    """
    n = len(texts)
    hits = np.zeros(n, np.bool_)
    n_chars = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
    if not (n_chars >= 2 * MIN_WORDS).any():
        return hits
    words = _words(split_words(texts) if lists is None else lists)
    n_words = np.bincount(words.owner, minlength=n)
    gram, place = words.grams(4)
    # Sorted with their text in the upper bits, equal ones are neighbours.
    owned = (words.owner[place].astype(np.uint64) << np.uint64(40)) | (gram >> np.uint64(24))
    owned.sort()
    again = owned[1:][owned[1:] == owned[:-1]] >> np.uint64(40)
    n_again = np.bincount(again.astype(np.int64), minlength=n)
    # The least threshold is a tenth of the characters; words differ in length.
    long = (n_words >= MIN_WORDS) & (n_chars >= 2 * MIN_WORDS)
    chosen = np.flatnonzero(long & (n_again > 0.08 * n_words))
    hits = _grams_beyond(words.of(chosen), n, scale)
    for number in chosen[~hits[chosen]].tolist():
        hits[number] = _lines_beyond(texts[number].as_py(), scale)
    return hits


def _words(lists: pa.ListArray) -> _Words:
    flat = lists.flatten()
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    code = flat.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.uint64)
    return _Words(code + np.uint64(1), np.repeat(np.arange(len(lists)), lengths), flat)


def _again(items: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which items stood before."""
    order = np.argsort(items, kind="stable")
    again = np.zeros(len(items), np.bool_)
    again[order[1:]] = items[order[1:]] == items[order[:-1]]
    return again


def _grams_beyond(words: _Words, n_texts: int, scale: float) -> NDArray[np.bool_]:
    """Return which of the texts have too much in their top or repeated n-grams."""
    total = np.bincount(words.owner, weights=words.size, minlength=n_texts)
    hits = np.zeros(n_texts, np.bool_)
    ends = np.concatenate([[0], np.cumsum(words.size)])
    for n, most in MAX_TOP.items():
        gram, place = words.grams(n)
        owned = gram ^ (words.owner[place].astype(np.uint64) * _ODD)
        _, first, number, times = np.unique(
            owned, return_index=True, return_inverse=True, return_counts=True
        )
        chars = np.where(times > 1, times * (ends[place[first] + n] - ends[place[first]]), 0)
        top = np.zeros(n_texts)
        np.maximum.at(top, words.owner[place], chars[number])
        hits |= top > scale * most * total
    for n, most in MAX_AGAIN.items():
        gram, place = words.grams(n)
        starts = place[_again(gram ^ (words.owner[place].astype(np.uint64) * _ODD))]
        step = np.zeros(len(words.code) + 1, np.int64)
        np.add.at(step, starts, 1)
        np.add.at(step, starts + n, -1)
        covered = np.cumsum(step)[:-1] > 0
        chars = np.bincount(words.owner, weights=words.size * covered, minlength=n_texts)
        hits |= chars > scale * most * total
    return hits & (total > 0)


def _lines_beyond(text: str, scale: float) -> bool:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    seen: set[str] = set()
    again = []
    for line in lines:
        if line in seen:
            again.append(line)
        seen.add(line)
    many = len(again) > scale * MAX_LINES * len(lines)
    chars = scale * MAX_LINE_CHARS * sum(map(len, lines))
    return len(lines) >= 4 and many and sum(map(len, again)) > chars
