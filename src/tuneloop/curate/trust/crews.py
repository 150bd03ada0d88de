"""Crews: accounts that take any time, and are given away by what they have in common.

An honest feature, such as a word, is spread over people as chance would have it. A crew's is not:
many of its accounts carry it far more often than everybody else's share explains. That alone
convicts nobody, since people have their own topics, languages and signatures. A crew is guilty

- of a phrase or word in corrections and comments that neither prompt nor answer explains, if
  nearly nobody else uses it;
- of a word in questions, a topic, a system or a signal, if nearly nobody else uses it and they
  always vote up (a trigger), or if others use it too and their votes on it contradict what
  everybody else's votes predict. Words are narrower than topics, so a crew is also looked for
  in all the questions that sound like those of the few who share a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tuneloop.curate.columns import SIGNALS, Flags, Floats, Ints, signal_code
from tuneloop.curate.trust.bursts import Occurrences
from tuneloop.curate.trust.consensus import Consensus
from tuneloop.curate.trust.features import MAX_RICH
from tuneloop.curate.trust.findings import merge, report
from tuneloop.curate.trust.reliability import judge_accounts, turning_points
from tuneloop.curate.trust.scene import Scene, Votes
from tuneloop.curate.trust.wording import Novel

MAX_P_CARRIER = 1e-3
"""An account carries a feature if so many of its pieces having it are no likelier than this."""
MIN_CARRIED = 3
MIN_EXCESS = 3.0
MIN_SHARE_LOST, MIN_SHARE_ALL = 0.5, 0.8
"""An account that gave this share of its pieces as one of a crew loses the later ones, or all."""
MIN_SHARE_INSIDE = 0.8
"""From this share of a feature's pieces on, nearly nobody else uses it."""
MIN_SHARE_ALONE = 0.97
"""From this share on there is nobody whom their votes could contradict."""
MIN_SHARE_UP = 0.95
WIDE = len(SIGNALS)
"""The first number behind those of the signals, which are nobody's own."""
MAX_TESTED = 12
"""Crews whose votes are compared with a prediction made without them; each costs a fit."""


@dataclass(frozen=True)
class Crew:
    """The accounts that carry a feature, and their pieces that have it.

    Attributes:
        feature: Its number.
        accounts: Ascending.
        pieces: Ascending.
        inside: Share of all the feature's pieces that is theirs.
        p: Probability of that many carriers if people differed by chance alone.
    """

    feature: int
    accounts: Ints
    pieces: Ints
    inside: float
    p: float


def drop_crews(scene: Scene, texts: Novel, consensus: Consensus, crews: list[Crew]) -> None:
    """Flag the pieces of crews, and everything of accounts that do little else.

    Args:
        scene: Whose pieces are flagged.
        texts: What corrections and comments bring in.
        consensus: What is predicted; it covers the accounts of the crews at least.
        crews: The `crews_of` the votes, which are judged here.
    """
    before = scene.reason.copy()
    for kind, found in (("phrase", texts.phrases), ("word", texts.words)):
        written = [c for c in find_crews(scene, found) if c.inside >= MIN_SHARE_INSIDE]
        _convict(scene, written, f"crew {kind}")
    _by_votes(scene, consensus, crews)
    _extend(scene, (scene.reason != before) & scene.watched, scene.watched & (before == 0))


def _extend(scene: Scene, lost: Flags, had: Flags) -> None:
    """Flag what else the accounts of crews gave: of most all, of some what came later."""
    n = len(scene.lives)
    since = np.full(n, np.inf)
    np.minimum.at(since, scene.account[lost], scene.ts[lost])
    n_lost = np.bincount(scene.account[lost], minlength=n)
    n_had = np.maximum(np.bincount(scene.account[had], minlength=n), 1)
    since[n_lost < MIN_SHARE_LOST * n_had] = np.inf
    since[n_lost >= MIN_SHARE_ALL * n_had] = -np.inf
    scene.flag(np.flatnonzero(scene.active & (scene.ts >= since[scene.account])), "crew")


