"""Which features of feedback come in bursts that an honest crowd would not make.

A feature is anything feedback can share: a phrase, a whole text, a direction on one kind of
prompt. An honest feature follows the traffic: its share of all feedback is about the same at
all times, and the accounts that carry it are like all others. A brigade's feature stands out
in time (many accounts within one window, few outside it) and in accounts (they appear for
the occasion and do nothing else). Thousands of people who correct to the same short label
stand out in neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_EXCESS = 3.0
"""A burst has at least this many times the accounts that traffic explains."""
MAX_P_ACCOUNTS = 0.01
"""Largest probability of so many occasional accounts among honest ones."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Occurrences:
    """Which piece has which feature: `feature[i]` is carried by piece `event[i]`."""

    feature: Ints
    event: Ints


@dataclass(frozen=True)
class Traffic:
    """All feedback that people gave.

    Attributes:
        ts: When, in seconds, one a piece.
        account: Number of the account, one a piece.
        clock: Times of the pieces that are looked at, ascending.
        known: Whether an account gave any of these, one an account.
        occasional: Whether the account's whole life fits into one window, one an account.
        window_s: Length of a window.
    """

    ts: Floats
    account: Ints
    clock: Floats
    known: NDArray[np.bool_]
    occasional: NDArray[np.bool_]
    window_s: float


@dataclass(frozen=True)
class Burst:
    """One feature's densest window, with how unlikely it is in honest traffic.

    Attributes:
        events: The events of the feature inside the window.
        n_accounts: Accounts behind them.
        n_outside: Events of the feature outside the window.
        p_time: Probability of that many accounts, if the feature followed the traffic.
        p_accounts: Probability of that many occasional accounts among them.
    """

    feature: int
    events: Ints
    n_accounts: int
    n_outside: int
    p_time: float
    p_accounts: float


def find_bursts(
    occurrences: Occurrences, traffic: Traffic, *, min_accounts: int, max_p: float
) -> list[Burst]:
    """Return the features whose densest window is out of proportion to the traffic."""
    from scipy.special import gammainc

    ts = traffic.ts[occurrences.event]
    order = np.lexsort((ts, occurrences.feature))
    feature, event, ts = occurrences.feature[order], occurrences.event[order], ts[order]
    left, right, size = _densest(feature, ts, traffic.window_s, min_accounts)
    clock = traffic.clock
    in_window = np.searchsorted(clock, ts[left] + traffic.window_s, "right") - np.searchsorted(
        clock, ts[left], "left"
    )
    n_in = right - left
    n_out = size - n_in
    others_in = in_window - n_in
    others_out = len(clock) - in_window - n_out
    expected = (n_out + 0.5) * (others_in + 1.0) / (others_out + 1.0)
    # Events bound accounts from above: a cheap sieve before accounts are counted one by one.
    likely = (n_in >= MIN_EXCESS * expected) & (gammainc(n_in, expected) <= max_p)
    found = []
    for i in np.flatnonzero(likely).tolist():
        events = event[left[i] : right[i]]
        accounts = np.unique(traffic.account[events])
        n = len(accounts)
        p_time = float(gammainc(n, expected[i]))
        if n < max(min_accounts, MIN_EXCESS * expected[i]) or p_time > max_p:
            continue
        p_accounts = _p_accounts(accounts, traffic)
        found.append(Burst(int(feature[left[i]]), events, n, int(n_out[i]), p_time, p_accounts))
    return found


def _densest(
    feature: Ints, ts: Floats, window_s: float, min_accounts: int
) -> tuple[Ints, Ints, Ints]:
    """Return [left, right) of each feature's densest window, and the feature's size.

    `feature` and then `ts` ascend. Features that never have enough events are left out.
    """
    if not len(feature):
        empty = np.zeros(0, dtype=np.int64)
        return empty, empty, empty
    starts = np.flatnonzero(np.concatenate([[True], feature[1:] != feature[:-1]]))
    sizes = np.diff(np.append(starts, len(feature)))
    rank = np.repeat(np.arange(len(starts)), sizes)
    since = ts - ts.min()
    stride = since.max() + window_s + 1.0
    line = rank * stride + since
    right = np.searchsorted(line, line + window_s, "right")
    count = right - np.arange(len(line))
    densest = np.lexsort((np.arange(len(line)), -count, rank))[starts]
    enough = count[densest] >= min_accounts
    return densest[enough], right[densest[enough]], sizes[enough]


def _p_accounts(accounts: Ints, traffic: Traffic) -> float:
    """Return P(at least so many occasional accounts), drawn from all accounts not among them."""
    from scipy.special import bdtrc

    k = int(traffic.occasional[accounts].sum())
    others = traffic.known.sum() - len(accounts)
    share = ((traffic.known & traffic.occasional).sum() - k + 1.0) / (others + 2.0)
    return 1.0 if k == 0 else float(bdtrc(k - 1, len(accounts), min(float(share), 1.0)))
