"""Metrics, declared once: the offline gate, a canary and a monitor speak of the same ones."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Direction = Literal["higher", "lower"]
Unit = Literal["share", "score", "seconds", "price", "tokens", "count"]


class MetricSpec(BaseModel):
    """What a metric means, whoever measures it.

    `bounds` are the values that one unit can have; `cluster_unit` is what is drawn
    independently; `attribution_window_s` how long after an answer what happens still counts for
    it (None: nothing is waited for); `estimator` what is computed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    unit: Unit
    direction: Direction
    bounds: tuple[float | None, float | None] = (0.0, 1.0)
    cluster_unit: Literal["prompt_family", "session", "user"] = "prompt_family"
    attribution_window_s: float | None = None
    estimator: Literal["mean", "paired_difference", "win_rate", "quantile_95", "count"]


def _share(name: str, direction: Direction = "higher") -> MetricSpec:
    return MetricSpec(id=name, unit="share", direction=direction, estimator="paired_difference")


METRICS = {
    spec.id: spec
    for spec in (
        _share("pass"),
        MetricSpec(id="judge", unit="share", direction="higher", estimator="win_rate"),
        MetricSpec(id="missing_answers", unit="share", direction="lower", estimator="mean"),
        MetricSpec(
            id="hard_failures", unit="count", direction="lower", bounds=(0.0, None),
            estimator="count",
        ),
        MetricSpec(
            id="latency_p95_s", unit="seconds", direction="lower", bounds=(0.0, None),
            estimator="quantile_95",
        ),
        MetricSpec(
            id="price_per_1000", unit="price", direction="lower", bounds=(0.0, None),
            estimator="paired_difference",
        ),
        MetricSpec(
            id="answer_tokens", unit="tokens", direction="lower", bounds=(0.0, None),
            estimator="mean",
        ),
        MetricSpec(id="judge_order_agreement", unit="share", direction="higher", estimator="mean"),
    )
}  # fmt: skip
"""Those that every evaluation has; a golden set's own checks and graded metrics join by name."""
GATE_METRICS = {
    "missing_answers": "missing_answers",
    "hard_checks": "hard_failures",
    "judge_missing": "missing_answers",
    "judge_orders": "judge_order_agreement",
    "judge_win_rate": "judge",
}
"""Which metric a gate is about, where it is not the primary."""


def metric_spec(name: str) -> MetricSpec:
    """Return a metric's declaration; a check or graded metric is a share per prompt."""
    return METRICS.get(name) or _share(name)


def metric_of_gate(gate: str, primary: str) -> str:
    """Return which metric a gate is about: of the primary and of slices the configured one."""
    if gate.startswith("cheaper:"):
        return gate.removeprefix("cheaper:")
    if gate == "primary" or gate.startswith("slice:"):
        return primary
    return GATE_METRICS.get(gate, primary if not gate.startswith("judge") else "judge")
