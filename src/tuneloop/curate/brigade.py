"""Coordinated feedback: many accounts, one direction, short time, near-equal content.

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

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from tuneloop.config.data import BrigadeConfig
from tuneloop.curate.accounts import account_of, direction, trust_accounts
from tuneloop.curate.bursts import (
    MAX_P_ACCOUNTS,
    Burst,
    Occurrences,
    Traffic,
    find_bursts,
)
from tuneloop.curate.rows import Dropped, FeedbackRow, Row
from tuneloop.curate.similar import Corpus, cluster, components, normalise

PHRASE = 3
MIN_PHRASES = 3
MAX_P_ACCOUNTS_PHRASE = 0.05  # the same five words running are evidence of their own
MAX_P_TIME_ALONE = 1e-9
MAX_SHARE_OUTSIDE = 0.05
MAX_EXAMPLES = 20


@dataclass
class _Scene:
    """The feedback of people on live rows, as columns."""

    config: BrigadeConfig
    rows: list[Row]
    items: list[FeedbackRow]
    accounts: list[str]
    traffic: Traffic
    flagged: dict[int, str] = field(default_factory=dict)


def drop_brigades(
    rows: list[Row],
    activity: dict[tuple[str, str], tuple[float, float]],
    config: BrigadeConfig,
    dropped: Dropped,
) -> list[dict[str, Any]]:
    """Take coordinated feedback off the rows; return what was found, for people.

    Only users are watched: reviewers, judges and rules are known to whoever set them up.
    """
    if not config.enabled:
        return []
    trust_accounts(rows, config, dropped)
    scene = _look(rows, activity, config)
    if not scene.items:
        return []
    found = [*_phrases(scene), *_groups(scene, _texts(scene), "text")]
    found += _groups(scene, _votes(scene), "vote")
    found += _groups(scene, _waves(scene), "wave")
    guilty = {int(scene.traffic.account[i]) for i in scene.flagged}
    guilty = {account for account in guilty if scene.traffic.occasional[account]}
    for i, account in enumerate(scene.traffic.account.tolist()):
        if account in guilty:
            scene.flagged.setdefault(i, "other feedback of an account in a brigade")
    for i, reason in sorted(scene.flagged.items()):
        scene.rows[i].feedback.remove(scene.items[i])
        dropped.feedback(scene.items[i], "brigade", reason)
    return found


def _look(
    rows: list[Row], activity: dict[tuple[str, str], tuple[float, float]], config: BrigadeConfig
) -> _Scene:
    pairs = [(row, item) for row in rows for item in row.feedback if item.actor_kind == "user"]
    pairs.sort(key=lambda pair: (pair[1].ts, pair[1].id))
    names = [account_of(item, row) for row, item in pairs]
    accounts = sorted(set(names))
    number = {name: i for i, name in enumerate(accounts)}
    span = {f"{tenant}/{subject}": seen for (tenant, subject), seen in activity.items()}
    lives = {name: span[name] for name in accounts if name in span}
    for name, (_, item) in zip(names, pairs, strict=True):
        first, last = lives.get(name, (item.ts, item.ts))
        lives[name] = (min(first, item.ts), max(last, item.ts))
    window_s = config.window_hours * 3600.0
    traffic = Traffic(
        ts=np.array([item.ts for _, item in pairs], dtype=np.float64),
        account=np.array([number[name] for name in names], dtype=np.int64),
        occasional=np.array([lives[n][1] - lives[n][0] <= window_s for n in accounts], dtype=bool),
        window_s=window_s,
    )
    return _Scene(config, [r for r, _ in pairs], [i for _, i in pairs], accounts, traffic)


# -- features ------------------------------------------------------------------------
def _written(scene: _Scene) -> list[int]:
    return [i for i, x in enumerate(scene.items) if x.signal in ("correction", "comment")]


def _texts(scene: _Scene) -> Occurrences:
    events = _written(scene)
    labels = cluster(
        [scene.items[i].value for i in events],
        threshold=scene.config.similarity,
        n_permutations=64,
        size=1,
    )
    return Occurrences(labels, np.array(events, dtype=np.int64))


def _votes(scene: _Scene) -> Occurrences:
    return _by_name(
        scene,
        lambda i, way: [
            f"{way} cluster {scene.rows[i].cluster}",
            f"{way} answer {scene.rows[i].answer.strip()}",
        ],
    )


def _waves(scene: _Scene) -> Occurrences:
    """Return the votes of occasional accounts that voted more than once and always alike."""
    votes: dict[int, list[str]] = defaultdict(list)
    owner = scene.traffic.account.tolist()
    for i, account in enumerate(owner):
        way = direction(scene.items[i], scene.rows[i])
        if way and scene.traffic.occasional[account]:
            votes[account].append(way)
    alike = {a for a, ways in votes.items() if len(ways) > 1 and len(set(ways)) == 1}
    return _by_name(scene, lambda i, way: [way] if owner[i] in alike else [])


def _by_name(scene: _Scene, name: Callable[[int, str], list[str]]) -> Occurrences:
    numbers: dict[str, int] = {}
    feature, event = [], []
    for i in range(len(scene.items)):
        way = direction(scene.items[i], scene.rows[i])
        for label in name(i, way) if way else []:
            feature.append(numbers.setdefault(label, len(numbers)))
            event.append(i)
    return Occurrences(np.array(feature, dtype=np.int64), np.array(event, dtype=np.int64))


def _novel_phrases(scene: _Scene) -> Occurrences:
    """Return the word 3-grams of each text that its prompt and answer do not hold."""
    events = _written(scene)
    if not events:
        return Occurrences(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    said = [str(scene.items[i].value) for i in events]
    known = [
        "\n".join([*(m["content"] for m in scene.rows[i].messages), scene.rows[i].answer])
        for i in events
    ]
    corpus = Corpus.of(normalise(said + known))
    owner, code = corpus.ngrams(PHRASE)
    n = len(events)
    mixed = code ^ ((owner % n).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    novel = (owner < n) & ~np.isin(mixed, mixed[owner >= n])
    _, first = np.unique(mixed[novel], return_index=True)  # a phrase counts once a text
    _, feature = np.unique(code[novel][first], return_inverse=True)
    event = np.array(events, dtype=np.int64)[owner[novel][first]]
    return Occurrences(feature.astype(np.int64), event)


# -- judging -------------------------------------------------------------------------
def _phrases(scene: _Scene) -> list[dict[str, Any]]:
    """Flag every text with several phrases of a burst; return one finding a campaign."""
    occurrences = _novel_phrases(scene)
    bursts = find_bursts(occurrences, scene.traffic, min_accounts=scene.config.min_accounts)
    bursts = [
        b for b in bursts if b.p_accounts <= MAX_P_ACCOUNTS_PHRASE or _came_and_went(b, scene)
    ]
    if not bursts:
        return []
    hits = Counter(event for burst in bursts for event in burst.events.tolist())
    marked = {event for event, n in hits.items() if n >= MIN_PHRASES}
    bursts = [b for b in bursts if marked & set(b.events.tolist())]
    return _report(scene, bursts, "phrase", lambda event: event in marked)


def _came_and_went(burst: Burst, scene: _Scene) -> bool:
    """Whether time alone convicts: carried by many, nowhere else, and over before the end.

    A new house style bursts too, on the day it begins, but does not end with it.
    """
    ends = scene.traffic.ts[burst.events].max()
    return bool(
        burst.p_time <= MAX_P_TIME_ALONE
        and burst.n_accounts >= 2 * scene.config.min_accounts
        and burst.n_outside <= MAX_SHARE_OUTSIDE * len(burst.events)
        and scene.traffic.ts.max() - ends >= scene.traffic.window_s / 2
    )


def _groups(scene: _Scene, occurrences: Occurrences, kind: str) -> list[dict[str, Any]]:
    """Flag the occasional accounts' share of each burst that has too many of them."""
    bursts = find_bursts(occurrences, scene.traffic, min_accounts=scene.config.min_accounts)
    bursts = [b for b in bursts if b.p_accounts <= MAX_P_ACCOUNTS]

    def occasional(event: int) -> bool:
        return bool(scene.traffic.occasional[scene.traffic.account[event]])

    return _report(scene, bursts, kind, occasional)


