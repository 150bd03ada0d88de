"""Accounts whose votes contradict what everybody else's votes predict.

Each account is weighed by an e-value: how much likelier its votes are if it is hostile in one of
a few general ways than if it is honest. Honest people differ in temper, so an honest account's
odds are the predicted ones times a factor of its own. The hostile ways: against the prediction,
or always up or down, each from the start or from a quarter of the account's votes on (sleepers);
always down or up on one system, and the other way or honestly on all others. The ways are
averaged, so the mean is an e-value too: among honest accounts its expectation is at most 1.

Accounts are compared with others that vote about as often, and as many are flagged as keep the
expected share of honest ones below the configured one.

Source: Vovk and Wang, E-values, Annals of Statistics 49(3), 2021; Wang and Ramdas, False discovery
rate control with e-values, JRSS B 84(3), 2022 (e-BH, valid under any dependence); Bourgon et al.,
Independent filtering, PNAS 107(21), 2010 (groups by a number that says nothing of honesty).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tuneloop.curate.columns import Flags, Floats, Ints
from tuneloop.curate.trust.accounts import rank_within
from tuneloop.curate.trust.consensus import Consensus
from tuneloop.curate.trust.findings import report
from tuneloop.curate.trust.scene import Scene, Votes

MIN_VOTES = 3
N_QUARTERS = 4
MAX_SYSTEMS = 4
N_PASSES = 3
N_EM = 15
HOSTILE_ODDS = 0.05
"""Odds of an account to be hostile before its votes are seen."""
SLIP = 0.05
"""Share of votes that a hostile account gives another way than it means to."""
TEMPER = 1.0
"""Standard deviation of honest people's own log-odds."""
STRATA = (MIN_VOTES, 5, 8, 15, 30, 100)
"""Accounts are compared within these numbers of votes."""


@dataclass(frozen=True)
class Judged:
    """Accounts after their votes were weighed.

    Attributes:
        log_e: Natural logarithm of the e-value; -inf without enough votes.
        trust: Probability of honesty, 0 to 1.
        p_up: What is predicted of each vote.
    """

    log_e: Floats
    trust: Floats
    p_up: Floats


def judge_accounts(scene: Scene, consensus: Consensus, *, everybody: bool) -> Judged:
    """Return how far each account can be believed.

    The prediction and the judgement of accounts are repeated in turn: an account counts in the
    next prediction as far as it is likely to be honest. Only the accounts of the sample are
    judged in between, and with `everybody` false at the end too.
    """
    votes = consensus.votes
    believed = np.zeros(len(scene.lives))
    believed[votes.account[scene.active[votes.piece]]] = 1.0
    trust, sample = believed, consensus.sampled[votes.account]
    for turn in range(N_PASSES):
        last = everybody and turn == N_PASSES - 1
        some = np.ones(len(votes), dtype=bool) if last else sample
        p = [consensus.predict(trust, view=view) for view in (0, 1)]
        found = [_evidence_of(scene, consensus, some, one) for one in p]
        log_e = _log_mean(np.stack(found, axis=1))
        trust = believed / (1.0 + np.exp(np.clip(log_e, -30, 30)) * HOSTILE_ODDS)
    return Judged(log_e, trust, p[0])


def _evidence_of(scene: Scene, consensus: Consensus, some: Flags, p_up: Floats) -> Floats:
    """Return the evidence of the accounts of some votes; -inf for all others."""
    votes = consensus.votes.where(some)
    accounts, number = np.unique(votes.account, return_inverse=True)
    log_e = np.full(len(scene.lives), -np.inf)
    log_e[accounts] = account_evidence(
        replace(votes, account=number),
        p_up[some],
        scene.interactions.codes["system"].astype(np.int64),
        consensus.fold[accounts],
        consensus.sampled[accounts],
    )
    return log_e


def drop_contradicting(scene: Scene, consensus: Consensus) -> bool:
    """Flag the feedback of accounts that contradict everybody else, from when they began to.

    Returns whether there are any.
    """
    votes, n = consensus.votes, len(scene.lives)
    n_votes = np.bincount(votes.account, minlength=n)
    if not (n_votes >= MIN_VOTES).any():
        return False
    judged = judge_accounts(scene, consensus, everybody=True)
    guilty = discoveries(judged.log_e, n_votes, scene.config.max_false_fraction)
    since = turning_points(votes, judged.p_up, n)
    pieces = np.flatnonzero(
        scene.active & guilty[scene.account] & (scene.ts >= since[scene.account])
    )
    if len(pieces):
        facts = {"log10_e_median": float(np.median(judged.log_e[guilty]) / np.log(10))}
        scene.rows.append(report(scene, pieces, "contradiction", facts))
        scene.flag(pieces, "contradicts")
    return len(pieces) > 0


