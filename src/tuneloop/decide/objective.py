"""Objectives beside "better", and what a decision knows by metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tuneloop.artefacts.decision import (
    Costs,
    Gate,
    GateStatus,
    JudgeReading,
    Measured,
    MetricEvidence,
    Primary,
    Quantity,
)
from tuneloop.artefacts.metrics import metric_of_gate, metric_spec
from tuneloop.config.decide import DecideConfig
from tuneloop.decide.measure import Measurement, rounded
from tuneloop.decide.wording import Wording


def limit_of(config: DecideConfig) -> DecideConfig:
    """Return a config whose primary is measured against the objective's own limit."""
    if config.objective == "better":
        return config
    return config.model_copy(update={"min_improvement": config.limit})


def gate_not_worse(of: Measurement, primary: Primary, config: DecideConfig) -> Gate:
    """Pass if proven not worse by the margin, fail if proven worse than it."""
    words = Wording.of(primary)
    limit = -config.margin
    if of.complete is None or of.against is None:
        detail = f"Nothing could be compared: {primary.reason}."
        return Gate(name="primary", status="unproven", detail=detail, limit=limit)
    status: GateStatus = "unproven"
    said = f"could be worse by {words.gap(config.margin).lstrip('+')} or more"
    if of.low > limit:
        status, said = "passed", f"is not worse by {words.gap(config.margin).lstrip('+')} or more"
    elif of.high < limit:
        status, said = "failed", f"is worse by more than {words.gap(config.margin).lstrip('+')}"
    detail = f"The candidate {said}: {words.evidence(primary)}."
    if status == "unproven" and primary.n_needed and primary.n_needed > primary.n:
        detail += (
            f" About {primary.n_needed} {words.units} would settle it; there were {primary.n}."
        )
    if of.n_missing:
        detail += words.with_missing(of.low, of.high, of.n_missing)
    return Gate(name="primary", status=status, detail=detail, value=rounded(of.low), limit=limit)


def name_metrics(gates: Sequence[Gate], primary: str) -> list[Gate]:
    """Return the gates, each with the metric it is about."""
    return [g.model_copy(update={"metric": metric_of_gate(g.name, primary)}) for g in gates]


def evidence_by_metric(
    primary: Primary, judge: JudgeReading, costs: Mapping[Any, Costs], gates: Sequence[Gate]
) -> dict[str, MetricEvidence]:
    """Return what is known of each metric that a gate names or a cost states."""
    found = {primary.metric: _measured(primary.metric, primary)}
    if judge.win_rate is not None:
        found.setdefault("judge", _measured("judge", judge.win_rate))
    named = {"answer_tokens": "completion_tokens", "price_per_1000": "price_per_1000",
             "latency_p95_s": "latency_p95_s"}  # fmt: skip
    for metric, part in named.items():
        sides = [getattr(costs[side], part) for side in ("champion", "candidate")]
        found[metric] = _difference(metric, *sides)
    for gate in gates:
        if gate.metric and gate.metric not in found and gate.metric != "either":
            missing: dict[str, Any] = {}
            if gate.value is None:
                missing = {"status": "missing", "reason": gate.detail}
            spec = metric_spec(gate.metric)
            found[gate.metric] = MetricEvidence(spec=spec, estimate=gate.value, **missing)
    return found


def _measured(metric: str, of: Measured) -> MetricEvidence:
    return MetricEvidence(
        spec=metric_spec(metric),
        status="missing" if of.estimate is None else "ok",
        reason=of.reason,
        n=of.n,
        n_missing=of.n_missing,
        estimate=of.estimate,
        ci_low=of.ci_low,
        ci_high=of.ci_high,
        confidence=of.confidence,
    )


def _difference(metric: str, champion: Quantity, candidate: Quantity) -> MetricEvidence:
    spec = metric_spec(metric)
    if champion.value is None or candidate.value is None:
        reason = champion.reason or candidate.reason
        return MetricEvidence(spec=spec, status="missing", reason=reason)
    gap = rounded(candidate.value - champion.value)
    return MetricEvidence(spec=spec, n=min(champion.n, candidate.n), estimate=gap)
