"""Which texts nearly repeat one another: exact Jaccard similarity of word 5-grams."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

N_WORDS = 5
_WORD = re.compile(r"\w+")
_EMAIL = re.compile(r"\S+@\S+")
_DIGITS = re.compile(r"\d+")


def shingles(text: str) -> frozenset[str]:
    """Return the word 5-grams of a text; a shorter one is a single shingle.

    Case and punctuation do not count. Addresses and numbers are masked, since curation may
    turn them into placeholders and so make texts equal that were not.
    """
    words = _WORD.findall(_DIGITS.sub("0", _EMAIL.sub("mail", text.casefold())))
    if len(words) <= N_WORDS:
        return frozenset([" ".join(words)])
    return frozenset(" ".join(words[i : i + N_WORDS]) for i in range(len(words) - N_WORDS + 1))


class NearIndex:
    """Finds the texts of a fixed collection whose similarity to a query reaches a threshold.

    Two sets whose Jaccard similarity is at least t share one of their first
    |A| − ⌈t|A|⌉ + 1 shingles in any common order; with the rarest first, few texts are compared.

    Source: Bayardo, Ma, Srikant, "Scaling up all pairs similarity search" (prefix filtering).
    """

    def __init__(self, texts: Iterable[str], *, threshold: float) -> None:
        self.threshold = threshold
        self._sets: list[frozenset[str]] = [shingles(text) for text in texts]
        self._frequency = Counter(shingle for found in self._sets for shingle in found)
        self._postings: dict[str, list[int]] = defaultdict(list)
        for position, found in enumerate(self._sets):
            for shingle in self._prefix(found):
                self._postings[shingle].append(position)

    def near(self, text: str) -> list[int]:
        """Return the positions of the texts that `text` nearly repeats, ascending."""
        return self._near(shingles(text))

    def nearest(self, text: str) -> float:
        """Return the highest similarity to any text of the collection; slow, for checks."""
        query = shingles(text)
        return max((_jaccard(query, other) for other in self._sets), default=0.0)

    def clusters(self) -> list[int]:
        """Return a cluster number per text: texts joined by chains of near repetition."""
        root = list(range(len(self._sets)))

        def find(i: int) -> int:
            while root[i] != i:
                root[i] = root[root[i]]
                i = root[i]
            return i

        for position, found in enumerate(self._sets):
            for other in self._near(found):
                a, b = find(position), find(other)
                root[max(a, b)] = min(a, b)
        return [find(i) for i in range(len(root))]

    def _near(self, query: frozenset[str]) -> list[int]:
        candidates = {i for s in self._prefix(query) for i in self._postings.get(s, ())}
        return sorted(i for i in candidates if _jaccard(query, self._sets[i]) >= self.threshold)

    def _prefix(self, found: frozenset[str]) -> Sequence[str]:
        n = len(found) - math.ceil(self.threshold * len(found) - 1e-9) + 1
        return sorted(found, key=lambda shingle: (self._frequency[shingle], shingle))[:n]


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    if not a or not b:
        return 0.0
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)