def turning_points(votes: Votes, p_up: Floats, n_accounts: int) -> Floats:
    """Return from when on each account's votes are likelier hostile than honest, in seconds.

    The place after which the sum of the log-likelihood ratios is largest, for the best of the
    three ways. Source: Page, Continuous inspection schemes, Biometrika 41, 1954.
    """
    order = np.lexsort((np.arange(len(votes)), votes.account))
    account, up, p = votes.account[order], votes.up[order], p_up[order]
    honest = np.log(np.where(up, p, 1 - p))
    ways = (
        np.log(np.where(up, 1 - p, p)),
        np.log(np.where(up, 1 - SLIP, SLIP)),
        np.log(np.where(up, SLIP, 1 - SLIP)),
    )
    best, since = np.full(n_accounts, -np.inf), np.full(n_accounts, -np.inf)
    last = np.append(account[1:] != account[:-1], True)
    for way in ways:
        total = np.cumsum(way - honest)
        ends = np.repeat(total[last], np.diff(np.append(-1, np.flatnonzero(last))))
        rest = ends - total + (way - honest)  # from this vote to the account's last
        top = np.full(n_accounts, -np.inf)
        np.maximum.at(top, account, rest)
        better = top > best
        first = np.flatnonzero((rest == top[account]) & better[account])[::-1]
        since[account[first]] = votes.ts[order[first]]
        best = np.maximum(best, top)
    return since


def account_evidence(
    votes: Votes, p_up: Floats, system: Ints, fold: Ints, sampled: Flags
) -> Floats:
    """Return the natural logarithm of each account's e-value; -inf without enough votes.

    Half of the weight is spread evenly over the hostile ways. The other half goes where accounts
    of the other folds seem to go, so that a crew shows itself without vouching for its members.

    Args:
        votes: The votes.
        p_up: What is predicted of each.
        system: Of each interaction, its system's code.
        fold: Of each account, its part.
        sampled: Accounts from which it is learned where the hostile go.
    """
    table = _tally(votes, p_up, len(fold))
    honest = table.honest.sum(axis=1)  # accounts × tempers
    null = _mean_exp(honest + table.log_weight)
    rest = np.cumsum(table.honest, axis=1)
    ways = []
    for hostile in (table.up, table.down, table.flipped):
        for quarter in range(N_QUARTERS):
            before = rest[:, quarter - 1] if quarter else np.zeros_like(honest)
            after = hostile[:, quarter:].sum(axis=1)
            ways.append(_mean_exp(before + table.log_weight) + after)
    ways += _by_system(votes, p_up, system, len(fold))
    ratio = np.stack(ways, axis=1) - null[:, None]
    enough = table.n >= MIN_VOTES
    # People who only ever like, or only ever complain, are common and agree on nothing.
    shared = np.arange(len(ways)) >= 2 * N_QUARTERS
    log_e = np.full(len(fold), -np.inf)
    for part in np.unique(fold):
        weight = _shares(ratio[enough & sampled & (fold != part)][:, shared])
        mixed = np.full(len(ways), 0.5 / len(ways))
        mixed[shared] += 0.5 * weight
        mine = enough & (fold == part)
        log_e[mine] = _mean_exp(ratio[mine] + np.log(mixed))
    return log_e


def _shares(ratio: Floats) -> Floats:
    """Return how the hostile divide over their ways (EM over accounts × ways), summing to 1."""
    n_ways = ratio.shape[1]
    share = np.full(n_ways, HOSTILE_ODDS / n_ways)
    for _ in range(N_EM):
        joint = np.exp(np.clip(ratio, -50, 50)) * share
        part = joint / (1.0 - share.sum() + joint.sum(axis=1, keepdims=True))
        share = (part.sum(axis=0) + HOSTILE_ODDS / n_ways) / (len(ratio) + 1.0)
    return np.asarray(share / share.sum())


def discoveries(log_e: Floats, n_votes: Ints, alpha: float) -> Flags:
    """Return which accounts e-BH discovers, within groups of accounts that vote as often."""
    found = np.zeros(len(log_e), dtype=bool)
    for low, high in zip(STRATA, [*STRATA[1:], np.inf], strict=True):
        members = np.flatnonzero((n_votes >= low) & (n_votes < high))
        order = members[np.argsort(-log_e[members], kind="stable")]
        rank = np.arange(1, len(order) + 1)
        passing = np.flatnonzero(log_e[order] >= np.log(len(order) / (rank * alpha)))
        if len(passing):
            found[members[log_e[members] >= log_e[order[passing[-1]]]]] = True
    return found


