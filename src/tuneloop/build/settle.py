"""Settle repetitions and contradictions: one row for what many said, the better-evidenced wins."""

from __future__ import annotations

import numpy as np

from tuneloop.build.made import NONE, Links, Made
from tuneloop.build.pairs import pick_diverse
from tuneloop.build.rows import Flags, Floats, Ints
from tuneloop.build.rules import Sources
from tuneloop.config.sets import BuildConfig

MAX_WEIGHT = 1.0
_DIGITS = 9  # masses are sums: what differs by rounding is equal


def settle(
    examples: dict[str, Made], sources: Sources, config: BuildConfig
) -> dict[str, tuple[Made, Flags]]:
    """Return by kind the rows that stand, one for all that say the same, and which validate.

    Whole prompts settle among themselves. Evidence is the sum of weights:

    - SFT: of several completions to one prompt the heaviest; a correction wins a tie, since its
      author saw the answer.
    - preference: where people disagree on the order of two answers the heavier side, a tie none.
    - KTO: where they disagree on one answer the heavier side, a tie none.
    """
    corrects = np.array([rule.take == "correction" for rule in config.rules.values()])
    settled = {
        "sft": _settle_sft(examples["sft"], sources, corrects),
        "preference": _settle_pairs(examples["preference"], sources),
        "kto": _settle_kto(examples["kto"], sources),
    }
    most = {"sft": None, "preference": config.max_pairs_per_prompt,
            "kto": config.max_kto_rows_per_prompt}  # fmt: skip
    result = {}
    for kind, (made, validates) in settled.items():
        kept = _cap(made, sources, most[kind])
        sources.skipped[f"{kind}_prompt_cap"] += int((~kept).sum())
        chosen = np.flatnonzero(kept)
        chosen = chosen[np.argsort(made.row[chosen], kind="stable")]
        result[kind] = (made.take(chosen), validates[chosen])
    return result


def _settle_sft(made: Made, sources: Sources, corrects: Flags) -> tuple[Made, Flags]:
    group, inverse = _groups(sources.rows.prompt[made.row], sources.texts.key[made.good])
    mass = _mass(made.weight, inverse, len(group))
    corrected = np.zeros(len(group), dtype=np.bool_)
    np.logical_or.at(corrected, inverse, corrects[made.rule])
    first = _first(made.row, inverse, len(group))
    # the last of each prompt: heaviest, then corrected, then earliest
    order = np.lexsort((-first, corrected, mass, group[:, 0]))
    prompts = group[order, 0]
    best = order[np.r_[prompts[1:] != prompts[:-1], True]] if len(order) else order
    wins = np.zeros(len(group), dtype=np.bool_)
    wins[best] = True
    kept = wins[inverse]
    sources.skipped["sft_contradicted"] += int((~kept).sum())
    return _merge(made, kept, inverse, "sft", sources)


def _settle_pairs(made: Made, sources: Sources) -> tuple[Made, Flags]:
    prompt = sources.rows.prompt[made.row]
    good, bad = sources.texts.key[made.good], sources.texts.key[made.bad]
    group, inverse = _groups(prompt, good, bad)
    mass = _mass(made.weight, inverse, len(group))
    place = {tuple(g): i for i, g in enumerate(group.tolist())}
    against = np.array([mass[place[p, b, g]] if (p, b, g) in place else 0.0
                        for p, g, b in group.tolist()])  # fmt: skip
    kept = (good != bad) & (mass > against)[inverse] if len(made) else np.empty(0, np.bool_)
    sources.skipped["preference_contradicted"] += int((~kept).sum())
    return _merge(made, kept, inverse, "preference", sources)


def _settle_kto(made: Made, sources: Sources) -> tuple[Made, Flags]:
    group, inverse = _groups(sources.rows.prompt[made.row], sources.texts.key[made.good])
    up = _mass(made.weight * (made.label == 1), inverse, len(group))
    down = _mass(made.weight * (made.label == 0), inverse, len(group))
    kept = np.where(made.label == 1, (up > down)[inverse], (down > up)[inverse])
    sources.skipped["kto_contradicted"] += int((~kept).sum())
    return _merge(made, kept, inverse, "kto", sources)


def _merge(
    made: Made, kept: Flags, inverse: Ints, kind: str, sources: Sources
) -> tuple[Made, Flags]:
    """Return one row for equal examples: the heaviest shown, all they rest on kept."""
    made, inverse = made.filter(kept), inverse[kept]
    validates = sources.rows.validates[made.row]
    if not len(made):
        return made, validates
    order = np.lexsort((np.arange(len(made)), made.row, -made.weight, inverse))
    leads = np.r_[True, inverse[order][1:] != inverse[order][:-1]]
    group = np.empty(len(made), dtype=np.int64)
    group[order] = np.cumsum(leads) - 1
    best = order[leads]
    sources.skipped[f"{kind}_repeated"] += len(made) - len(best)
    # The same prompt on both sides of the split trains: validation must hold nothing seen.
    all_validate = np.ones(len(best), dtype=np.bool_)
    np.logical_and.at(all_validate, group, validates)
    rank = np.empty(len(made), dtype=np.int64)
    rank[order] = np.arange(len(made))
    merged = made.take(best)
    merged.weight = np.minimum(merged.weight, MAX_WEIGHT)
    merged.rows = _regrouped(made.rows, group, rank)
    merged.feedback = _regrouped(made.feedback, group, rank)
    return merged, all_validate


def _regrouped(links: Links, group: Ints, rank: Ints) -> Links:
    """Return the links of merged examples: the best one's first, each thing once."""
    owner = group[links.owner]
    order = np.lexsort((np.arange(len(owner)), rank[links.owner], owner))
    pairs = np.stack([owner, links.thing], axis=1)[order]
    _, first = np.unique(pairs, axis=0, return_index=True)
    kept = pairs[np.sort(first)]
    return Links(kept[:, 0], kept[:, 1])


def _cap(made: Made, sources: Sources, most: int | None) -> Flags:
    """Return which rows stay where a prompt may have `most`."""
    key = sources.texts.key
    kept = np.ones(len(made), dtype=np.bool_)
    own = sources.rows.prompt[made.row]
    numbers, inverse, n = np.unique(own, return_inverse=True, return_counts=True)
    if most is None or not len(numbers):
        return kept
    for number in np.flatnonzero(n > most).tolist():
        rows = np.flatnonzero(inverse.ravel() == number)
        if (made.bad[rows] != NONE).all():
            sides = zip(key[made.good[rows]].tolist(), key[made.bad[rows]].tolist(),
                        made.margin[rows].tolist(), strict=True)  # fmt: skip
            chosen = pick_diverse(sides, most)
        else:
            chosen = np.argsort(-made.weight[rows], kind="stable")[:most].tolist()
        kept[rows] = False
        kept[rows[chosen]] = True
    return kept


def _groups(*columns: Ints) -> tuple[Ints, Ints]:
    """Return the distinct rows of some columns, sorted, and the place of each row in them."""
    found, inverse = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    return found, inverse.ravel()


def _mass(weight: Floats, inverse: Ints, n: int) -> Floats:
    mass: Floats = np.round(np.bincount(inverse, weight, minlength=n), _DIGITS)
    return mass


def _first(row: Ints, inverse: Ints, n: int) -> Ints:
    first = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(first, inverse, row)
    return first
