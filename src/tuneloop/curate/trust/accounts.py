"""Accounts one at a time: who gives too much feedback, and whose votes tell nothing."""

from __future__ import annotations

import numpy as np

from tuneloop.curate.columns import Ints
from tuneloop.curate.trust.scene import Scene

MAX_P_ONE_SIDED = 1e-9


def cap_accounts(scene: Scene) -> None:
    """Flag what one account gave beyond the cap; the first pieces stay."""
    pieces = np.flatnonzero(scene.active)
    pieces = pieces[np.lexsort((pieces, scene.ts[pieces], scene.account[pieces]))]
    rank = rank_within(scene.account[pieces])
    scene.flag(pieces[rank >= scene.config.max_events_per_user], "account_cap")


def drop_one_sided(scene: Scene) -> None:
    """Flag accounts whose many votes all go one way, where that would be a wonder.

    Somebody who votes down whatever it is says nothing about any answer. The probability is
    that of so many alike at the rate of everybody else.
    """
    votes = scene.votes.where(scene.active[scene.votes.piece] & scene.votes.stated)
    n_accounts = len(scene.lives)
    n = np.bincount(votes.account, minlength=n_accounts)
    up = np.bincount(votes.account, weights=votes.up, minlength=n_accounts)
    for alike, same in ((up == n, up), (up == 0, n - up)):
        rate = (same.sum() - same + 1.0) / (n.sum() - n + 2.0)
        p = np.power(np.minimum(rate, 1.0), n)
        guilty = alike & (n >= scene.config.min_one_sided_votes) & (p <= MAX_P_ONE_SIDED)
        pieces = np.flatnonzero(scene.active & guilty[scene.account])
        scene.flag(pieces, "one_sided")


def rank_within(group: Ints) -> Ints:
    """Return each element's place among its neighbours of the same group, from 0."""
    starts = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    sizes = np.diff(np.append(starts, len(group)))
    return np.arange(len(group)) - np.repeat(starts, sizes) if len(group) else group
