"""What everybody else's votes predict: is this answer liked?

A linear model from the features of question and answer to the direction of a vote. Each account
is predicted by a model that has not seen it, and counts once in fitting, however many votes it
gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tuneloop.curate.columns import Flags, Floats, Ints
from tuneloop.curate.trust.bursts import Occurrences
from tuneloop.curate.trust.features import Features, features_of, name_codes, spread
from tuneloop.curate.trust.scene import Scene, Votes

N_FOLDS = 4
MAX_FITTED = 15_000
"""Votes that models are fitted on: of all accounts, or of a sample of them by hash."""
N_ITERATIONS = 15
DAMPING = 1.0
LEAST_P = 0.03
CHI2_MEDIAN = 0.455  # of one degree of freedom
MAX_P_ALIKE = 0.01
"""Least agreement among a crew's accounts in how they contradict."""


@dataclass(frozen=True)
class Consensus:
    """The votes and what can be predicted of them.

    Attributes:
        votes: All that are believed so far.
        features: What they are about.
        asked: Which vote has which word in its question.
        fold: Of each account, its part; predictions for one part are made from the others.
        sampled: Of each account, whether models may be fitted on its votes.
    """

    votes: Votes
    features: Features
    asked: Occurrences
    fold: Ints
    sampled: Flags

    def predict(self, trust: Floats, *, view: int = 0) -> Floats:
        """Return P(up) of each vote, fitted on the votes of other folds.

        Args:
            trust: How far each account is believed, 0 to 1.
            view: Which of the features' views.
        """
        votes, matrix = self.votes, self.features.views[view]
        weight = (trust / np.maximum(np.bincount(votes.account, minlength=len(trust)), 1))[
            votes.account
        ] * self.sampled[votes.account]
        fold = self.fold[votes.account]
        y = np.where(votes.up, 1.0, -1.0)
        means, betas = np.zeros(N_FOLDS), np.zeros((matrix.shape[1], N_FOLDS))
        for number in range(N_FOLDS):
            w = np.where(fold == number, 0.0, weight)
            means[number], betas[:, number] = _fit(matrix, self.features.of_vote, y, w)
        score = (matrix @ betas + means)[self.features.of_vote, fold]
        return _calibrated(score, votes.up, weight)

    def surprise(self, chosen: Flags, trust: Floats, p_up: Floats) -> float:
        """Return how likely honest votes would be as unlikely as the chosen ones.

        Votes of one person go together, so the variance is that of persons: inflated as much
        as everybody else's.

        Args:
            chosen: Which votes.
            trust: How far each account is believed, 0 to 1.
            p_up: What those who are believed predict of each vote.
        """
        from scipy.special import ndtr

        votes, n_accounts, p = self.votes, len(trust), p_up
        said = np.log(np.where(votes.up, p, 1 - p))
        gaps = said - p * np.log(p) - (1 - p) * np.log1p(-p)
        variance = p * (1 - p) * (np.log(p) - np.log1p(-p)) ** 2
        gap = np.bincount(votes.account, weights=gaps, minlength=n_accounts)
        wide = np.bincount(votes.account, weights=variance, minlength=n_accounts)
        others = (trust > 0.5) & (wide > 0)
        usual = np.median(gap[others] ** 2 / wide[others]) if others.any() else 0.0
        inflation = max(1.0, float(usual) / CHI2_MEDIAN)
        z = gaps[chosen].sum() / np.sqrt(max(variance[chosen].sum() * inflation, 1e-9))
        mine = np.bincount(votes.account[chosen], weights=gaps[chosen], minlength=n_accounts)
        # As the persons vary among themselves, whatever the model thinks of its own accuracy.
        alike = mine.sum() / np.sqrt(max((mine**2).sum(), 1e-9))
        return float(ndtr(z)) if float(ndtr(alike)) <= MAX_P_ALIKE else 1.0


def consensus_of(scene: Scene, who: Flags) -> Consensus:
    """Return the consensus of the votes of some accounts."""
    votes = scene.votes.where(scene.active[scene.votes.piece] & who[scene.votes.account])
    features = features_of(scene, votes)
    item, word = features.asked
    n_items = int(features.of_vote.max(initial=-1)) + 1
    vote, number = spread([(item, word.astype(np.uint64))], features.of_vote, n_items)
    code = account_codes(scene)
    return Consensus(
        votes=votes,
        features=features,
        asked=Occurrences(number.astype(np.int64), vote),
        fold=code % N_FOLDS,
        sampled=sample_accounts(votes, code),
    )


def account_codes(scene: Scene) -> Ints:
    """Return a code of each account that does not depend on its number."""
    return name_codes(scene.feedback.account_names)[:-1].astype(np.int64)


def sample_accounts(votes: Votes, code: Ints) -> Flags:
    """Return so many accounts, in order of their hashes, as give enough votes."""
    n = np.bincount(votes.account, minlength=len(code))
    order = np.argsort(code * 0x9E3779B1 % (1 << 32), kind="stable")
    chosen = np.zeros(len(code), dtype=bool)
    chosen[order[np.cumsum(n[order]) <= MAX_FITTED]] = True
    return chosen


def _fit(matrix: Any, of_vote: Ints, y: Floats, weight: Floats) -> tuple[float, Floats]:
    """Return mean and coefficients of the ridge regression on the votes with a weight."""
    from scipy.sparse import diags
    from scipy.sparse.linalg import lsqr

    chosen = np.flatnonzero(weight > 0)
    if not len(chosen):
        return 0.0, np.zeros(matrix.shape[1])
    w = weight[chosen]
    mean = float((w * y[chosen]).sum() / w.sum())
    root = np.sqrt(w)
    rows = diags(root) @ matrix[of_vote[chosen]]
    target = root * (y[chosen] - mean)
    beta: Floats = lsqr(rows, target, damp=DAMPING, iter_lim=N_ITERATIONS)[0]
    return mean, beta


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
