"""The judge's certificate: what it is held to in every run, each with n, interval and limit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tuneloop.config.judge import CertificateConfig
from tuneloop.evaluate.calibration import LEVEL, cluster_codes, mean_with_interval, rounded
from tuneloop.evaluate.canaries import EQUAL
from tuneloop.evaluate.judge import Judgment

Status = Literal["passed", "failed", "unproven", "reported"]
SEVERITY: Mapping[Status, int] = {"passed": 1, "unproven": 2, "failed": 3}


@dataclass(frozen=True)
class Item:
    """One thing a judge is held to. A `reported` one decides nothing.

    `value` is a mean over judgments with an interval at 95 % over prompt families; it must be at
    most or at least `limit`.
    """

    name: str
    status: Status
    value: float | None
    limit: float | None
    rule: Literal["at most", "at least"]
    n: int
    n_missing: int = 0
    ci_low: float | None = None
    ci_high: float | None = None
    level: float = LEVEL
    detail: str = ""

    def row(self) -> dict[str, Any]:
        """Return the item as it stands in the certificate."""
        return asdict(self)


@dataclass(frozen=True)
class Value:
    """One measured value and the family of its prompt."""

    family: str
    value: float


def judged(
    name: str,
    values: Sequence[Value],
    *,
    limit: float,
    least: bool = False,
    n_missing: int = 0,
    seed: int,
) -> Item:
    """Return an item that passes where the mean of its values is within the limit."""
    rule: Literal["at most", "at least"] = "at least" if least else "at most"
    if not values:
        return Item(name, "unproven", None, limit, rule, 0, n_missing, detail="nothing was judged")
    import numpy as np

    held = np.array([v.value for v in values], dtype=np.float64)
    codes = cluster_codes([v.family for v in values])
    centred, *ends = mean_with_interval(held - 0.5, codes, seed=seed, reach=0.5)
    low, high = (None if end is None else rounded(end + 0.5) for end in ends)
    mean = float(f"{centred + 0.5:.6g}")
    status: Status = "passed" if (mean >= limit if least else mean <= limit) else "failed"
    return Item(name, status, mean, rounded(limit), rule, len(values), n_missing, low, high)


def canary_items(
    judgments: Sequence[Judgment],
    families: Mapping[str, str],
    names: Sequence[str],
    config: CertificateConfig,
    *,
    seed: int,
) -> list[Item]:
    """Return an item a canary.

    `identical` and `copies`: the mean distance of each order's score from ½ (over both orders of
    identical answers it is 0 by construction). The others: the planted answer's mean score, which
    must not be high for a padded copy and must be low for what is worse.
    """
    items = []
    for name in names:
        mine = [j for j in judgments if j.prompt_id.split("/")[1] == name]
        centred = name in ("identical", "copies")
        values = [
            Value(families[j.prompt_id], abs(j.score - 0.5) if centred else j.score)
            for j in mine
            if j.score is not None
        ]
        tolerance = config.canary_tolerance
        limit = tolerance if centred else 0.5 + (tolerance if name in EQUAL else -tolerance)
        n_missing = len(mine) - len(values)
        items.append(judged(name, values, limit=limit, n_missing=n_missing, seed=seed))
    return items


def position_items(
    judgments: Sequence[Judgment],
    families: Mapping[str, str],
    config: CertificateConfig,
    *,
    seed: int,
) -> list[Item]:
    """Return how far the two orders agree, and how far the first place is favoured."""
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for j in judgments:
        if j.score is not None:
            scores[j.prompt_id][j.order].append(j.score)
    alike, favours = [], []
    for prompt, orders in scores.items():
        if len(orders) < 2:
            continue
        means = {order: sum(held) / len(held) for order, held in orders.items()}
        a, b = means["champion_first"], means["candidate_first"]
        alike.append(Value(families[prompt], float(side(a) == side(b))))
        favours.append(Value(families[prompt], (1 - a + b) / 2))
    n_missing = len({j.prompt_id for j in judgments}) - len(alike)
    agree = judged(
        "order_agreement", alike, limit=config.min_order_agreement, least=True,
        n_missing=n_missing, seed=seed,
    )  # fmt: skip
    first = judged("first_position", favours, limit=1.0, n_missing=n_missing, seed=seed)
    if first.value is None:
        return [agree, first]
    far = abs(first.value - 0.5)
    status: Status = "passed" if far <= config.max_position_bias else "failed"
    limit = rounded(0.5 + config.max_position_bias)
    detail = f"at least {0.5 - config.max_position_bias:g}, too; ½ favours neither place"
    return [agree, Item(**{**first.row(), "status": status, "limit": limit, "detail": detail})]


def length_item(
    scored: Mapping[str, float | None],
    lengths: Mapping[str, tuple[int, int]],
    families: Mapping[str, str],
    config: CertificateConfig,
    *,
    seed: int,
) -> Item:
    """Return the longer answer's mean share where rules find both answers equally good.

    Fails where even the lower bound is beyond the limit: that a longer answer is better may be
    true. The padded canary shows the taste for length itself.

    Args:
        scored: Score by prompt.
        lengths: Characters of champion and candidate, of prompts on which the rules agree.
        families: Family by prompt.
        config: The limit.
        seed: Of the interval.
    """
    values = []
    for prompt, (champion, candidate) in lengths.items():
        score = scored.get(prompt)
        if score is not None and champion != candidate:
            values.append(Value(families[prompt], score if candidate > champion else 1 - score))
    limit = 0.5 + config.max_length_bias
    found = judged("longer_preferred", values, limit=limit, seed=seed)
    if found.value is None or found.ci_low is None:
        detail = "too few prompts on which rules find both answers equally good"
        return Item(**{**found.row(), "status": "reported", "detail": detail})
    status: Status = "failed" if found.ci_low > limit else "passed"
    return Item(**{**found.row(), "status": status, "detail": "the lower bound counts"})


def consistency_item(
    first: Sequence[Judgment],
    again: Sequence[Judgment],
    families: Mapping[str, str],
    config: CertificateConfig,
    *,
    seed: int,
) -> Item:
    """Return how many judgments come out alike when they are drawn a second time."""
    before = {(j.prompt_id, j.order): j.score for j in first if j.sample == 0}
    values, n_missing = [], 0
    for j in again:
        score = before.get((j.prompt_id, j.order))
        if j.score is None or score is None:
            n_missing += 1
        else:
            alike = float(side(score) == side(j.score))
            values.append(Value(families[j.prompt_id], alike))
    return judged(
        "self_consistency", values, limit=config.min_self_consistency, least=True,
        n_missing=n_missing, seed=seed,
    )  # fmt: skip


def people_item(agreement: Mapping[str, Any], config: CertificateConfig) -> Item:
    """Return the agreement with people beyond chance."""
    kappa = agreement.get("kappa") or {}
    value, n = kappa.get("value"), int(agreement["n"])
    status: Status = "unproven"
    detail = str(agreement.get("reason") or "judge or people know one verdict alone")
    if value is not None:
        status, detail = "passed" if value >= config.min_kappa else "failed", ""
    return Item(
        "kappa", status, value, config.min_kappa, "at least", n, int(agreement["n_missing"]),
        kappa.get("ci_low"), kappa.get("ci_high"), detail=detail,
    )  # fmt: skip


def drift_item(
    now: Mapping[str, float | None],
    before: Mapping[str, float | None],
    config: CertificateConfig,
    *,
    seed: int,
) -> Item:
    """Return the mean change of the anchors' scores since this judge was first asked."""
    values = [
        Value(anchor, abs(score - earlier))
        for anchor, score in now.items()
        if score is not None and (earlier := before.get(anchor)) is not None
    ]
    n_missing = len(now) - len(values)
    return judged("drift", values, limit=config.max_drift, n_missing=n_missing, seed=seed)


def conclude(items: Sequence[Item]) -> Status:
    """Return the certificate's status: the worst of its items'."""
    statuses: list[Status] = [item.status for item in items if item.status != "reported"]
    return max(statuses, key=SEVERITY.__getitem__) if statuses else "unproven"


def side(score: float) -> int:
    """Return -1, 0 or 1: champion, tie, candidate."""
    return (score > 0.5) - (score < 0.5)
