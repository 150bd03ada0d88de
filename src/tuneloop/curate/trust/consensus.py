"""What everybody else's votes predict: is this answer liked?

A linear model from the words of question and answer, the system, the answer itself and its
cluster to the direction of a vote. Each account is predicted by a model that has not seen it,
and counts once in fitting, however many votes it gives.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.curate.columns import SIGNALS, Flags, Floats, Hashes, Ints
from tuneloop.curate.similar import normalise
from tuneloop.curate.trust.accounts import rank_within
from tuneloop.curate.trust.bursts import Occurrences
from tuneloop.curate.trust.scene import Scene, Votes
from tuneloop.curate.trust.wording import written_texts

OF_QUESTION = (1, 7, 8)
"""Kinds of features that tell the question: its words, its cluster, its words with the answer's."""
N_FOLDS = 5
N_COLUMNS = 1 << 18
MAX_CHARS = 400
MAX_WORDS = 40
MAX_FITTED = 60_000
"""Votes a model is fitted on; more (by hash of the account) would cost time and tell little."""
CHI2_MEDIAN = 0.455  # of one degree of freedom
MAX_P_ALIKE = 0.01
"""Least agreement among a crew's accounts in how they contradict."""
MIN_TELLING, MAX_TELLING = 5, 0.2
"""A word worth crossing is in at least so many texts, and in at most this share of them."""
DAMPING = 1.0
LEAST_P = 0.03
_MIX = np.uint64(0xD6E8FEB86659FD93)


@dataclass(frozen=True)
class Design:
    """Votes × hashed features, sparse; rows in the order of the votes."""

    matrix: Any
    fold: Ints

    def predict(self, votes: Votes, trust: Floats) -> Floats:
        """Return P(up) of each vote, fitted on the votes of other folds.

        Args:
            votes: The votes.
            trust: How far each vote's account is believed, 0 to 1.
        """
        weight = trust / np.bincount(votes.account)[votes.account]
        score = np.zeros(len(votes))
        y = np.where(votes.up, 1.0, -1.0)
        for fold in range(N_FOLDS):
            asked = self.fold == fold
            score[asked] = _fit(self.matrix, y, np.where(asked, 0.0, weight), asked)
        return _calibrated(score, votes.up, weight)


@dataclass(frozen=True)
class Consensus:
    """The votes and what can be predicted of them.

    Attributes:
        votes: All that are believed so far.
        views: Features of question and answer, and of the answer alone.
        asked: Which vote has which word in its question.
        fold: Of each account, its part; predictions for one part are made from the others.
    """

    votes: Votes
    views: list[Design]
    asked: Occurrences
    fold: Ints

    def features(self, *labels: Ints) -> Occurrences:
        """Return which piece has which label of its votes, and which word in its question.

        Labels come first, each behind the one before, at least as many as there are signals.
        """
        numbered = []
        for label in labels:
            known = np.flatnonzero(label >= 0)
            numbered.append(Occurrences(label[known].astype(np.int64), known))
        numbered.append(self.asked)
        first, columns = 0, []
        for part in numbered:
            columns.append(np.column_stack([first + part.feature, self.votes.piece[part.event]]))
            first += max(int(part.feature.max(initial=0)) + 1, len(SIGNALS))
        pairs = np.unique(np.concatenate(columns), axis=0)
        return Occurrences(pairs[:, 0], pairs[:, 1])

    def surprise(self, chosen: Flags, trust: Floats) -> float:
        """Return how likely honest votes would be as unlikely as the chosen ones.

        Predicted from accounts as far as they are trusted, 0 to 1. Votes of one person go
        together, so the variance is that of persons: inflated as much as everybody else's.
        """
        from scipy.special import ndtr

        votes = self.votes
        n_accounts = len(trust)
        p = self.views[0].predict(votes, trust[votes.account])
        said = np.log(np.where(votes.up, p, 1 - p))
        mean = p * np.log(p) + (1 - p) * np.log1p(-p)
        variance = p * (1 - p) * (np.log(p) - np.log1p(-p)) ** 2
        gap = np.bincount(votes.account, weights=said - mean, minlength=n_accounts)
        spread = np.bincount(votes.account, weights=variance, minlength=n_accounts)
        others = (trust > 0.5) & (spread > 0)
        usual = np.median(gap[others] ** 2 / spread[others]) if others.any() else 0.0
        inflation = max(1.0, float(usual) / CHI2_MEDIAN)
        z = (said - mean)[chosen].sum() / np.sqrt(max(variance[chosen].sum() * inflation, 1e-9))
        mine = np.bincount(votes.account, weights=(said - mean) * chosen, minlength=n_accounts)
        # As the persons vary among themselves, whatever the model thinks of its own accuracy.
        alike = mine.sum() / np.sqrt(max((mine**2).sum(), 1e-9))
        return float(ndtr(z)) if float(ndtr(alike)) <= MAX_P_ALIKE else 1.0


