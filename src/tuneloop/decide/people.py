"""What people's labels say of the pairs, with the judge's scores beside them (PPI++)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuneloop.artefacts.decision import PeopleReading, PeopleSlice
from tuneloop.artefacts.labels import HumanLabels
from tuneloop.config.decide import DecideConfig
from tuneloop.decide.measure import rounded
from tuneloop.decide.outcomes import Evidence, judge_values
from tuneloop.statistics.agreement import agreement, verdict_classes
from tuneloop.statistics.power import units_needed, win_rate_square
from tuneloop.statistics.ppi import Corrected, corrected_rate
from tuneloop.statistics.resampling import Codes, Floats

SMALLEST = 0.05
"""Where nothing is known yet, as many labels are asked for as show a difference of this size."""


@dataclass(frozen=True)
class _Pairs:
    """The pairs that both systems answered, by column, shapes (T,).

    `judge` is ½ where the judge said nothing: the correction holds for any guess.
    """

    ids: list[str]
    judge: Floats
    judged: np.ndarray
    human: Floats
    probability: Floats
    codes: Codes
    slices: list[frozenset[str]]

    def rate(self, members: np.ndarray, alpha: float) -> Corrected | None:
        """Return the corrected rate of some pairs, None where none has a label."""
        human = self.human[members]
        if np.all(np.isnan(human)):
            return None
        codes = np.unique(self.codes[members], return_inverse=True)[1]
        return corrected_rate(
            self.judge[members], human, codes, probability=self.probability[members], alpha=alpha
        )


def read_people(
    evidence: Evidence, labels: HumanLabels | None, config: DecideConfig
) -> PeopleReading | None:
    """Return what people said, None where nobody did and no judge decides that they could help."""
    role = (evidence.evaluation.get("judge") or {}).get("role", "off")
    if labels is None and role != "deciding":
        return None
    pairs = _pairs(evidence, labels)
    found = pairs.rate(np.arange(len(pairs.ids)), config.level) if pairs.ids else None
    if labels is None or found is None:
        return _nobody(pairs, config)
    n_missing = len(evidence.prompts) - len(pairs.ids)
    share = n_missing / max(len(evidence.prompts), 1)
    low, high = found.interval
    decides = role == "deciding" and found.n_labels >= config.min_labels and not labels.uncovered
    slices = _slices(pairs, config)
    limit = config.limit if config.metric == "judge" else -config.judge_margin
    more, where = _more(pairs, found, labels, limit, config)
    reading = PeopleReading(
        decides=decides,
        summary="",
        n_pairs=len(pairs.ids),
        n_labels=found.n_labels,
        n_people=labels.n_people,
        n_skipped=labels.n_skipped,
        n_missing=n_missing,
        estimate=rounded(found.estimate - 0.5),
        standard_error=rounded(found.standard_error) if found.n_clusters > 1 else None,
        ci_low=rounded(low - 0.5),
        ci_high=rounded(high - 0.5),
        lower_bound=rounded((1 - share) * low - 0.5),
        upper_bound=rounded((1 - share) * high + share - 0.5),
        confidence=rounded(1 - 2 * config.level),
        judge_weight=rounded(found.weight),
        correlation=None if found.correlation is None else rounded(found.correlation),
        agreement=_agreement(pairs),
        more_labels=more,
        on_slice=where,
        slices=slices,
        labels=labels,
    )
    return reading.model_copy(update={"summary": _summary(reading, labels, config)})


def _pairs(evidence: Evidence, labels: HumanLabels | None) -> _Pairs:
    absent = {prompt for prompt, _ in evidence.answer_missing}
    prompts = [p for p in evidence.prompts if p["id"] not in absent]
    shares = {p: pair.candidate for p, pair in judge_values(evidence.judgments).items()}
    by_id = {one.prompt_id: one for one in labels.labels} if labels else {}
    said = [by_id.get(p["id"]) for p in prompts]
    judge = [shares.get(p["id"]) for p in prompts]
    units = [evidence.units[p["id"]] for p in prompts]
    return _Pairs(
        ids=[p["id"] for p in prompts],
        judge=np.array([0.5 if s is None else s for s in judge], dtype=np.float64),
        judged=np.array([s is not None for s in judge], dtype=bool),
        human=np.array([np.nan if s is None else s.human for s in said], dtype=np.float64),
        probability=np.array([1.0 if s is None else s.probability for s in said]),
        codes=np.unique(np.array(units, dtype=str), return_inverse=True)[1].astype(np.int64),
        slices=[frozenset(p.get("slices") or ()) for p in prompts],
    )


def _members(pairs: _Pairs) -> dict[str, np.ndarray]:
    names = sorted({name for held in pairs.slices for name in held})
    return {
        name: np.array([i for i, held in enumerate(pairs.slices) if name in held]) for name in names
    }


def _slices(pairs: _Pairs, config: DecideConfig) -> list[PeopleSlice]:
    found = []
    for name, members in _members(pairs).items():
        rate = pairs.rate(members, config.level)
        fields: dict[str, Any] = {}
        if rate is not None:
            low, high = rate.interval
            fields = {"estimate": rounded(rate.estimate - 0.5), "ci_low": rounded(low - 0.5),
                      "ci_high": rounded(high - 0.5)}  # fmt: skip
        n = rate.n_labels if rate else 0
        found.append(PeopleSlice(name=name, n_pairs=len(members), n_labels=n, **fields))
    return found


def _agreement(pairs: _Pairs) -> dict[str, float | int | None] | None:
    """Return how far judge and people agree, weighted back to all pairs; None for no such pair."""
    both = pairs.judged & ~np.isnan(pairs.human)
    if not both.any():
        return None
    found = agreement(
        verdict_classes(pairs.judge[both]),
        verdict_classes(pairs.human[both]),
        np.unique(pairs.codes[both], return_inverse=True)[1],
        weights=1 / pairs.probability[both],
    )
    names = ("accuracy", "accuracy_low", "accuracy_high", "kappa", "kappa_low", "kappa_high")
    values = {name: getattr(found, name) for name in names}
    return {"n": found.n} | {k: None if v is None else rounded(v) for k, v in values.items()}


def _more(
    pairs: _Pairs, found: Corrected, labels: HumanLabels, limit: float, config: DecideConfig
) -> tuple[int | None, str | None]:
    """Return how many more labels would settle it, and the slice where each is worth the most."""
    low, high = found.interval
    settled = low - 0.5 > limit or high - 0.5 < min(0.0, limit)
    few = max(config.min_labels - found.n_labels, 0)
    if settled and not labels.uncovered:
        return few or None, None
    if labels.uncovered:
        return max(few, 2 * len(labels.uncovered)), labels.uncovered[0]
    estimate = found.estimate - 0.5
    needed = found.needed(abs(estimate - limit), len(pairs.ids))
    more = max(needed - found.n_labels, few, 1) if needed is not None else None
    return (more, _where(pairs, found)) if more else (None, None)


def _where(pairs: _Pairs, found: Corrected) -> str | None:
    """Return the slice where one more label takes most off the squared error; None without any.

    That is the slice's part of it, divided by its labels.
    """
    labelled = ~np.isnan(pairs.human)
    w = np.where(labelled, 1 / pairs.probability, 0.0)
    rest = np.where(labelled, pairs.human - found.weight * pairs.judge, 0.0)
    part = (w * (rest - float(w @ rest) / float(w.sum()))) ** 2
    gains: dict[str, float] = {}
    for name, members in _members(pairs).items():
        n = int(labelled[members].sum())
        if n < len(members):
            gains[name] = float(part[members].sum()) / n if n > 1 else float("inf")
    return max(sorted(gains), key=gains.__getitem__) if len(gains) > 1 else None


def _nobody(pairs: _Pairs, config: DecideConfig) -> PeopleReading:
    """Return what is said where no pair has a label: how many would let people decide."""
    n = len(pairs.ids)
    judged = pairs.judge[pairs.judged]
    limit = config.limit if config.metric == "judge" else -config.judge_margin
    distance = abs(float(np.mean(judged)) - 0.5 - limit) if len(judged) else SMALLEST
    wanted = units_needed(win_rate_square(), max(distance, SMALLEST), config.level) or n
    more = min(max(wanted, config.min_labels), n)
    text = f"No pair has a human label. {more} labels (`tuneloop label`) would let people decide."
    return PeopleReading(
        decides=False, summary=text, n_pairs=n, confidence=rounded(1 - 2 * config.level),
        more_labels=more or None,
    )  # fmt: skip


def _summary(of: PeopleReading, labels: HumanLabels, config: DecideConfig) -> str:
    assert of.estimate is not None
    assert of.ci_low is not None
    assert of.ci_high is not None
    text = (
        f"{of.n_people} {'person' if of.n_people == 1 else 'people'} labelled {of.n_labels} of"
        f" {of.n_pairs} pairs; corrected by them, the candidate's win rate is"
        f" {100 * (0.5 + of.estimate):.1f} % ({100 * of.confidence:g} % interval"
        f" {100 * (0.5 + of.ci_low):.1f} to {100 * (0.5 + of.ci_high):.1f} %)"
    )
    kappa = (of.agreement or {}).get("kappa")
    if kappa is not None:
        text += f"; judge and people agree with a kappa of {kappa:.2f}"
    if of.decides:
        text += ". People decide, whatever the judge's faults"
    elif labels.uncovered:
        text += f". Too few labels to speak for all pairs: {', '.join(labels.uncovered)}"
    elif of.n_labels < config.min_labels:
        text += f". From {config.min_labels} labels on people decide"
    return f"{text}.{wanted_text(of)}"


def wanted_text(of: PeopleReading) -> str:
    """Return the sentence on how many more labels are needed, and where."""
    if not of.more_labels:
        return ""
    where = f", best on the slice {of.on_slice!r}" if of.on_slice else ""
    return f" About {of.more_labels} more labels{where}, would settle it."


def weak_judge(of: PeopleReading, config: DecideConfig) -> bool:
    """Return whether judge and people are not seen to agree beyond chance."""
    kappa = (of.agreement or {}).get("kappa")
    return kappa is None or kappa < config.min_kappa


def slice_of(of: PeopleReading, name: str) -> PeopleSlice | None:
    """Return what people said of one slice."""
    by_name: Mapping[str, PeopleSlice] = {one.name: one for one in of.slices}
    return by_name.get(name)
