"""Brigades: many accounts, one direction, short time, near-equal content.

Four kinds of features are watched for bursts (see `bursts.py`):

- phrases: word 3-grams of a correction or comment that neither prompt nor answer explains.
  Three of them (five words running) that burst together mark a text, whoever wrote it, if
  its writers are occasional accounts, or if the phrase came, was carried by many, and went;
- texts: near-equal whole corrections or comments;
- votes: one direction on near-equal prompts, or on one and the same answer;
- waves: one direction on anything, from occasional accounts that never vote otherwise.

For the last three only occasional accounts lose their feedback: an honest user who happens
to agree with a brigade keeps a voice.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from tuneloop.curate.columns import Flags, Ints
from tuneloop.curate.similar import cluster
from tuneloop.curate.trust.bursts import (
    MAX_P_ACCOUNTS,
    Burst,
    Occurrences,
    Traffic,
    find_bursts,
)
from tuneloop.curate.trust.findings import merge, report
from tuneloop.curate.trust.scene import Scene
from tuneloop.curate.trust.wording import MIN_PHRASES, Novel

MAX_P_ACCOUNTS_PHRASE = 0.05  # the same five words running are evidence of their own
MAX_P_TIME_ALONE = 1e-9
MAX_SHARE_OUTSIDE = 0.05
MAX_NEAR_TEXTS = 50_000
"""More texts than this are compared by their hashes alone."""


def drop_brigades(scene: Scene, texts: Novel) -> None:
    """Flag the feedback of brigades, and all other feedback of the accounts they were made for."""
    if not scene.active.any():
        return
    traffic = traffic_of(scene)
    before = scene.reason.copy()
    _phrases(scene, traffic, texts)
    for kind, found in (
        ("text", _texts(scene, texts)),
        ("vote", _votes(scene)),
        ("wave", _waves(scene)),
    ):
        _groups(scene, traffic, found, kind)
    guilty = np.zeros(len(scene.lives), dtype=bool)
    guilty[scene.account[(scene.reason != before)]] = True
    guilty &= scene.occasional
    scene.flag(np.flatnonzero(scene.active & guilty[scene.account]), "brigade")


def traffic_of(scene: Scene) -> Traffic:
    """Return all that people gave and that is still believed."""
    active = scene.active
    known = np.zeros(len(scene.lives), dtype=bool)
    known[scene.account[active]] = True
    clock = np.sort(scene.ts[active])
    return Traffic(scene.ts, scene.account, clock, known, scene.occasional, scene.window_s)


# -- features ------------------------------------------------------------------------
def _texts(scene: Scene, texts: Novel) -> Occurrences:
    if len(texts.pieces) > MAX_NEAR_TEXTS:
        _, labels = np.unique(scene.feedback.text[texts.pieces], return_inverse=True)
    else:
        labels = cluster(
            texts.texts.to_pylist(),
            threshold=scene.config.similarity,
            n_permutations=64,
            size=1,
        )
    return Occurrences(labels.astype(np.int64), texts.pieces)


def _votes(scene: Scene) -> Occurrences:
    """Return direction × cluster of the prompt, and direction × answer, of each vote."""
    votes = scene.votes.where(scene.votes.stated)
    way = votes.up.astype(np.uint64) << np.uint64(63)
    cluster_of = scene.interactions.cluster[votes.row].astype(np.int64)
    answer = scene.interactions.answer[votes.row]
    clustered = cluster_of >= 0
    by_cluster = np.unique(cluster_of[clustered].astype(np.uint64) ^ way[clustered],
                           return_inverse=True)[1]  # fmt: skip
    by_answer = np.unique((answer >> np.uint64(1)) ^ way, return_inverse=True)[1]
    first = by_cluster.max() + 1 if len(by_cluster) else 0
    return Occurrences(
        np.concatenate([by_cluster, first + by_answer]).astype(np.int64),
        np.concatenate([votes.piece[clustered], votes.piece]),
    )


def _waves(scene: Scene) -> Occurrences:
    """Return the votes of occasional accounts that voted more than once and always alike."""
    votes = scene.votes.where(scene.votes.stated & (scene.votes.piece < len(scene.feedback)))
    n = np.bincount(votes.account, minlength=len(scene.lives))
    up = np.bincount(votes.account, weights=votes.up, minlength=len(scene.lives))
    alike = scene.occasional & (n > 1) & ((up == 0) | (up == n))
    chosen = alike[votes.account]
    return Occurrences(votes.up[chosen].astype(np.int64), votes.piece[chosen])


# -- judging -------------------------------------------------------------------------
def _phrases(scene: Scene, traffic: Traffic, texts: Novel) -> None:
    """Flag every text with several phrases of a burst."""
    config = scene.config
    bursts = find_bursts(
        texts.phrases, traffic, min_accounts=config.min_accounts, max_p=config.max_p
    )
    bursts = [
        b
        for b in bursts
        if b.p_accounts <= MAX_P_ACCOUNTS_PHRASE or _came_and_went(b, scene, traffic)
    ]
    hits = Counter(event for burst in bursts for event in burst.events.tolist())
    marked = np.zeros(len(scene.ts), dtype=bool)
    marked[[event for event, n in hits.items() if n >= MIN_PHRASES]] = True
    _report(scene, bursts, "phrase", marked)


def _came_and_went(burst: Burst, scene: Scene, traffic: Traffic) -> bool:
    """Whether time alone convicts: carried by many, nowhere else, and over before the end.

    A new house style bursts too, on the day it begins, but does not end with it.
    """
    ends = scene.ts[burst.events].max()
    return bool(
        burst.p_time <= MAX_P_TIME_ALONE
        and burst.n_accounts >= 2 * scene.config.min_accounts
        and burst.n_outside <= MAX_SHARE_OUTSIDE * len(burst.events)
        and traffic.clock[-1] - ends >= scene.window_s / 2
    )


def _groups(scene: Scene, traffic: Traffic, occurrences: Occurrences, kind: str) -> None:
    """Flag the occasional accounts' share of each burst that has too many of them."""
    config = scene.config
    active = scene.active[occurrences.event] | (scene.reason[occurrences.event] == 3)
    occurrences = Occurrences(occurrences.feature[active], occurrences.event[active])
    bursts = find_bursts(occurrences, traffic, min_accounts=config.min_accounts, max_p=config.max_p)
    bursts = [b for b in bursts if b.p_accounts <= MAX_P_ACCOUNTS]
    _report(scene, bursts, kind, scene.occasional[scene.account])


def _report(scene: Scene, bursts: list[Burst], kind: str, guilty: Flags) -> None:
    """Flag the guilty pieces; one finding for all bursts that share some of them."""
    pieces: list[Ints] = [np.unique(b.events[guilty[b.events]]) for b in bursts]
    for members, chosen in merge(pieces):
        worst = min((bursts[i] for i in members), key=lambda burst: burst.p_time)
        if (scene.reason[chosen] == 0).any():
            facts = {"p_time": worst.p_time, "p_accounts": worst.p_accounts}
            scene.rows.append(report(scene, chosen, kind, facts))
        scene.flag(chosen, "brigade")