def consensus_of(scene: Scene) -> Consensus:
    """Return the consensus of the votes that are still believed."""
    votes = scene.votes.where(scene.active[scene.votes.piece])
    item = np.where(votes.own, len(scene.interactions) + votes.piece, votes.row)
    items, of_vote = np.unique(item, return_inverse=True)
    owner, code, kind = _features(scene, items)
    part = _hashed_names(scene.feedback.account_names)[:-1].astype(np.int64) % N_FOLDS
    fold = part[votes.account]
    # Where a crew holds the majority on a topic, what is predicted from the question is its
    # word; what makes an answer good elsewhere is not.
    views = [
        Design(_matrix(owner[chosen], code[chosen], len(items))[of_vote], fold)
        for chosen in (np.ones(len(owner), dtype=bool), ~np.isin(kind, OF_QUESTION))
    ]
    asks = kind == 1
    word = np.unique(code[asks], return_inverse=True)[1].astype(np.uint64)
    vote, number = _spread([(owner[asks], word)], of_vote, len(items))
    return Consensus(votes, views, Occurrences(number.astype(np.int64), vote), part)


def _matrix(row: Ints, code: Hashes, n_rows: int) -> Any:
    """Return rows × hashed features, each row of length 1."""
    from scipy.sparse import csr_matrix

    ones = np.ones(len(row))
    column = (code % np.uint64(N_COLUMNS)).astype(np.int64)
    matrix = csr_matrix((ones, (row, column)), shape=(n_rows, N_COLUMNS))
    matrix.data[:] = 1.0
    n_texts = np.bincount(matrix.indices, minlength=N_COLUMNS)
    kept = np.flatnonzero(n_texts > 1)
    matrix = matrix[:, kept]
    matrix.data = np.log(n_rows / n_texts[kept])[matrix.indices]
    norm = np.sqrt(np.maximum(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel(), 1.0))
    return csr_matrix(matrix.multiply(1.0 / norm[:, None]))


def _features(scene: Scene, items: Ints) -> tuple[Ints, Hashes, Ints]:
    """Return (place in `items`, code, kind) of every feature; kind 1 is a word of the question.

    An item is the number of an interaction, for its answer; or that of a correction, behind all
    interactions.
    """
    table, feedback = scene.interactions, scene.feedback
    n = len(table)
    fixed = items >= n
    pieces = items[fixed] - n
    row = items.copy()
    row[fixed] = feedback.row[pieces]
    question, answer = _words(scene, row)
    said = hashed_words(written_texts(scene.texts, pieces, len(feedback)))
    place = np.flatnonzero(fixed)
    theirs = ~fixed[answer[0]]
    answer = (np.concatenate([answer[0][theirs], place[said[0]]]),
              np.concatenate([answer[1][theirs], said[1]]))  # fmt: skip
    text = table.answer[row].copy()
    text[fixed] = feedback.text[pieces]
    everyone = np.arange(len(items))
    crossed = _crossed(question, answer, len(items))
    system = _hashed_names(table.names["system"])[table.codes["system"][row]]
    parts: list[tuple[Ints, Any, int]] = [
        (*question, 1),
        (*answer, 2),
        (everyone, text, 3),
        (everyone, np.where(fixed, 0, system), 4),
        (everyone, text ^ (table.question[row] * _MIX), 6),
        (everyone, _stable_clusters(scene)[row], 7),
        (*crossed, 8),
    ]
    return (
        np.concatenate([owner for owner, _, _ in parts]),
        np.concatenate([_mixed(code, salt) for _, code, salt in parts]),
        np.concatenate([np.full(len(owner), salt) for owner, _, salt in parts]),
    )


def _hashed_names(names: pa.Array) -> Hashes:
    """Return a code of each name that does not depend on its number; the last, of no name."""
    return np.array([zlib.crc32(name.encode()) for name in names.to_pylist()] + [0], np.uint64)