def _report(
    scene: _Scene, bursts: list[Burst], kind: str, guilty: Callable[[int], bool]
) -> list[dict[str, Any]]:
    """Flag the guilty events; return one finding for all bursts that share some of them."""
    events = [[e for e in burst.events.tolist() if guilty(e)] for burst in bursts]
    flat = np.array([e for part in events for e in part], dtype=np.int64)
    owner = np.repeat(np.arange(len(bursts)), [len(part) for part in events])
    n = len(bursts)
    labels = components(owner, flat + n, n + len(scene.items))[:n]
    findings = []
    for label in dict.fromkeys(labels.tolist()):
        members = [i for i in range(n) if labels[i] == label]
        chosen = sorted({e for i in members for e in events[i]})
        new = [e for e in chosen if e not in scene.flagged]
        if new:
            findings.append(_finding(scene, [bursts[i] for i in members], chosen, kind))
        for event in new:
            scene.flagged[event] = f"{kind} burst"
    return findings


def _finding(scene: _Scene, bursts: list[Burst], events: list[int], kind: str) -> dict[str, Any]:
    accounts = sorted({scene.accounts[a] for a in scene.traffic.account[events].tolist()})
    times = scene.traffic.ts[events]
    worst = min(bursts, key=lambda burst: burst.p_time)
    example = scene.items[events[0]]
    return {
        "kind": kind,
        "n_events": len(events),
        "n_accounts": len(accounts),
        "accounts": accounts[:MAX_EXAMPLES],
        "first": datetime.fromtimestamp(float(times.min()), UTC).isoformat(),
        "last": datetime.fromtimestamp(float(times.max()), UTC).isoformat(),
        "direction": direction(example, scene.rows[events[0]]) or example.signal,
        "example": str(example.value)[:500],
        "question": scene.rows[events[0]].question[:500],
        "p_time": float(f"{worst.p_time:.2e}"),
        "p_accounts": float(f"{worst.p_accounts:.2e}"),
    }
