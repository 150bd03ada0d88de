"""The rules: which feedback makes which row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.build.comparisons import Comparisons
from tuneloop.build.made import Links, Made, join, made
from tuneloop.build.pairs import contrast_pairs, sample_pairs
from tuneloop.build.rows import Flags, Ints, Rows
from tuneloop.build.texts import NONE, Texts
from tuneloop.config.sets import BuildConfig, RuleConfig

KINDS = ("sft", "preference", "kto")


@dataclass
class Sources:
    """Whole prompts with all that rows can be made of, and why some make none."""

    rows: Rows
    texts: Texts
    comparisons: Comparisons
    skipped: Counter[str] = field(default_factory=Counter)


def make_examples(sources: Sources, config: BuildConfig) -> dict[str, Made]:
    """Return what every rule makes, by kind; rows in pairs are known before those in none."""
    _count_comparisons(sources)
    found: dict[str, list[Made]] = {kind: [] for kind in KINDS}
    paired = np.zeros(len(sources.rows), dtype=np.bool_)
    rules = [(i, rule) for i, rule in enumerate(config.rules.values()) if rule.enabled]
    for unpaired in (False, True):
        for i, rule in rules:
            if rule.unpaired is unpaired:
                free = ~paired if unpaired else np.ones_like(paired)
                for kind in rule.makes:
                    part = _TAKE[rule.take](sources, rule, _Order(i, kind, free, config))
                    found[kind].append(_usable(part, sources))
        for part in found["preference"]:
            paired[part.rows.thing] = True
    return {kind: _once(join(parts), sources.texts) for kind, parts in found.items()}


def with_signal(rows: Rows, rule: RuleConfig) -> Flags:
    """Return which rows have one of the rule's signals by one of its actors."""
    if not (rule.signals or rule.actors):
        return np.ones(len(rows), dtype=np.bool_)
    signals = rows.signals
    fits = np.ones(len(signals.row), dtype=np.bool_)
    for column, wanted in ((signals.signal, rule.signals), (signals.actor, rule.actors)):
        if wanted:
            fits &= np.asarray(pc.is_in(column, pa.array(wanted)).to_numpy(zero_copy_only=False))
    return np.bincount(signals.row[fits], minlength=len(rows)) > 0


@dataclass(frozen=True)
class _Order:
    """What one rule is asked for: its number, a kind of rows, and from which answers."""

    rule: int
    kind: str
    free: Flags
    config: BuildConfig


def _answers(sources: Sources, rule: RuleConfig, order: _Order) -> Made:
    """Answers as they were given. One that was corrected is never taught itself."""
    rows = sources.rows
    if order.kind == "sft":
        said, good = rows.score, sources.texts.correction == NONE
    else:
        said = np.abs(rows.score)
        wanted = {None: rows.score != 0, True: rows.score > 0, False: rows.score < 0}
        good = wanted[rule.label]
    weight = rows.weight * rule.weight * (said if rule.by_score else 1.0)
    good = good & (said > 0) & (said >= rule.min_score) & (rows.weight >= rule.min_weight)
    row = np.flatnonzero(good & order.free & with_signal(rows, rule))
    label = {"label": (rows.score[row] > 0).astype(np.int64)} if order.kind == "kto" else {}
    links = Links.one_each(row), Links.below(row, rows.signals.row, len(rows))
    return made(order.rule, row, row, weight[row], links, **label)


def _corrections(sources: Sources, rule: RuleConfig, order: _Order) -> Made:
    """A correction is a good answer, and better than the one it corrects."""
    texts, signals = sources.texts, sources.rows.signals
    actors = signals.actor.to_pylist() if rule.actors and texts.corrected_by else []
    chosen: list[tuple[int, float, list[int]]] = []
    for row, numbers in texts.corrected_by.items():
        by = [n for n in numbers if not actors or actors[n] in rule.actors]
        if by or not rule.actors:
            weight = max((signals.weight[n] for n in by), default=sources.rows.weight[row])
            chosen.append((row, weight, by))
    return _rewritten(sources, rule, order, chosen=chosen, text=texts.correction)


def _edits(sources: Sources, rule: RuleConfig, order: _Order) -> Made:
    """What a user made of an answer that was copied."""
    texts, weight = sources.texts, sources.rows.signals.weight
    chosen = [(row, weight[n], [n]) for row, n in texts.edited_by.items()]
    return _rewritten(sources, rule, order, chosen=chosen, text=texts.edit)


def _rewritten(
    sources: Sources,
    rule: RuleConfig,
    order: _Order,
    *,
    chosen: list[tuple[int, float, list[int]]],
    text: Ints,
) -> Made:
    other = with_signal(sources.rows, rule.model_copy(update={"actors": []}))
    chosen = [c for c in chosen
              if c[1] >= rule.min_weight and other[c[0]] and order.free[c[0]]]  # fmt: skip
    row = np.array([c[0] for c in chosen], dtype=np.int64)
    weight = np.array([c[1] for c in chosen]) * rule.weight
    links = Links.one_each(row), Links.of([c[2] for c in chosen])
    bad = {"bad": row, "margin": 2.0 * weight} if order.kind == "preference" else {}
    return made(order.rule, row, text[row], weight, links, **bad)