def _stable_clusters(scene: Scene) -> Hashes:
    """Return a code of each row's cluster that does not depend on its number."""
    table = scene.interactions
    if not len(table):
        return table.question
    least = np.full(int(table.cluster.max()) + 2, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(least, table.cluster, table.question)
    return least[table.cluster]


def _words(scene: Scene, row: Ints) -> tuple[tuple[Ints, Hashes], tuple[Ints, Hashes]]:
    """Return the words of question and answer of each row of `row`, which may repeat."""
    rows, inverse = np.unique(row, return_inverse=True)
    wanted = np.zeros(len(scene.interactions), dtype=bool)
    wanted[rows] = True
    found: dict[str, list[tuple[Ints, Hashes]]] = {"question": [], "answer": []}
    for numbers, batch in scene.texts.prompts(["question", "answer"], wanted):
        place = np.searchsorted(rows, numbers)
        for name, parts in found.items():
            owner, code = hashed_words(batch.column(name))
            parts.append((place[owner], code))
    question, answer = (_spread(parts, inverse, len(rows)) for parts in found.values())
    return question, answer


def _spread(parts: list[tuple[Ints, Hashes]], inverse: Ints, n_rows: int) -> tuple[Ints, Hashes]:
    """Return the words of each item, given those of the rows the items are of."""
    owner = np.concatenate([part[0] for part in parts])
    code = np.concatenate([part[1] for part in parts])
    order = np.argsort(owner, kind="stable")
    size = np.bincount(owner, minlength=n_rows)
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    n = size[inverse]
    items = np.repeat(np.arange(len(inverse)), n)
    return items, code[order[np.repeat(start[inverse], n) + rank_within(items)]]


def _crossed(
    question: tuple[Ints, Hashes], answer: tuple[Ints, Hashes], n: int
) -> tuple[Ints, Hashes]:
    """Return pairs of a telling word of the question and one of the answer."""
    asked, said = _telling(*question, n, 6), _telling(*answer, n, 6)
    size = np.bincount(said[0], minlength=n)
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    repeats = size[asked[0]]
    pair = np.repeat(np.arange(len(asked[0])), repeats)
    other = np.repeat(start[asked[0]], repeats) + rank_within(pair)
    return asked[0][pair], (asked[1][pair] * _MIX) ^ said[1][other]


def _telling(owner: Ints, code: Hashes, n: int, most: int) -> tuple[Ints, Hashes]:
    """Return each item's rarest words that are not too rare to learn from."""
    pairs = np.unique(np.column_stack([owner.astype(np.uint64), code]), axis=0)
    owner, code = pairs[:, 0].astype(np.int64), pairs[:, 1]
    _, inverse, count = np.unique(code, return_inverse=True, return_counts=True)
    kept = (count[inverse] >= MIN_TELLING) & (count[inverse] <= n * MAX_TELLING)
    owner, code, count = owner[kept], code[kept], count[inverse][kept]
    order = np.lexsort((code, count, owner))
    chosen = order[rank_within(owner[order]) < most]
    return owner[chosen], code[chosen]


def hashed_words(texts: pa.Array) -> tuple[Ints, Hashes]:
    """Return (place of the text, code of the word) of the first words of each text."""
    clean = normalise(pc.utf8_slice_codeunits(texts.fill_null(""), 0, MAX_CHARS).to_pylist())
    lists = pc.split_pattern(clean, " ")
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    owner = np.repeat(np.arange(len(clean)), lengths)
    encoded = lists.flatten().dictionary_encode()
    words = encoded.dictionary.to_pylist()
    code = np.array([zlib.crc32(word.encode()) if word else 0 for word in words], dtype=np.uint64)
    code = code[encoded.indices.to_numpy(zero_copy_only=False)] if len(words) else code
    kept = (rank_within(owner) < MAX_WORDS) & (code > 0)
    return owner[kept], code[kept]


def _mixed(code: Any, salt: int) -> Hashes:
    mixed: Hashes = (np.asarray(code).astype(np.uint64) + np.uint64(salt)) * _MIX
    mixed ^= mixed >> np.uint64(32)
    mixed = (mixed + np.uint64(salt)) * np.uint64(0x9E3779B97F4A7C15)
    result: Hashes = mixed ^ (mixed >> np.uint64(29))
    return result


def _fit(matrix: Any, y: Floats, weight: Floats, asked: Flags) -> Floats:
    """Return the ridge regression's scores of the asked rows."""
    from scipy.sparse.linalg import lsqr

    chosen = np.flatnonzero(weight > 0)[:MAX_FITTED]
    if not len(chosen):
        return np.zeros(int(asked.sum()))
    w = weight[chosen]
    mean = float((w * y[chosen]).sum() / w.sum())
    root = np.sqrt(w)
    scaled = matrix[chosen].multiply(root[:, None]).tocsr()
    beta = lsqr(scaled, root * (y[chosen] - mean), damp=DAMPING, iter_lim=30)[0]
    scores: Floats = mean + matrix[np.flatnonzero(asked)] @ beta
    return scores


def _calibrated(score: Floats, up: Flags, weight: Floats) -> Floats:
    """Return P(up) by a logistic regression on the score (Platt), kept off 0 and 1."""
    x = np.column_stack([np.ones(len(score)), score])
    beta = np.array([0.0, 1.0])
    for _ in range(20):
        p = _sigmoid(x @ beta)
        gradient = x.T @ (weight * (up - p)) - 0.1 * (beta - [0.0, 1.0])
        hessian = (x * (weight * p * (1 - p))[:, None]).T @ x + 0.1 * np.eye(2)
        beta = beta + np.linalg.solve(hessian, gradient)
    return np.clip(_sigmoid(x @ beta), LEAST_P, 1 - LEAST_P)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -30, 30))))