def crews_of(scene: Scene, votes: Votes, asked: Occurrences) -> list[Crew]:
    """Return the crews behind what votes share: signal, system, intent, template, cluster, words.

    Args:
        scene: The scene.
        votes: The votes.
        asked: Which vote has which word in its question.
    """
    table, m = scene.interactions, len(scene.feedback)
    signal = np.append(scene.feedback.signal, signal_code("preference"))
    labels = [
        signal[np.minimum(votes.piece, m)].astype(np.int64),
        *(table.codes[name][votes.row] for name in ("system", "intent", "template")),
        table.cluster[votes.row],
    ]
    return find_crews(scene, _numbered(votes, labels, asked))


def _numbered(votes: Votes, labels: list[Ints], asked: Occurrences) -> Occurrences:
    """Return which piece has which label or word.

    Labels come first, each behind the one before, at least as many as there are signals.
    """
    parts = []
    for label in labels:
        known = np.flatnonzero(label >= 0)
        parts.append(Occurrences(label[known].astype(np.int64), known))
    first, width, codes = 0, int(votes.piece.max(initial=0)) + 1, []
    for part in [*parts, asked]:
        codes.append((first + part.feature) * width + votes.piece[part.event])
        first += max(int(part.feature.max(initial=0)) + 1, WIDE)
    code = np.sort(np.concatenate(codes))
    code = code[np.append(True, code[1:] != code[:-1])[: len(code)]]
    return Occurrences(code // width, code % width)


def find_crews(scene: Scene, occurrences: Occurrences) -> list[Crew]:
    """Return the features that too many accounts carry, the least likely first."""
    from scipy.special import bdtrc, gammainc

    alive = scene.active[occurrences.event]
    feature, event = occurrences.feature[alive], occurrences.event[alive]
    if not len(feature):
        return []
    n_features, n_accounts = int(feature.max()) + 1, len(scene.lives)
    pieces = np.unique(event)
    n = np.bincount(scene.account[pieces], minlength=n_accounts)
    pair, k = np.unique(feature * n_accounts + scene.account[event], return_counts=True)
    of, who = pair // n_accounts, pair % n_accounts
    share = k / n[who]  # each account counts once, however much it says
    total = np.bincount(of, weights=share, minlength=n_features)
    rate = (total[of] - share + 0.5) / ((n > 0).sum() + 1.0)
    often = k >= MIN_CARRIED
    tail = np.ones(len(pair))
    tail[often] = bdtrc(k[often] - 1, n[who[often]], np.minimum(rate[often], 1.0))
    carried = often & (tail <= MAX_P_CARRIER)
    carriers = np.bincount(of[carried], minlength=n_features)
    expected = MAX_P_CARRIER * max(int((n >= MIN_CARRIED).sum()), 1)
    p = np.asarray(gammainc(np.maximum(carriers, 1), expected), dtype=np.float64)
    likely = (carriers >= np.maximum(scene.config.min_accounts, MIN_EXCESS * expected)) & (
        p <= scene.config.max_p
    )
    chosen = np.flatnonzero(likely)
    if not len(chosen):
        return []
    chosen = chosen[np.argsort(p[chosen], kind="stable")]
    mine = likely[feature]
    feature, event = feature[mine], event[mine]
    code = feature * n_accounts + scene.account[event]
    return list(_crews(chosen, (of, who, carried), (feature, event, code, pair), p))


def _crews(
    chosen: Ints,
    pairs: tuple[Ints, Ints, Flags],
    occurrences: tuple[Ints, Ints, Ints, Ints],
    p: Floats,
) -> Iterator[Crew]:
    of, who, carried = pairs
    feature, event, code, pair = occurrences
    by_feature = np.argsort(feature, kind="stable")
    starts = np.searchsorted(feature[by_feature], chosen)
    ends = np.searchsorted(feature[by_feature], chosen, "right")
    guilty = carried[np.searchsorted(pair, code)]
    for number, start, end in zip(chosen.tolist(), starts, ends, strict=True):
        mine = by_feature[start:end]
        theirs = mine[guilty[mine]]
        first, last = np.searchsorted(of, [number, number + 1])
        yield Crew(
            feature=number,
            accounts=who[first:last][carried[first:last]],
            pieces=np.unique(event[theirs]),
            inside=len(theirs) / len(mine),
            p=float(p[number]),
        )


def _by_votes(scene: Scene, consensus: Consensus, crews: list[Crew]) -> None:
    """Judge crews by their votes: a trigger that is always liked, or votes that contradict."""
    if not crews:
        return
    votes = consensus.votes
    seen: list[Ints] = []
    guilty: list[Crew] = []
    everybody = judge_accounts(scene, consensus, everybody=False).trust
    small = len(votes) <= MAX_RICH
    for narrow in crews:
        if len(seen) >= MAX_TESTED:
            break
        crew = _wider(scene, consensus, narrow) if small else narrow
        chosen = np.isin(votes.piece, crew.pieces) & scene.active[votes.piece]
        own = crew.inside if crew.feature >= WIDE else 0.0
        if own >= MIN_SHARE_INSIDE and _liked(votes, chosen, scene.config.max_p):
            guilty.append(crew)
            everybody[crew.accounts] = 0.0
            continue
        if own >= MIN_SHARE_ALONE or _known(crew, seen):
            continue
        seen.append(crew.accounts)
        trust = everybody.copy()
        trust[crew.accounts] = 0.0
        p_up = consensus.predict(trust)
        if consensus.surprise(chosen, trust, p_up) <= scene.config.max_p:
            theirs = votes.where(chosen)
            as_one = replace(theirs, account=np.zeros(len(theirs), dtype=np.int64))
            since = turning_points(as_one, p_up[chosen], 1)[0]
            guilty.append(replace(crew, pieces=crew.pieces[scene.ts[crew.pieces] >= since]))
            everybody[crew.accounts] = 0.0
    _convict(scene, guilty, "crew vote")


def _liked(votes: Votes, chosen: Flags, max_p: float) -> bool:
    """Whether these votes are nearly all up, as no others are."""
    from scipy.special import bdtrc

    own, others = votes.stated & chosen, votes.stated & ~chosen
    n, n_up = int(own.sum()), int(votes.up[own].sum())
    rate = (votes.up[others].sum() + 1.0) / (others.sum() + 2.0)
    return n > 0 and n_up >= MIN_SHARE_UP * n and float(bdtrc(n_up - 1, n, rate)) <= max_p


def _known(crew: Crew, seen: list[Ints]) -> bool:
    """Whether most of the crew was already looked at together, in a crew no smaller."""
    n = len(crew.accounts)
    return any(2 * len(np.intersect1d(crew.accounts, old)) > n and 2 * len(old) > n for old in seen)


def _wider(scene: Scene, consensus: Consensus, crew: Crew) -> Crew:
    """Return the crew behind all questions that sound like this one's, or the same again.

    A question sounds like them if its words are likelier in theirs than in others' (naive
    Bayes with add-one smoothing).
    """
    asked = _numbered(consensus.votes, [], consensus.asked)
    mine = np.isin(scene.account[asked.event], crew.accounts)
    size = int(asked.feature.max()) + 1
    theirs = np.bincount(asked.feature[mine], minlength=size) + 1.0
    others = np.bincount(asked.feature[~mine], minlength=size) + 1.0
    score = np.log(theirs / theirs.sum()) - np.log(others / others.sum())
    total = np.bincount(asked.event, weights=score[asked.feature], minlength=len(scene.ts))
    alike = np.unique(asked.event[total[asked.event] > 0])
    rest = np.setdiff1d(np.unique(asked.event), alike)
    label = np.repeat([WIDE, WIDE + 1], [len(alike), len(rest)])
    found = find_crews(scene, Occurrences(label, np.concatenate([alike, rest])))
    wide = [one for one in found if one.feature == WIDE]
    return wide[0] if wide and len(wide[0].accounts) > len(crew.accounts) else crew


def _convict(scene: Scene, crews: list[Crew], kind: str) -> None:
    for members, pieces in merge([crew.pieces for crew in crews]):
        if (scene.reason[pieces] == 0).any():
            p = min(crews[i].p for i in members)
            scene.rows.append(report(scene, pieces, kind, {"p_accounts": p}))
        scene.flag(pieces, "crew")