@dataclass(frozen=True)
class _Tally:
    """Log-likelihoods of each account's votes, by quarter of the account's votes.

    Attributes:
        n: Votes, one an account.
        honest: Accounts × quarters × tempers.
        log_weight: Of each temper.
        flipped, up, down: Accounts × quarters, if hostile in this way.
    """

    n: Ints
    honest: Floats
    log_weight: Floats
    flipped: Floats
    up: Floats
    down: Floats


def _tally(votes: Votes, p_up: Floats, n_accounts: int) -> _Tally:
    order = np.argsort(votes.account, kind="stable")
    votes, p_up = votes.where(order), p_up[order]
    n = np.bincount(votes.account, minlength=n_accounts)
    rank = rank_within(votes.account)
    cell = votes.account * N_QUARTERS + rank * N_QUARTERS // n[votes.account]

    def total(values: Floats) -> Floats:
        return _sums(cell, values, n_accounts * N_QUARTERS).reshape(n_accounts, N_QUARTERS, -1)

    honest, log_weight = _honest(votes, p_up)
    tilted = np.where(votes.up, 1 - p_up, p_up)
    hostile = [
        np.log((1 - SLIP) * tilted + SLIP * (1 - tilted)),
        np.log(np.where(votes.up, 1 - SLIP, SLIP)),
        np.log(np.where(votes.up, SLIP, 1 - SLIP)),
    ]
    sums = total(np.stack(hostile, axis=1))
    return _Tally(n, total(honest), log_weight, sums[..., 0], sums[..., 1], sums[..., 2])


def _sums(group: Ints, values: Floats, n_groups: int) -> Floats:
    """Return the sum of the rows of each group; `group` ascends."""
    sums = np.zeros((n_groups, values.shape[1]))
    if len(group):
        starts = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
        sums[group[starts]] = np.add.reduceat(values, starts, axis=0)
    return sums


def _honest(votes: Votes, p_up: Floats) -> tuple[Floats, Floats]:
    """Return log-likelihoods, votes × tempers, and the tempers' log-weights."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(7)
    logit = np.log(p_up) - np.log1p(-p_up)
    sign = np.where(votes.up, 1.0, -1.0)
    odds = sign[:, None] * (logit[:, None] + TEMPER * nodes)
    return -np.log1p(np.exp(-odds)), np.log(weights / weights.sum())


def _by_system(votes: Votes, p_up: Floats, system: Ints, n_accounts: int) -> list[Floats]:
    """Return the log-likelihoods of pushing or demoting one of the systems."""
    code = np.where(votes.own, -1, system[votes.row])
    codes, counts = np.unique(code[code >= 0], return_counts=True)
    if len(codes) < 2:
        return []
    codes = codes[np.argsort(-counts, kind="stable")][:MAX_SYSTEMS]
    order = np.argsort(votes.account, kind="stable")
    votes, p_up, code = votes.where(order), p_up[order], code[order]
    honest, log_weight = _honest(votes, p_up)
    up = np.log(np.where(votes.up, 1 - SLIP, SLIP))
    down = np.log(np.where(votes.up, SLIP, 1 - SLIP))
    ways = []
    for chosen in codes:
        here = code == chosen
        others = _sums(votes.account, np.where(here[:, None], 0.0, honest), n_accounts)
        elsewhere = _mean_exp(others + log_weight)
        columns = [np.where(here, up, down), np.where(here, up, 0.0),
                   np.where(here, down, up), np.where(here, down, 0.0)]  # fmt: skip
        sums = _sums(votes.account, np.stack(columns, axis=1), n_accounts)
        ways += [sums[:, 0], sums[:, 1] + elsewhere, sums[:, 2], sums[:, 3] + elsewhere]
    return ways


def _mean_exp(values: Floats) -> Floats:
    """Return log Σ exp over the last axis."""
    top = np.maximum(values.max(axis=-1), -1e300)  # all may be -inf
    with np.errstate(divide="ignore"):
        return np.asarray(top + np.log(np.exp(values - top[..., None]).sum(axis=-1)))


def _log_mean(values: Floats) -> Floats:
    return np.asarray(_mean_exp(values) - np.log(values.shape[1]))
