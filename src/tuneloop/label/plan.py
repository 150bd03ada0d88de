"""Which pairs are asked about first, and with what chance each came to be labelled."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from tuneloop.artefacts.labels import (
    VALUES,
    Drawn,
    HumanLabel,
    HumanLabels,
    Journal,
    LabelPlan,
    Side,
    find_plan,
)
from tuneloop.artefacts.stage import Evaluation
from tuneloop.artefacts.store import Store
from tuneloop.label.pairs import AnswerPair, evaluation_pairs, pairs_digest
from tuneloop.statistics.priority import inclusion, label_sizes, priority

EVERYTHING_ELSE = "the rest"
FEWEST = 2
"""Labels below which a stratum is not covered."""


def make_plan(
    pairs: Sequence[AnswerPair], protected: Iterable[str] = (), *, seed: int
) -> LabelPlan:
    """Return the order in which pairs are labelled: the same pairs and seed, the same order.

    Pairs on which the judge is unsure come sooner. Protected slices are strata of their own: each
    gets half of an equal share and half of what its pairs are worth, so that a small one is not
    left out.
    """
    digest = pairs_digest(pairs)
    wanted = set(protected)
    ordered = sorted(pairs, key=lambda pair: pair.id)
    sizes = label_sizes([pair.share for pair in ordered])
    strata: dict[str, list[Drawn]] = {}
    for pair, size in zip(ordered, sizes, strict=True):
        name = " + ".join(sorted(pair.slices & wanted)) or EVERYTHING_ELSE
        drawn = Drawn(
            item=pair.id,
            size=size,
            priority=priority(size, _uniform(seed, digest, pair.id, "draw")),
            first=first_shown(seed, pair.id, ""),
        )
        strata.setdefault(name, []).append(drawn)
    for members in strata.values():
        members.sort(key=lambda one: (-one.priority, one.item))
    strata = dict(sorted(strata.items()))
    return LabelPlan(pairs=digest, seed=seed, strata=strata, order=_in_turn(strata))


def first_shown(seed: int, item: str, person: str) -> Side:
    """Return which side is shown as A: a coin of its own for each person and pair."""
    return "champion" if _uniform(seed, item, person, "coin") <= 0.5 else "candidate"


def in_force(store: Store, plan: LabelPlan) -> HumanLabels:
    """Return the labels that count, each with the chance it had.

    The pairs up to the last one that anybody looked at are the sample of a stratum. A pair among
    them that nobody could decide (skipped, or not returned) has no label: the others of its
    stratum stand for it.
    """
    said = Journal(store, plan.pairs).in_force()
    values: dict[str, list[float]] = {
        item: [VALUES[one.word] for one in people.values() if one.word in VALUES]
        for item, people in said.items()
    }
    labels: list[HumanLabel] = []
    uncovered, n_skipped = [], 0
    for name, members in plan.strata.items():
        seen = [i for i, one in enumerate(members) if one.item in said]
        n = seen[-1] + 1 if seen else 0
        held = [i for i in range(n) if values.get(members[i].item)]
        n_skipped += n - len(held)
        if len(held) < min(FEWEST, len(members)):
            uncovered.append(name)
        chances = inclusion([m.size for m in members], [m.priority for m in members], n)
        for i in held:
            mine = values[members[i].item]
            chance = chances[i] * len(held) / n
            labels.append(
                HumanLabel(
                    prompt_id=members[i].item,
                    human=sum(mine) / len(mine),
                    n_people=len(mine),
                    probability=float(f"{chance:.9g}"),
                )
            )
    people = {p for one in said.values() for p, s in one.items() if s.word in VALUES}
    return HumanLabels(
        labels=sorted(labels, key=lambda one: one.prompt_id),
        n_pairs=len(plan.order),
        n_people=len(people),
        n_skipped=n_skipped,
        uncovered=uncovered if labels else [],
    )


def labels_of(store: Store, evaluation: Evaluation) -> HumanLabels | None:
    """Return the labels that count for an evaluation, or None where there are none."""
    if next(iter(store.list_paths("labels")), None) is None:
        return None
    plan = find_plan(store, pairs_digest(evaluation_pairs(evaluation)))
    found = in_force(store, plan) if plan else None
    return found if found and found.labels else None


def still_to_label(plan: LabelPlan, done: Iterable[str], within: str | None = None) -> list[str]:
    """Return the pairs that are next, in order; `within` names a protected slice."""
    known = set(done)
    allowed = set(plan.order)
    if within is not None:
        allowed = {
            one.item
            for name, members in plan.strata.items()
            if within in name.split(" + ")
            for one in members
        }
    return [item for item in plan.order if item in allowed and item not in known]


def _in_turn(strata: Mapping[str, Sequence[Drawn]]) -> list[str]:
    """Return all pairs, the stratum that is furthest behind its share first."""
    worth = {name: sum(one.size for one in members) for name, members in strata.items()}
    total = sum(worth.values())
    share = {name: 0.5 * worth[name] / total + 0.5 / len(strata) for name in strata}
    taken = dict.fromkeys(strata, 0)
    order: list[str] = []
    for _ in range(sum(len(members) for members in strata.values())):
        left = [name for name in strata if taken[name] < len(strata[name])]
        behind = max(left, key=lambda name: share[name] * (len(order) + 1) - taken[name])
        order.append(strata[behind][taken[behind]].item)
        taken[behind] += 1
    return order


def _uniform(*parts: object) -> float:
    """Return a number in (0, 1] that these parts always give."""
    text = "\0".join(str(part) for part in parts)
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") + 1) / 2**64
