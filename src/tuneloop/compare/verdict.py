"""The verdict on a comparison of judgments, each reason a sentence with its number."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tuneloop.artefacts.decision import GateStatus, Verdict
from tuneloop.compare.conditions import Condition, instrument, people_decide, percent
from tuneloop.compare.measure import Evidence, PeopleRate, Rate
from tuneloop.config.compare import CompareConfig
from tuneloop.statistics.power import POWER, minimum_effect, units_needed

SliceVerdict = Literal["non_inferior", "worse", "unproven"]
_STATUS: dict[SliceVerdict, GateStatus] = {
    "non_inferior": "passed", "worse": "failed", "unproven": "unproven",
}  # fmt: skip


@dataclass(frozen=True)
class Primary:
    """What the verdict rests on: the judge's rate, or the one corrected by people.

    Estimate, bounds and `mde` are differences from one half. `n_needed` prompts (with as many
    labels each), or `labels_needed` labels on the same prompts, would prove an estimate of
    this size with 80 % power; None: it lies on the wrong side, or cannot be had.
    """

    by: Literal["judge", "people and judge"]
    estimate: float
    low: float
    high: float
    p_above: float
    p_below: float
    mde: float | None
    n_needed: int | None
    labels_needed: int | None = None


def conclude(of: Evidence, config: CompareConfig) -> tuple[Verdict, list[str], list[Condition]]:
    """Return the verdict, its reasons (the binding one first) and every condition.

    PROMOTE if all conditions pass. REJECT if the candidate is proven worse, overall or on a
    protected slice by more than its margin, by an instrument that holds. Else HOLD.
    """
    conditions = [*instrument(of, config), _primary(of, config), *_slices(of, config)]
    bad = [c for c in conditions if c.status in ("failed", "unproven")]
    broken = [c for c in bad if c.kind == "instrument"]
    rejecting = [c for c in bad if c.kind == "evidence" and c.status == "failed"]
    good = sorted(
        (c for c in conditions if c not in bad),
        key=lambda c: (c.kind == "instrument", c.status == "skipped"),
    )
    verdict: Verdict = "HOLD"
    first = broken
    if not broken and rejecting:
        verdict, first = "REJECT", rejecting
    elif not bad:
        verdict = "PROMOTE"
    ordered = [*first, *(c for c in bad if c not in first), *good]
    return verdict, [c.detail for c in ordered], conditions


def decide_primary(of: Evidence, config: CompareConfig) -> Primary | None:
    """Return what the verdict rests on, None where nothing could be scored."""
    raw, rate = of.raw.of, of.raw
    if raw is None:
        return None
    if of.corrected is not None and people_decide(of, config):
        return _by_people(of.corrected, config, of.alpha)
    spread = raw.mean_square * rate.n_scored / raw.n
    distance = raw.estimate - config.min_improvement
    return Primary(
        by="judge",
        estimate=raw.estimate,
        low=rate.low,
        high=rate.high,
        p_above=rate.p_above,
        p_below=rate.p_below,
        mde=minimum_effect(spread, rate.n_scored, of.alpha),
        n_needed=units_needed(spread, distance, of.alpha),
    )


def slice_verdict(
    of: Evidence, name: str, config: CompareConfig
) -> tuple[SliceVerdict, str, tuple[float, float]]:
    """Return whether a slice is worse by more than the margin, in words, and its bounds.

    Where people decide overall and judge and people hardly agree, they must decide here, too.
    """
    rate, people = of.slices[name]
    low, high, n = rate.low, rate.high, rate.n_clusters
    margin = f"{100 * config.slice_margin:g} points"
    if rate.of is None:
        return "unproven", "none of its prompts was scored", (low, high)
    estimate = rate.of.estimate
    if people_decide(of, config) and _weak(of, config):
        n = people.of.n_clusters if people else 0
        if people is None or people.of.n_labels < config.min_labels:
            more = config.min_labels - n
            detail = f"the judge is no help and {n} of its prompts have a label: {more} more"
            return "unproven", f"{detail} are needed", (low, high)
        low, high, estimate = people.low, people.high, people.of.estimate - 0.5
    shown = (
        f"win rate {percent(0.5 + estimate)}, bounds {percent(0.5 + low)} and"
        f" {percent(0.5 + high)}, n = {n}"
    )
    if n < config.min_slice_prompts:
        return "unproven", f"only {n} scored, {config.min_slice_prompts} needed", (low, high)
    if high < -config.slice_margin:
        return "worse", f"worse by more than {margin} ({shown})", (low, high)
    if low > -config.slice_margin:
        return "non_inferior", f"not worse by {margin} or more ({shown})", (low, high)
    needed = units_needed(rate.of.mean_square, estimate + config.slice_margin, config.level)
    more_text = f"; about {needed} of its prompts would settle it" if needed else ""
    return "unproven", f"could be worse by more than {margin} ({shown}){more_text}", (low, high)


def _weak(of: Evidence, config: CompareConfig) -> bool:
    found = of.agreement
    return found is None or found.kappa is None or found.kappa < config.min_kappa


def _by_people(people: PeopleRate, config: CompareConfig, alpha: float) -> Primary:
    found, n = people.of, people.n_scored
    estimate = found.estimate - 0.5
    distance = estimate - config.min_improvement
    spread = found.standard_error**2 * found.n_labels  # of one label beside this judge
    needed = units_needed(spread, distance, alpha)
    return Primary(
        by="people and judge",
        estimate=estimate,
        low=people.low,
        high=people.high,
        p_above=0.0,
        p_below=0.0,
        mde=minimum_effect(spread, found.n_labels, alpha),
        n_needed=None if needed is None else math.ceil(needed * n / found.n_labels),
        labels_needed=found.needed(distance, n),
    )


def _primary(of: Evidence, config: CompareConfig) -> Condition:
    found, delta, name = decide_primary(of, config), config.min_improvement, "primary"
    if found is None:
        detail = "No prompt could be scored: there is nothing to compare."
        return Condition(name, "unproven", detail, "evidence")
    shown = _shown(of, found)
    if found.low > delta and found.p_above <= of.alpha:
        return Condition(name, "passed", f"The candidate is better: {shown}.", "evidence")
    if found.high < 0 and found.p_below <= of.alpha:
        return Condition(name, "failed", f"The candidate is worse: {shown}.", "evidence")
    detail = (
        f"Not proven better: {shown}; the lower bound must be above {percent(0.5 + delta)}."
        f"{_wanted(of, found)}"
    )
    return Condition(name, "unproven", detail, "evidence")


def _shown(of: Evidence, found: Primary) -> str:
    n = f"{of.raw.n_scored:,} prompts"
    if of.raw.n_clusters < of.raw.n_scored:
        n += f" in {of.raw.n_clusters:,} clusters"
    text = f"its win rate is {percent(0.5 + found.estimate)} on {n}"
    if found.by != "judge" and of.corrected and of.raw.of:
        text += (
            f", corrected by {of.corrected.of.n_labels} human labels (the judge alone says"
            f" {percent(0.5 + of.raw.of.estimate)})"
        )
    text += (
        f", one-sided {100 * (1 - of.alpha):.4g} % bounds {percent(0.5 + found.low)} and"
        f" {percent(0.5 + found.high)}"
    )
    if of.prompts.missing:
        text += " with everything missing at its worst"
    if found.by == "judge":
        p = found.p_above
        text += ", p < 0.0001" if p < 1e-4 else f", p = {p:.2g}"
    return text


def _wanted(of: Evidence, found: Primary) -> str:
    """Return the sentence on what would resolve it."""
    n = of.raw.n_scored
    if found.n_needed is None:
        if found.mde is None:
            return " The two never differ: more prompts alone will not help."
        return (
            f" The estimate itself is not above it: more prompts alone will not help ({n:,} show a"
            f" true win rate of {percent(0.5 + found.mde)} or more with {100 * POWER:g} % power)."
        )
    if found.labels_needed is not None and of.corrected is not None:
        more = max(found.labels_needed - of.corrected.of.n_labels, 1)
        return f" About {more} more human labels would resolve a difference of this size."
    if found.n_needed <= n:
        return " A difference of this size is just resolved by as many: more prompts would help."
    return (
        f" About {found.n_needed:,} prompts would resolve a difference of this size; there were"
        f" {n:,}."
    )


def _slices(of: Evidence, config: CompareConfig) -> Iterator[Condition]:
    for name in config.protected_slices:
        verdict: SliceVerdict = "unproven"
        text = "no prompt is in it"
        if name in of.slices:
            verdict, text, _ = slice_verdict(of, name, config)
        detail = f"Protected slice {name}: {text}."
        yield Condition(f"slice {name}", _STATUS[verdict], detail, "evidence")


def slice_rates(of: Evidence) -> dict[str, Rate]:
    """Return the judge's win rate by slice."""
    return {name: rate for name, (rate, _) in of.slices.items()}
