"""Which texts nearly repeat one another, by the measure curation guards the golden set with.

Two texts are compared by their sets of word 5-grams, or by their sets of words where one of
them has fewer than five.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

N_WORDS = 5
_WORD = re.compile(r"\w+")
_EMAIL = re.compile(r"\S+@\S+")
_DIGITS = re.compile(r"\d+")
# Written without spaces: each sign counts as a word.
_SIGNS = re.compile(r"([\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])")
Features = frozenset[str]


@dataclass(frozen=True)
class Wording:
    """A text as its words.

    Case and punctuation do not count. Addresses and numbers are masked, since curation may
    turn them into placeholders and so make texts equal that were not.
    """

    words: list[str]

    @classmethod
    def of(cls, text: str) -> Wording:
        """Return the wording of a text."""
        text = _EMAIL.sub("mail", unicodedata.normalize("NFKC", text).casefold())
        return cls(_WORD.findall(_SIGNS.sub(r" \1 ", _DIGITS.sub("0", text))))

    @property
    def short(self) -> bool:
        """Whether it is compared by its words."""
        return len(self.words) < N_WORDS

    @cached_property
    def word_set(self) -> Features:
        """Its words."""
        return frozenset(self.words)

    @cached_property
    def shingles(self) -> Features:
        """Its word 5-grams; none where it is short."""
        n = len(self.words) - N_WORDS + 1
        return frozenset(" ".join(self.words[i : i + N_WORDS]) for i in range(max(n, 0)))


def similarity(a: Wording, b: Wording) -> float:
    """Return the Jaccard similarity of two wordings, from 0 to 1."""
    if a.short or b.short:
        return _jaccard(a.word_set, b.word_set)
    return _jaccard(a.shingles, b.shingles)


class NearIndex:
    """Finds the texts of a fixed collection whose similarity to a query reaches a threshold."""

    def __init__(self, texts: Iterable[str], *, threshold: float) -> None:
        self.threshold = threshold
        self._wordings = [Wording.of(text) for text in texts]
        every = dict(enumerate(self._wordings))
        short = {i: w for i, w in every.items() if w.short}
        self._by_shingle = _SetIndex({i: w.shingles for i, w in every.items()}, threshold)
        self._by_word = _SetIndex({i: w.word_set for i, w in every.items()}, threshold)
        self._short_by_word = _SetIndex({i: w.word_set for i, w in short.items()}, threshold)

    def near(self, text: str) -> list[int]:
        """Return the positions of the texts that `text` nearly repeats, ascending."""
        return self._near(Wording.of(text))

    def nearest(self, text: str) -> float:
        """Return the highest similarity to any text of the collection; slow, for checks."""
        query = Wording.of(text)
        return max((similarity(query, other) for other in self._wordings), default=0.0)

    def clusters(self) -> list[int]:
        """Return a cluster number per text: texts joined by chains of near repetition."""
        root = list(range(len(self._wordings)))

        def find(i: int) -> int:
            while root[i] != i:
                root[i] = root[root[i]]
                i = root[i]
            return i

        for position, wording in enumerate(self._wordings):
            for other in self._near(wording):
                a, b = find(position), find(other)
                root[max(a, b)] = min(a, b)
        return [find(i) for i in range(len(root))]

    def _near(self, query: Wording) -> list[int]:
        if query.short:
            return sorted(self._by_word.near(query.word_set))
        found = self._by_shingle.near(query.shingles) | self._short_by_word.near(query.word_set)
        return sorted(found)


class _SetIndex:
    """Sets by their rarest members.

    Two sets whose Jaccard similarity is at least t share one of their first
    |A| − ⌈t|A|⌉ + 1 members in any common order; with the rarest first, few are compared.

    Source: Bayardo, Ma, Srikant, "Scaling up all pairs similarity search" (prefix filtering).
    """

    def __init__(self, sets: dict[int, Features], threshold: float) -> None:
        self._sets, self._threshold = sets, threshold
        self._frequency = Counter(member for found in sets.values() for member in found)
        self._postings: dict[str, list[int]] = defaultdict(list)
        for position, found in sets.items():
            for member in self._prefix(found):
                self._postings[member].append(position)

    def near(self, query: Features) -> set[int]:
        """Return the positions of the sets that are near `query`."""
        candidates = {i for member in self._prefix(query) for i in self._postings.get(member, ())}
        return {i for i in candidates if _jaccard(query, self._sets[i]) >= self._threshold}

    def _prefix(self, found: Features) -> Sequence[str]:
        n = len(found) - math.ceil(self._threshold * len(found) - 1e-9) + 1
        return sorted(found, key=lambda member: (self._frequency[member], member))[:n]


def _jaccard(a: Features, b: Features) -> float:
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared) if shared else 0.0
