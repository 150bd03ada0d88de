"""Which answers to one prompt are set against each other: widest margins, many answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np

from tuneloop.build.rows import Flags, Floats, Ints, Rows
from tuneloop.build.texts import Texts
from tuneloop.config.sets import RuleConfig


@dataclass(frozen=True)
class Contrast:
    """Rows that gave the better and the worse answer, how far apart they are, what that weighs."""

    better: list[int]
    worse: list[int]
    margin: float
    weight: float


@dataclass(frozen=True)
class SamplePair:
    """Numbers of the two texts of one row's pair."""

    row: int
    good: int
    bad: int
    margin: float
    weight: float


def pick_diverse(pairs: Iterable[tuple[Hashable, Hashable, float]], most: int) -> list[int]:
    """Return the places of at most `most` pairs (better, worse, margin), in order of choice.

    Each choice takes the widest margin among the pairs whose answers were used least, so that
    four pairs of one prompt do not all hold the one worst answer.
    """
    left = dict(enumerate(pairs))
    used: Counter[Hashable] = Counter()
    chosen: list[int] = []
    while left and len(chosen) < most:
        place = min(left, key=lambda i: (used[left[i][0]] + used[left[i][1]], -left[i][2], i))
        used.update(left.pop(place)[:2])
        chosen.append(place)
    return chosen


def contrast_pairs(
    rows: Rows, key: Ints, eligible: Flags, rule: RuleConfig, *, most: int
) -> list[Contrast]:
    """Return pairs of answers to one prompt whose scores are `rule.min_margin` apart.

    Rows that gave the same answer count together: their score is the mean by weight. Only the
    `most` best and the `most` worst answers of a prompt are looked at, so that a prompt
    answered ten thousand times costs no hundred million comparisons.
    """
    own = np.flatnonzero(eligible)
    pair, group = np.unique(
        np.stack([rows.prompt[own], key[own]], axis=1), axis=0, return_inverse=True
    )
    group = group.ravel()
    mass = np.bincount(group, rows.weight[own], minlength=len(pair))
    said = np.bincount(group, rows.weight[own] * rows.score[own], minlength=len(pair))
    score = np.divide(said, mass, out=np.zeros_like(said), where=mass > 0)
    heaviest = np.zeros(len(pair))
    np.maximum.at(heaviest, group, rows.weight[own])
    candidates = _prompts_with_contrast(pair[:, 0], score, heaviest, rule)
    if not len(candidates):
        return []
    by_group = np.argsort(group, kind="stable")
    ends = np.searchsorted(group[by_group], np.arange(len(pair) + 1))
    first = own[by_group[ends[:-1]]]
    found: list[Contrast] = []
    begin = np.searchsorted(pair[:, 0], candidates)
    end = np.searchsorted(pair[:, 0], candidates, side="right")
    for b, e in zip(begin.tolist(), end.tolist(), strict=True):
        answers = [g for g in range(b, e) if heaviest[g] >= rule.min_weight]
        ranked = sorted(answers, key=lambda g: (-score[g], first[g]))
        edge = dict.fromkeys([*ranked[:most], *ranked[-most:]])
        pairs = [
            (better, worse, round(score[better] - score[worse], 6))
            for i, better in enumerate(edge)
            for worse in list(edge)[i + 1 :]
            if score[better] > 0 and score[better] - score[worse] >= rule.min_margin
        ]
        for i in pick_diverse(pairs, most):
            sides = [own[by_group[ends[g] : ends[g + 1]]].tolist() for g in pairs[i][:2]]
            weight = float(min(heaviest[g] for g in pairs[i][:2]))
            found.append(Contrast(sides[0], sides[1], pairs[i][2], weight))
    return found


def _prompts_with_contrast(prompt: Ints, score: Floats, heaviest: Floats, rule: RuleConfig) -> Ints:
    """Return the prompts with a liked answer and one far enough below it."""
    heavy = heaviest >= rule.min_weight
    prompt, score = prompt[heavy], score[heavy]
    if not len(prompt):
        return prompt
    begins = np.flatnonzero(np.r_[True, prompt[1:] != prompt[:-1]])
    high, low = np.maximum.reduceat(score, begins), np.minimum.reduceat(score, begins)
    apart = (high > 0) & (high - low >= rule.min_margin)
    several = np.diff(np.r_[begins, len(prompt)]) > 1
    found: Ints = prompt[begins[apart & several]]
    return found


def sample_pairs(texts: Texts, rule: RuleConfig, *, most: int) -> list[SamplePair]:
    """Return sampled answers, and corrections, before what they beat by `rule.min_margin`.

    One beats the recorded one by its margin, and another one by the
    difference of their scores; it must be worth `rule.min_score` itself. The weight is the
    margin, at most 1.
    """
    row, number, score, margin = (column.tolist() for column in texts.samples)
    by_row: dict[int, list[int]] = {}
    for i, r in enumerate(row):
        by_row.setdefault(r, []).append(i)
    found = []
    for r, own in sorted(by_row.items()):
        good_ones = [i for i in own if score[i] >= rule.min_score]
        pairs = [(number[i], r, margin[i]) for i in good_ones if margin[i] >= rule.min_margin]
        pairs += [
            (number[i], number[j], score[i] - score[j])
            for i in good_ones
            for j in own
            if score[i] - score[j] >= rule.min_margin
        ]
        pairs = [p for p in pairs if p[2] > 0 and texts.key[p[0]] != texts.key[p[1]]]
        for place in pick_diverse(pairs, most):
            good, bad, wide = pairs[place]
            found.append(SamplePair(r, good, bad, wide, min(1.0, wide)))
    return [pair for pair in found if pair.weight >= rule.min_weight]
