"""What several people's judgements say about an item, when people differ in how often they err.

Each person has a confusion matrix: how often they say l of an item that is k. Items' classes and
people's matrices are found together by expectation maximisation.

Source: Dawid and Skene 1979, Applied Statistics 28:20-28; pulling each person towards all people
together, since most give few votes: Paun et al. 2018, TACL 6:571-585.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tuneloop.curate.columns import Floats, Ints
from tuneloop.curate.signals.agreement import Votes

MAX_ITERATIONS = 50
TOLERANCE = 1e-4
"""Largest change of a posterior at which it has settled."""
_SMALL = 1e-10


@dataclass(frozen=True)
class Fitted:
    """What was found.

    Attributes:
        posterior: Probability of each class, shape (n_items, K).
        prior: Share of each class, shape (K,).
        confusion: [person, true class, said class], shape (n_people, K, K), rows sum to 1.
        together: The confusion of all people as one, shape (K, K).
        n_iterations: Until it settled.
    """

    posterior: Floats
    prior: Floats
    confusion: Floats
    together: Floats
    n_iterations: int


def dawid_skene(votes: Votes, *, pooling: float = 0.0) -> Fitted:
    """Fit items' classes and people's confusion to votes; the majority is where it starts.

    Args:
        votes: At least one; every item has a vote. A vote counts by its trust.
        pooling: How many votes the confusion of all people counts for in each person's; 0 is
            the plain method of 1979.
    """
    posterior, change, step = _majority(votes), 1.0, 0
    while change >= TOLERANCE and step < MAX_ITERATIONS:
        step += 1
        prior = np.maximum(posterior.mean(axis=0), _SMALL)
        confusion, together = _confusion(votes, posterior, prior, pooling)
        renewed = _posterior(votes, prior, confusion)
        change = float(np.abs(renewed - posterior).max())
        posterior = renewed
    return Fitted(posterior, prior, confusion.transpose(2, 0, 1), together, step)


def information(fitted: Fitted) -> tuple[Floats, float]:
    """Return each person's agreement with the truth beyond chance, shape (P,), and all people's.

    1: always right; 0: as good as one who votes without looking; below: worse.
    """
    prior = fitted.prior / fitted.prior.sum()
    both = np.concatenate([fitted.confusion, fitted.together[None]])
    right = np.einsum("k,pkk->p", prior, both)
    said = np.einsum("k,pkl->pl", prior, both)
    chance = said @ prior
    beyond = (right - chance) / np.maximum(1.0 - chance, _SMALL)
    return beyond[:-1], float(beyond[-1])


def majority(votes: Votes) -> Ints:
    """Return each item's most frequent class, -1 where two or more share the lead."""
    counts = votes.counts()
    lead = counts == counts.max(axis=1, keepdims=True)
    return np.where(lead.sum(axis=1) == 1, counts.argmax(axis=1), -1)


def _majority(votes: Votes) -> Floats:
    """Return each item's shares of trusted votes, shape (n_items, K)."""
    shape = (votes.n_items, votes.n_classes)
    flat = votes.item * votes.n_classes + votes.label
    weight = np.maximum(votes.trust, _SMALL)
    mass = np.bincount(flat, weight, minlength=shape[0] * shape[1]).reshape(shape)
    shares: Floats = mass / np.maximum(mass.sum(axis=1, keepdims=True), _SMALL)
    return shares


def _confusion(
    votes: Votes, posterior: Floats, prior: Floats, pooling: float
) -> tuple[Floats, Floats]:
    """Return the confusion of each person, (K true, K said, P), and of all together, (K, K).

    People come last, since sums over a short last axis are slow.
    """
    k, n_people = votes.n_classes, votes.n_people
    place = votes.label * n_people + votes.person
    counts = np.stack(
        [
            np.bincount(place, votes.trust * posterior[votes.item, true], minlength=n_people * k)
            for true in range(k)
        ]
    ).reshape(k, k, n_people)
    together = _shares(counts.sum(axis=2))
    return _shares(counts + (pooling * prior[:, None] * together)[:, :, None]), together


def _posterior(votes: Votes, prior: Floats, confusion: Floats) -> Floats:
    """Return the probability of each class of each item, shape (n_items, K)."""
    log = np.log(confusion).reshape(votes.n_classes, -1)
    place = votes.label * votes.n_people + votes.person
    n = votes.n_items
    odds = np.stack([np.bincount(votes.item, votes.trust * said[place], n) for said in log])
    odds += np.log(prior)[:, None]
    odds = np.exp(odds - odds.max(axis=0))
    odds /= odds.sum(axis=0)
    return np.asarray(odds.T)


def _shares(counts: Floats) -> Floats:
    """Return counts [true, said, …] as shares of what is said of each class, none of them 0."""
    counts = np.maximum(counts, _SMALL)
    counts /= counts.sum(axis=1, keepdims=True)
    return counts
