"""How far each person is believed, and what several people's comparisons of a pair come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tuneloop.config.signals import PeopleConfig
from tuneloop.curate.columns import (
    ACTORS,
    Feedback,
    Floats,
    Interactions,
    Ints,
    Preferences,
)
from tuneloop.curate.signals.agreement import Votes, krippendorff_alpha, pairwise_kappas, shared
from tuneloop.curate.signals.calibrate import outright
from tuneloop.curate.signals.dawid_skene import Fitted, dawid_skene, information, majority

FIRST, SECOND, TIE, BOTH_BAD = range(4)
_CLASS_OF = {1: FIRST, -1: SECOND, 0: TIE, 2: BOTH_BAD}
_OUTCOME_OF = np.array([1, -1, 0, 2], dtype=np.int8)
REVIEWER = ACTORS.index("reviewer")
MAX_KAPPAS = 45
"""Pairs of reviewers that are listed: those of the ten with most votes."""


@dataclass(frozen=True)
class Pairs:
    """q compared pairs, one each however many compared it, in order of (first, second).

    Attributes:
        first: The row with the lower number.
        second: The other.
        outcome: 1 the first is better, -1 the second, 0 a tie, 2 both bad.
        confidence: Posterior of the outcome minus that of the next, 0 … 1; 1 where one person
            compared.
        of: The pair of each piece of `Preferences`, shape (p,); -1 where it is not believed.
    """

    first: Ints
    second: Ints
    outcome: np.ndarray
    confidence: Floats
    of: Ints


@dataclass(frozen=True)
class People:
    """What is known of the people.

    Attributes:
        weight: How far each account is believed against the average, 0 … 1; 1 where nothing is
            known of it.
        pairs: The compared pairs.
        report: Agreement, by kind of item.
    """

    weight: Floats
    pairs: Pairs
    report: dict[str, Any]


def judge_people(
    interactions: Interactions, feedback: Feedback, preferences: Preferences, config: PeopleConfig
) -> People:
    """Return how far each account is believed, and what the comparisons come to."""
    names = feedback.account_names
    n = max(len(names), int(preferences.account.max(initial=-1)) + 1)
    on_pairs, pairs = _comparisons(preferences)
    on_answers = _ratings(feedback)
    beyond = np.zeros(n)
    n_votes = np.zeros(n)
    report: dict[str, Any] = {}
    reviewers = _reviewers(feedback, preferences)
    for kind, votes in (("comparisons", on_pairs), ("ratings", on_answers)):
        several = votes.where(shared(votes)) if len(votes) else votes
        fitted = _fit(several, config) if len(several) else None
        report[kind] = _agreement(votes, several, fitted, reviewers, names)
        if fitted is None:
            continue
        here = np.unique(several.person)
        own, all_people = information(fitted)
        count = np.bincount(several.person, minlength=n)[here]
        relative = np.clip(own[here] / all_people, 0.0, 1.0) if all_people > 1e-6 else 1.0
        beyond[here] += count * relative
        n_votes[here] += count
        if kind == "comparisons":
            pairs = _settled(pairs, several, fitted)
    weight = np.divide(beyond, n_votes, out=np.ones(n), where=n_votes > 0)
    if not config.enabled:
        weight = np.ones(n)
    report["n_known"] = int((n_votes > 0).sum())
    report["n_below_half"] = int((weight < 0.5).sum())
    return People(weight, pairs, report)


def cap(account: Ints, weight: Floats, capped: np.ndarray, config: PeopleConfig) -> Floats:
    """Return the factor of each piece, shape (k,), that brings accounts down to their cap.

    Args:
        account: Who gave each piece, none below 0.
        weight: What it would count for.
        capped: Whether it is of somebody who can be cut, not a reviewer.
        config: The cap.
    """
    if not capped.any():
        return np.ones(len(account))
    total = np.bincount(account[capped], weight[capped])
    heard = total[total > 0]
    most = max(
        config.min_capped_weight,
        config.max_share * float(heard.sum()),
        5.0 * float(heard.mean()) if len(heard) else 0.0,
    )
    factor = np.minimum(1.0, most / np.maximum(total, 1e-12))
    found = np.ones(len(account))
    found[capped] = factor[account[capped]]
    return found


def _comparisons(preferences: Preferences) -> tuple[Votes, Pairs]:
    """Return comparisons as votes on pairs, and the pairs as one person's word each."""
    low = np.minimum(preferences.first, preferences.second).astype(np.int64)
    high = np.maximum(preferences.first, preferences.second).astype(np.int64)
    label = np.select([preferences.outcome == k for k in _CLASS_OF], list(_CLASS_OF.values()))
    turned = (preferences.first > preferences.second) & (label < TIE)
    label = np.where(turned, 1 - label, label)
    believed = np.flatnonzero((preferences.trust > 0) & (low != high))
    width = int(high.max(initial=0)) + 1
    keys, item = np.unique(low[believed] * width + high[believed], return_inverse=True)
    of = np.full(len(preferences), -1)
    of[believed] = item
    person = preferences.account[believed].astype(np.int64)
    votes = Votes(item, person, label[believed], preferences.trust[believed], 4)
    # One piece a pair and person is what comes in; with one piece it is the outcome itself.
    last = np.zeros(len(keys), dtype=np.int64)
    last[item] = label[believed]
    pairs = Pairs(keys // width, keys % width, _OUTCOME_OF[last], np.ones(len(keys)), of)
    return votes, pairs


def _ratings(feedback: Feedback) -> Votes:
    """Return what people stated of answers as votes, good 1 or bad 0; one a person and answer."""
    which = outright(feedback) & (feedback.trust > 0) & (np.nan_to_num(feedback.opinion) != 0)
    pieces = np.flatnonzero(which)
    width = int(feedback.account.max(initial=0)) + 1
    key = feedback.row[pieces].astype(np.int64) * width + feedback.account[pieces]
    keys, at = np.unique(key, return_inverse=True)
    said = np.bincount(at, feedback.opinion[pieces], minlength=len(keys))
    trust = np.bincount(at, feedback.trust[pieces], minlength=len(keys)) / np.maximum(
        np.bincount(at, minlength=len(keys)), 1
    )
    clear = np.abs(said) > 1e-9
    _rows, item = np.unique(keys[clear] // width, return_inverse=True)
    good = (said[clear] > 0).astype(np.int64)
    return Votes(item, keys[clear] % width, good, trust[clear], 2)


def _fit(votes: Votes, config: PeopleConfig) -> Fitted:
    """Fit votes on items that several judged; items are numbered anew, people as they are."""
    _, item = np.unique(votes.item, return_inverse=True)
    _, person = np.unique(votes.person, return_inverse=True)
    dense = Votes(item, person, votes.label, votes.trust, votes.n_classes)
    fitted = dawid_skene(dense, pooling=config.pooling)
    confusion = np.zeros((votes.n_people, votes.n_classes, votes.n_classes))
    confusion[np.unique(votes.person)] = fitted.confusion
    return Fitted(fitted.posterior, fitted.prior, confusion, fitted.together, fitted.n_iterations)


def _settled(pairs: Pairs, several: Votes, fitted: Fitted) -> Pairs:
    """Return the pairs with the posterior of those that several people compared."""
    which = np.unique(several.item)
    ranked = np.sort(fitted.posterior, axis=1)
    outcome, confidence = pairs.outcome.copy(), pairs.confidence.copy()
    outcome[which] = _OUTCOME_OF[fitted.posterior.argmax(axis=1)]
    confidence[which] = ranked[:, -1] - ranked[:, -2]
    return Pairs(pairs.first, pairs.second, outcome, confidence, pairs.of)


def _agreement(
    votes: Votes, several: Votes, fitted: Fitted | None, reviewers: Ints, names: pa.Array
) -> dict[str, Any]:
    """Return agreement on one kind of item; only reviewers are named, users are counted."""
    report: dict[str, Any] = {"n_votes": len(votes), "n_items": len(np.unique(votes.item)),
                              "n_people": len(np.unique(votes.person)),
                              "n_shared_items": len(np.unique(several.item))}  # fmt: skip
    if fitted is None:
        return report
    alpha = krippendorff_alpha(several)
    share = np.bincount(several.person, minlength=len(names))[reviewers]
    busiest = reviewers[np.lexsort((reviewers, -share))[:10]]
    kappas = [
        row | {"a": names[row["a"]].as_py(), "b": names[row["b"]].as_py()}
        for row in pairwise_kappas(several, np.sort(busiest))
    ]
    _, item = np.unique(several.item, return_inverse=True)
    most = majority(Votes(item, several.person, several.label, several.trust, several.n_classes))
    report["alpha"] = None if alpha is None else round(alpha, 6)
    report["kappas"] = sorted(kappas, key=lambda row: (row["a"], row["b"]))[:MAX_KAPPAS]
    report["n_without_majority"] = int((most < 0).sum())
    changed = (most >= 0) & (most != fitted.posterior.argmax(axis=1))
    report["n_against_majority"] = int(changed.sum())
    return report


def _reviewers(feedback: Feedback, preferences: Preferences) -> Ints:
    """Return the accounts of reviewers; they are appointed, so their names may be shown."""
    found = [part.account[part.actor == REVIEWER] for part in (feedback, preferences)]
    return np.unique(np.concatenate(found)).astype(np.int64)