def _contrasts(sources: Sources, rule: RuleConfig, order: _Order) -> Made:
    """Liked before less liked answers to the same prompt."""
    rows = sources.rows
    eligible = order.free & with_signal(rows, rule) & sources.texts.usable[: len(rows)]
    pairs = contrast_pairs(
        rows, sources.texts.key, eligible, rule, most=order.config.max_pairs_per_prompt
    )
    members = [[*p.better, *p.worse] for p in pairs]
    owners = np.repeat(np.arange(len(pairs)), [len(m) for m in members]).astype(np.int64)
    flat = np.array([row for m in members for row in m], dtype=np.int64)
    below = Links.below(flat, rows.signals.row, len(rows))
    return made(
        order.rule,
        np.array([p.better[0] for p in pairs], dtype=np.int64),
        np.array([p.better[0] for p in pairs], dtype=np.int64),
        np.array([p.weight for p in pairs]) * rule.weight,
        (Links(owners, flat), Links(owners[below.owner], below.thing)),
        bad=np.array([p.worse[0] for p in pairs], dtype=np.int64),
        margin=np.array([p.margin for p in pairs]),
    )


def _comparisons(sources: Sources, rule: RuleConfig, order: _Order) -> Made:
    """What people said when they saw two answers side by side."""
    stated, rows, texts = sources.comparisons, sources.rows, sources.texts
    signal = with_signal(rows, rule)
    fits = (stated.weight >= rule.min_weight) & signal[stated.winner] & signal[stated.loser]
    feedback = Links(stated.owner, np.arange(len(stated.owner)) + len(rows.signals.row))
    fits &= (stated.n_answers == 1) | (rule.whole != "drop")
    share = stated.n_answers if rule.whole == "share" else 1.0
    weight = stated.weight * rule.weight / share
    outcome = stated.outcome.to_numpy(zero_copy_only=False)
    if order.kind == "kto":
        both = [
            made(order.rule, row, row, weight, (Links.one_each(row), feedback),
                 label=np.zeros(len(row), dtype=np.int64))
            .filter(fits & (outcome == "both_bad") & order.free[row] & (rows.score[row] <= 0))
            for row in (stated.winner, stated.loser)
        ]  # fmt: skip
        return join(both)
    same_prompt = rows.prompt[stated.winner] == rows.prompt[stated.loser]
    differ = texts.key[stated.winner] != texts.key[stated.loser]
    pair = np.stack([stated.winner, stated.loser], axis=1)
    links = Links.of(pair.tolist()), feedback
    return made(
        order.rule, stated.winner, stated.winner, weight, links,
        bad=stated.loser, margin=2.0 * stated.weight,
    ).filter(fits & (outcome == "better") & same_prompt & differ)  # fmt: skip


def _samples(sources: Sources, rule: RuleConfig, order: _Order) -> Made:
    """A newly sampled answer before the one it beats by the margin."""
    rows, texts = sources.rows, sources.texts
    pairs = sample_pairs(texts, rule, most=order.config.max_pairs_per_prompt)
    row = np.array([p.row for p in pairs], dtype=np.int64)
    links = Links.one_each(row), Links.below(row, rows.signals.row, len(rows))
    result = made(
        order.rule,
        row,
        np.array([p.good for p in pairs], dtype=np.int64),
        np.array([p.weight for p in pairs]) * rule.weight,
        links,
        bad=np.array([p.bad for p in pairs], dtype=np.int64),
        margin=np.array([p.margin for p in pairs]),
    )
    return result.filter((order.free & with_signal(rows, rule))[row])


_TAKE: dict[str, Callable[[Sources, RuleConfig, _Order], Made]] = {
    "answer": _answers,
    "correction": _corrections,
    "edit": _edits,
    "contrast": _contrasts,
    "comparison": _comparisons,
    "sample": _samples,
}


def _usable(part: Made, sources: Sources) -> Made:
    """Drop examples with a text that is empty or too long, and count them."""
    usable = sources.texts.usable[part.good] & ((part.bad == NONE) | sources.texts.usable[part.bad])
    sources.skipped["answer_empty_or_too_long"] += int((~usable).sum())
    return part.filter(usable)


def _once(examples: Made, texts: Texts) -> Made:
    """Of several rules that teach one text for one answer keep the first; of pairs, all."""
    said = np.stack([examples.row, texts.key[examples.good], examples.label], axis=1)
    _, inverse = np.unique(said, axis=0, return_inverse=True)
    first = np.full(len(examples), np.iinfo(np.int64).max)
    np.minimum.at(first, inverse.ravel(), examples.rule)
    is_pair = examples.bad != NONE
    return examples.filter(is_pair | (examples.rule == first[inverse.ravel()]))


def _count_comparisons(sources: Sources) -> None:
    stated, rows, skipped = sources.comparisons, sources.rows, sources.skipped
    outcome = stated.outcome.to_numpy(zero_copy_only=False)
    skipped["preference_tie"] += int((outcome == "tie").sum())
    better = outcome == "better"
    differ = rows.prompt[stated.winner] != rows.prompt[stated.loser]
    key = sources.texts.key
    same = key[stated.winner] == key[stated.loser]
    skipped["preference_prompts_differ"] += int((better & differ).sum())
    skipped["preference_same_answer"] += int((better & ~differ & same).sum())


def used_rows(examples: dict[str, Made]) -> Ints:
    """Return the rows that any example rests on."""
    return np.unique(np.concatenate([part.rows.thing for part in examples.values()]))
