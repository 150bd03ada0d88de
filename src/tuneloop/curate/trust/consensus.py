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

from tuneloop.curate.columns import Flags, Floats, Hashes, Ints
from tuneloop.curate.similar import normalise
from tuneloop.curate.trust.accounts import rank_within
from tuneloop.curate.trust.scene import Scene, Votes

N_FOLDS = 5
N_COLUMNS = 1 << 16
MAX_CHARS = 400
MAX_WORDS = 40
MAX_FITTED = 60_000
"""Votes a model is fitted on; more (by hash of the account) would cost time and tell little."""
DAMPING = 3.0
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


def designs(scene: Scene, votes: Votes) -> list[Design]:
    """Return the features of each vote: all, and those of the answer alone.

    Where a crew holds the majority on a topic, what is predicted from the question is its word;
    what makes an answer good elsewhere is not.
    """
    rows, of_vote = np.unique(votes.row, return_inverse=True)
    row, code, of_question = _features(scene, rows)
    names = scene.feedback.account_names
    hashed = np.array([zlib.crc32(name.encode()) for name in names.to_pylist()], dtype=np.int64)
    fold = hashed[votes.account] % N_FOLDS
    return [
        Design(_matrix(row[chosen], code[chosen], len(rows))[of_vote], fold)
        for chosen in (np.ones(len(row), dtype=bool), ~of_question)
    ]


def _matrix(row: Ints, code: Hashes, n_rows: int) -> Any:
    """Return rows × hashed features, each row of length 1."""
    from scipy.sparse import csr_matrix

    ones = np.ones(len(row), dtype=np.float32)
    column = (code % np.uint64(N_COLUMNS)).astype(np.int64)
    matrix = csr_matrix((ones, (row, column)), shape=(n_rows, N_COLUMNS))
    matrix.data[:] = 1.0
    norm = np.sqrt(np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1.0))
    return csr_matrix(matrix.multiply(1.0 / norm[:, None]), dtype=np.float64)


def _features(scene: Scene, rows: Ints) -> tuple[Ints, Hashes, Flags]:
    """Return (place in `rows`, code, whether of the question) of every feature of these rows."""
    table = scene.interactions
    wanted = np.zeros(len(table), dtype=bool)
    wanted[rows] = True
    owners, codes, asks = [], [], []
    for numbers, batch in scene.texts.prompts(["question", "answer"], wanted):
        place = np.searchsorted(rows, numbers)
        for salt, name in ((1, "question"), (2, "answer")):
            owner, code = hashed_words(batch.column(name))
            owners.append(place[owner])
            codes.append(_mixed(code, salt))
            asks.append(np.full(len(code), salt == 1))
    everyone = np.arange(len(rows))
    length = np.log2(table.n_answer_words[rows] + 1.0).astype(np.uint64)
    single = {
        3: table.answer[rows],
        4: table.codes["system"][rows].astype(np.uint64),
        5: length,
        6: rows.astype(np.uint64),
        7: table.cluster[rows].astype(np.uint64),
    }
    for salt, values in single.items():
        owners.append(everyone)
        codes.append(_mixed(values, salt))
        asks.append(np.full(len(rows), salt == 7))
    return np.concatenate(owners), np.concatenate(codes), np.concatenate(asks)


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
    mixed = (np.asarray(code).astype(np.uint64) + np.uint64(salt)) * _MIX
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
