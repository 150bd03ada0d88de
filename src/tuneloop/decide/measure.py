"""From prompts' values to what `decision.json` states about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tuneloop.artefacts.decision import Bounds, Measured, Outcomes, Primary, SliceResult
from tuneloop.artefacts.digest import digest_json
from tuneloop.config.decide import DecideConfig
from tuneloop.decide.outcomes import Evidence, Missing, Pair, collapse, filled
from tuneloop.statistics.means import Clusters
from tuneloop.statistics.multiplicity import holm
from tuneloop.statistics.paired import Comparison, compare, compare_clusters
from tuneloop.statistics.power import minimum_effect, units_needed
from tuneloop.statistics.resampling import Resampling


@dataclass(frozen=True)
class Measurement:
    """A comparison of one metric on some prompts: complete pairs, and the two extremes.

    `low` and `high` are the bounds that a decision may rest on: with values missing, those
    of the extremes. `n` is 0 and `complete` None where no pair was complete.
    """

    complete: Comparison | None
    against: Comparison | None
    for_: Comparison | None
    n_prompts: int
    n_missing: int

    @property
    def low(self) -> float:
        """Lower bound with every missing value counted against the candidate."""
        return self.against.ci_low if self.against else -1.0

    @property
    def high(self) -> float:
        """Upper bound with every missing value counted for the candidate."""
        return self.for_.ci_high if self.for_ else 1.0

    @property
    def n(self) -> int:
        """Units with a complete pair."""
        return self.complete.n if self.complete else 0


def measure(
    pairs: Mapping[str, Pair],
    units: Mapping[str, str],
    how: Resampling,
    *,
    judge: bool = False,
    weights: Mapping[str, float] | None = None,
) -> Measurement:
    """Compare champion and candidate on the prompts in `pairs`, rows of one unit averaged.

    With `weights` the mean is over prompts, each counting its weight, and its error over units.
    """
    missing = [p for p in pairs.values() if p.champion is None or p.candidate is None]

    def compared(mode: Missing) -> Comparison | None:
        if weights is not None:
            return _compare_weighted(filled(pairs, mode), units, weights, how, judge=judge)
        values = list(collapse(pairs, units, mode).values())
        if not values:
            return None
        champion, candidate = np.array(values, dtype=np.float64).T
        return compare(champion, candidate, how, scale=0.5 if judge else 1)

    complete = compared("leave_out")
    extremes = (compared("against"), compared("for")) if missing else (complete, complete)
    return Measurement(
        complete=complete,
        against=extremes[0],
        for_=extremes[1],
        n_prompts=len(pairs),
        n_missing=len(missing),
    )


def measure_both(
    pairs: Mapping[str, Pair], evidence: Evidence, how: Resampling, config: DecideConfig
) -> tuple[Measurement, Measurement | None]:
    """Return the primary's measurement, and that of the other kind: with weights, or without.

    Where all weights are alike there is one kind alone.
    """
    units, weights, judge = evidence.units, evidence.weights, config.metric == "judge"
    plain = measure(pairs, units, how, judge=judge)
    if len({weights[p] for p in pairs}) < 2:
        return plain, None
    weighted = measure(pairs, units, how, judge=judge, weights=weights)
    return (weighted, plain) if config.weighted else (plain, weighted)


def _compare_weighted(
    values: Mapping[str, tuple[float, float]],
    units: Mapping[str, str],
    weights: Mapping[str, float],
    how: Resampling,
    *,
    judge: bool,
) -> Comparison | None:
    """Return the comparison of weighted means, its error robust to what units share."""
    if not values:
        return None
    order = sorted(values)
    champion, candidate = np.array([values[p] for p in order], dtype=np.float64).T
    counted = np.array([weights[p] for p in order], dtype=np.float64)
    codes = np.unique([units[p] for p in order], return_inverse=True)[1].astype(np.int64)
    scale = 0.5 if judge else 1.0
    reach = scale * max(1.0, float(np.max(np.abs([champion, candidate]))))
    clusters = Clusters.of(scale * (candidate - champion), codes, counted)
    found = compare_clusters(clusters, how, reach=reach)
    own, others = (float(np.average(side, weights=counted)) for side in (candidate, champion))
    return replace(found, champion_rate=others, candidate_rate=own)


def measured_fields(of: Measurement, alpha: float, *, nothing: str) -> dict[str, Any]:
    """Return the fields of a `Measured`, rounded to six digits so that they replay alike."""
    fields: dict[str, Any] = {
        "confidence": rounded(1 - 2 * alpha),
        "n": of.n,
        "n_prompts": of.n_prompts,
        "n_missing": of.n_missing,
    }
    c = of.complete
    if c is None:
        return fields | {"method": "none", "reason": nothing}
    if of.n_missing and of.against and of.for_:
        fields["bounds"] = Bounds(
            estimate_low=rounded(of.against.estimate),
            ci_low=rounded(of.against.ci_low),
            estimate_high=rounded(of.for_.estimate),
            ci_high=rounded(of.for_.ci_high),
        )
    numbers = ("estimate", "ci_low", "ci_high", "p_value", "champion_rate", "candidate_rate")
    counts = {"wins": c.wins, "losses": c.losses, "ties": c.ties, "method": c.method}
    return fields | counts | {name: rounded(getattr(c, name)) for name in numbers}


def state_measured(of: Measurement, alpha: float, *, nothing: str) -> Measured:
    """Return a measurement as `decision.json` states it."""
    return Measured(**measured_fields(of, alpha, nothing=nothing))


def state_primary(
    of: Measurement,
    units: Mapping[str, str],
    config: DecideConfig,
    other: Measurement | None = None,
) -> Primary:
    """Return the primary as `decision.json` states it, the `other` mean beside it."""
    nothing = f"no prompt has a value of {config.metric!r} for both systems"
    fields = measured_fields(of, config.alpha, nothing=nothing)
    clustered = len(set(units.values())) < len(units)
    weighted = config.weighted and other is not None
    if weighted and of.complete:
        fields["method"] += "; prompts by their weights"
    if clustered and of.complete and not weighted:
        fields["method"] += f"; {of.n_prompts} prompts averaged within {of.n} families"
    mde = needed = None
    if of.complete:
        square = of.complete.mean_square
        mde = minimum_effect(square, of.n, config.alpha)
        needed = units_needed(square, of.complete.estimate - config.min_improvement, config.alpha)
    return Primary(
        **fields,
        status="ok" if of.complete else "missing",
        metric=config.metric,
        unit="family" if any(u.startswith("family:") for u in units.values()) else "prompt",
        min_improvement=config.min_improvement,
        mde=None if mde is None else rounded(mde),
        n_needed=needed,
        weighted=weighted,
        beside=state_measured(other, config.alpha, nothing=nothing) if other else None,
    )


def measure_slices(
    pairs: Mapping[str, Pair],
    prompts: Sequence[Mapping[str, Any]],
    units: Mapping[str, str],
    config: DecideConfig,
    how: Resampling,
) -> list[SliceResult]:
    """Return every slice of the golden set and every protected one, by name.

    A protected slice passes if its lower bound is above minus the margin, each at alpha: all
    must pass, which needs no correction (intersection-union). The others are reported; which
    improved is Holm's over all.
    """
    members: dict[str, list[str]] = {name: [] for name in config.protected_slices}
    for prompt in prompts:
        for name in prompt.get("slices") or []:
            members.setdefault(name, []).append(prompt["id"])
    found = {
        name: measure(
            {i: pairs[i] for i in ids if i in pairs}, units, how, judge=config.metric == "judge"
        )
        for name, ids in sorted(members.items())
    }
    p_values = {name: m.complete.p_value for name, m in found.items() if m.complete}
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return [_state_slice(name, m, config, adjusted.get(name)) for name, m in found.items()]


def _state_slice(
    name: str, of: Measurement, config: DecideConfig, p_adjusted: float | None
) -> SliceResult:
    protected = name in config.protected_slices
    margin, needed = config.margin_of(name), None
    status, detail = "reported", "shown, decides nothing"
    if protected:
        status, detail = _gate_slice(of, config, margin)
        if status == "unproven" and of.complete:
            distance = of.complete.estimate + margin
            needed = units_needed(of.complete.mean_square, distance, config.alpha)
            needed = max(needed, config.min_slice_prompts) if needed else None
    return SliceResult(
        **measured_fields(of, config.alpha, nothing="no prompt of this slice was scored"),
        name=name,
        protected=protected,
        margin=margin if protected else None,
        status=status,  # type: ignore[arg-type]
        detail=detail,
        n_needed=needed,
        improved=p_adjusted is not None and p_adjusted <= config.alpha,
        p_adjusted=None if p_adjusted is None else rounded(p_adjusted),
    )


def _gate_slice(of: Measurement, config: DecideConfig, allowed: float) -> tuple[str, str]:
    margin = f"{100 * allowed:g} points"
    if of.n < config.min_slice_prompts:
        return "unproven", f"only {of.n} scored, {config.min_slice_prompts} needed"
    if of.high < -allowed:
        return "failed", f"worse by more than {margin}"
    if of.low > -allowed:
        return "passed", f"not worse by {margin} or more"
    worst = f"could be worse by {-100 * of.low:.1f} points, {margin} allowed"
    return "unproven", worst


def rank_outcomes(pairs: Mapping[str, Pair]) -> Outcomes:
    """Return prompt ids by who did better, the largest difference first, then shuffled."""
    sides: dict[str, list[tuple[float, str, str]]] = {
        "won": [], "lost": [], "tied": [], "missing": [],
    }  # fmt: skip
    for prompt, pair in pairs.items():
        if pair.champion is None or pair.candidate is None:
            gap, side = 0.0, "missing"
        else:
            gap = pair.candidate - pair.champion
            side = "tied" if abs(gap) <= 1e-12 else "won" if gap > 0 else "lost"
        # Shuffled by their digest: the golden set's order often follows its slices.
        sides[side].append((-abs(gap), digest_json(prompt), prompt))
    return Outcomes(**{side: [p for *_, p in sorted(rows)] for side, rows in sides.items()})


def rounded(value: float) -> float:
    """Return a number to six significant digits; more would not replay on every machine."""
    return float(f"{value:.6g}")
