"""Every figure of a comparison: the win rate, and what could be wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tuneloop.compare.prompts import Prompts, row_classes, slice_members
from tuneloop.config.compare import CompareConfig
from tuneloop.statistics.agreement import Agreement, agreement, verdict_classes
from tuneloop.statistics.length import (
    LengthControlled,
    length_controlled,
    length_feature,
    length_matched,
)
from tuneloop.statistics.means import Clusters
from tuneloop.statistics.paired import Comparison, compare_differences
from tuneloop.statistics.ppi import Corrected, corrected_rate
from tuneloop.statistics.quantiles import normal_quantile
from tuneloop.statistics.rates import wilson
from tuneloop.statistics.resampling import Codes, Floats, Resampling

_SLICE_CELLS = 5_000_000
"""Clusters times resamples of one slice; there may be many slices."""


@dataclass(frozen=True)
class Rate:
    """The judge's win rate on some prompts, and its bounds with the missing at their worst.

    `of` is None where no prompt could be scored; estimates are differences from one half.
    """

    of: Comparison | None
    low: float
    high: float
    p_above: float
    p_below: float
    n_prompts: int
    n_scored: int
    n_clusters: int


@dataclass(frozen=True)
class PeopleRate:
    """The win rate corrected by human labels, and its bounds with the missing at their worst."""

    of: Corrected
    low: float
    high: float
    n_scored: int


@dataclass(frozen=True)
class Position:
    """What the order of the answers did.

    `consistency` is the share of prompts judged alike in both orders, `first_rate` the share
    of judgments for the answer shown first (a tie is half), `effect` half the gain from being
    first, `shift` how far it can have moved the win rate, None where it cannot be told.
    """

    n_both: int
    n_judgments: int
    consistency: float | None
    consistency_bounds: tuple[float, float] | None
    first_rate: float | None
    first_bounds: tuple[float, float] | None
    effect: float | None
    shift: float | None


@dataclass(frozen=True)
class Evidence:
    """All that a verdict on judgments rests on; None where it could not be measured."""

    prompts: Prompts
    raw: Rate
    length: LengthControlled | None
    matched: Rate | None
    position: Position
    agreement: Agreement | None
    corrected: PeopleRate | None
    slices: dict[str, tuple[Rate, PeopleRate | None]]
    alpha: float


def measure(prompts: Prompts, config: CompareConfig) -> Evidence:
    """Return every figure of the comparison; the same judgments give the same figures."""
    alpha = config.level
    how = Resampling(alpha=alpha, n_bootstrap=config.n_bootstrap, seed=config.seed)
    wide = (1 - config.confidence) / 2
    everyone = np.arange(len(prompts.ids))
    length, matched = _length(prompts, replace(how, alpha=wide), config)
    judge, human, codes = row_classes(prompts)
    return Evidence(
        prompts=prompts,
        raw=measure_rate(prompts, everyone, how, wide),
        length=length,
        matched=matched,
        position=_position(prompts, wide),
        agreement=agreement(judge, human, codes, alpha=wide) if len(judge) else None,
        corrected=_correct(prompts, everyone, alpha),
        slices={
            name: (
                measure_rate(prompts, members, _fewer(how, len(members)), wide),
                _correct(prompts, members, alpha),
            )
            for name, members in slice_members(prompts).items()
        },
        alpha=alpha,
    )


def measure_rate(prompts: Prompts, members: Codes, how: Resampling, wide: float) -> Rate:
    """Return the win rate on some of the prompts, complete and with the missing at both ends."""
    share, cluster = prompts.share[members], prompts.cluster[members]
    scored = ~np.isnan(share)

    def compared(shares: Floats, clusters: Codes) -> Comparison | None:
        if not len(shares):
            return None
        found, codes = np.unique(clusters, return_inverse=True)
        plain = bool(np.all(np.isin(shares, (0.0, 0.5, 1.0))))
        return compare_differences(
            shares - 0.5,
            how,
            reach=0.5,
            step=0.5 if plain else None,
            codes=codes if len(found) < len(shares) else None,
            wide_alpha=wide,
        )

    complete = compared(share[scored], cluster[scored])
    low, high = prompts.low[members], prompts.high[members]
    against, for_ = [complete], [complete]
    if np.any(low < high):
        against.append(compared(low, cluster))
        for_.append(compared(high, cluster))
    return Rate(
        of=complete,
        low=min((c.ci_low for c in against if c), default=-0.5),
        high=max((c.ci_high for c in for_ if c), default=0.5),
        p_above=max((c.p_value for c in against if c), default=1.0),
        p_below=max((c.p_below for c in for_ if c), default=1.0),
        n_prompts=len(members),
        n_scored=int(scored.sum()),
        n_clusters=complete.n if complete else 0,
    )


def _fewer(how: Resampling, n: int) -> Resampling:
    return replace(how, n_bootstrap=min(how.n_bootstrap, max(1000, _SLICE_CELLS // max(n, 1))))


def _length(
    prompts: Prompts, how: Resampling, config: CompareConfig
) -> tuple[LengthControlled | None, Rate | None]:
    """Return the length-controlled and the length-matched win rate, None where unknown."""
    known = prompts.scored & ~np.isnan(prompts.candidate_chars)
    lengths = prompts.candidate_chars[known], prompts.champion_chars[known]
    feature = length_feature(*lengths) if known.any() else None
    if feature is None:
        return None, None
    codes = np.unique(prompts.cluster[known], return_inverse=True)[1]
    controlled = length_controlled(prompts.share[known], feature, how, codes=codes)
    members = np.flatnonzero(known)[length_matched(*lengths, ratio=config.length_ratio)]
    return controlled, measure_rate(prompts, members, _fewer(how, len(members)), how.alpha)


def _correct(prompts: Prompts, members: Codes, alpha: float) -> PeopleRate | None:
    """Return the corrected rate of some prompts, None where no scored one has a label."""
    found = []
    for share in (prompts.share, prompts.low, prompts.high):
        known = members[~np.isnan(share[members])]
        human, cluster = prompts.human[known], prompts.cluster[known]
        if np.all(np.isnan(human)):
            return None
        probability = prompts.label_probability[known]
        given = not np.any(np.isnan(probability[~np.isnan(human)]))
        codes = np.unique(cluster, return_inverse=True)[1]
        found.append(
            corrected_rate(
                share[known], human, codes, probability=probability if given else None, alpha=alpha
            )
        )
    n_scored = int(prompts.scored[members].sum())
    ends = [c.interval for c in found]
    low, high = min(end[0] for end in ends) - 0.5, max(end[1] for end in ends) - 0.5
    return PeopleRate(found[0], low, high, n_scored)


def _position(prompts: Prompts, wide: float) -> Position:
    both = ~np.isnan(prompts.first) & ~np.isnan(prompts.second)
    n_both = int(both.sum())
    alike = verdict_classes(prompts.first[both]) == verdict_classes(prompts.second[both])
    rows = prompts.rows
    known = (rows.position > 0) & ~np.isnan(rows.preference)
    given: dict[str, Any] = {"first_rate": None, "first_bounds": None, "effect": None}
    given |= {"shift": 0.0 if not known.any() else None}
    if known.any():
        for_first = verdict_classes(rows.preference[known]) / 2
        for_first = np.where(rows.position[known] == 1, for_first, 1 - for_first)
        codes = np.unique(prompts.cluster[rows.prompt[known]], return_inverse=True)[1]
        of = Clusters.of(for_first, codes)
        half = normal_quantile(1 - wide) * of.standard_error
        given |= {
            "first_rate": of.mean,
            "first_bounds": (max(0.0, of.mean - half), min(1.0, of.mean + half)),
        }
        given |= _shift(prompts)
    return Position(
        n_both=n_both,
        n_judgments=int(known.sum()),
        consistency=float(alike.mean()) if n_both else None,
        consistency_bounds=wilson(float(alike.sum()), n_both, wide) if n_both else None,
        **given,
    )


def _shift(prompts: Prompts) -> dict[str, float | None]:
    """Return the effect of being first, and how far it moved a win rate of uneven orders.

    A prompt judged in both orders is not moved. Of the others as many may be judged with the
    candidate first as second; what is not even moves the win rate by the effect.
    """
    first, second = ~np.isnan(prompts.first), ~np.isnan(prompts.second)
    uneven = int(np.sum(first & ~second)) - int(np.sum(second & ~first))
    share = abs(uneven) / max(int(prompts.scored.sum()), 1)
    if not (first.any() and second.any()):
        return {"effect": None, "shift": None}
    both = first & second
    sides = (first, second) if not both.any() else (both, both)
    gain = float(np.mean(prompts.first[sides[0]]) - np.mean(prompts.second[sides[1]]))
    return {"effect": gain / 2, "shift": share * abs(gain) / 2}
