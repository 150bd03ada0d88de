"""What `decision.json` says: the verdict, its reasons, and every number it rests on.

No NaN and no sentinel: a number that could not be computed is null, and a status and a
reason stand beside it.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tuneloop.artefacts.labels import HumanLabels
from tuneloop.artefacts.metrics import MetricSpec

DECISION_VERSION = 1

Verdict = Literal["PROMOTE", "HOLD", "REJECT"]
EXIT_CODES: dict[Verdict, int] = {"PROMOTE": 0, "HOLD": 10, "REJECT": 20}
"""What `tuneloop decide --exit-code` returns."""
GateStatus = Literal["passed", "failed", "unproven", "skipped"]


class _Record(BaseModel):
    """Base of the decision's parts: frozen, typos fail, NaN and infinity are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Bounds(_Record):
    """The comparison with every missing value counted against, then for, the candidate."""

    estimate_low: float
    ci_low: float
    estimate_high: float
    ci_high: float


class Measured(_Record):
    """Candidate minus champion on one metric.

    `n` counts units: prompt families where the golden set states them, else prompts.
    `estimate` is the mean over units of the difference; for the judge it is the win rate
    minus one half. The interval holds at level `confidence` (1 - 2 alpha), so each of its
    ends is a one-sided bound at alpha. `bounds` is set where values are missing. Where
    nothing could be compared, `estimate` is null and `reason` says why.
    """

    reason: str | None = None
    n: int = 0
    n_prompts: int = 0
    n_missing: int = 0
    estimate: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    confidence: float
    method: str
    p_value: float | None = None
    champion_rate: float | None = None
    candidate_rate: float | None = None
    wins: int = 0
    losses: int = 0
    ties: int = 0
    bounds: Bounds | None = None


class Primary(Measured):
    """The measure the verdict rests on.

    `status` is `missing` where nothing could be compared, with the reason beside it.
    `weighted` says whether prompts counted by their weights; `beside` is the mean of the other
    kind, where the golden set's weights differ.
    `mde` is the smallest true difference this many units would show with 80 % power,
    `n_needed` how many units would show a difference of the estimate's size.
    """

    status: Literal["ok", "missing"]
    metric: str
    unit: Literal["prompt", "family"]
    min_improvement: float
    mde: float | None = None
    n_needed: int | None = None
    weighted: bool = False
    beside: Measured | None = None

    @property
    def rates(self) -> bool:
        """Whether the values are shares, spoken of in percent and points."""
        return self.metric in ("pass", "judge") or self.method.startswith("exact McNemar")


class SliceResult(Measured):
    """One slice. `margin` and the status of a gate where it is protected, else `reported`.

    `improved` and `p_adjusted` are Holm's over all slices that were measured.
    """

    name: str
    protected: bool
    margin: float | None = None
    status: Literal["passed", "failed", "unproven", "reported"]
    detail: str
    n_needed: int | None = None
    improved: bool = False
    p_adjusted: float | None = None


class Gate(_Record):
    """One condition of a promotion: what was measured, against which limit."""

    name: str
    status: GateStatus
    detail: str
    value: float | None = None
    limit: float | None = None
    metric: str | None = None


class SystemRef(_Record):
    """One of the two systems: its digest and what makes it up (a `SystemSpec`)."""

    digest: str
    spec: dict[str, Any]


class JudgeReading(_Record):
    """What the judge said, and what its canaries and its two orders say about it.

    `evaluation` is the judge's part of `evaluation.json` as it was written there.
    """

    role: Literal["deciding", "advisory", "off"]
    decided: bool
    summary: str
    n_prompts: int = 0
    n_missing: int = 0
    missing_fraction: float | None = None
    order_agreement: float | None = None
    first_position_rate: float | None = None
    win_rate: Measured | None = None
    canaries: dict[str, GateStatus] = Field(default_factory=dict)
    evaluation: dict[str, Any] = Field(default_factory=dict)


class PeopleSlice(_Record):
    """People's win rate on one slice, minus one half; null where no pair of it has a label."""

    name: str
    n_pairs: int
    n_labels: int
    estimate: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None


class PeopleReading(_Record):
    """What people said, and the win rate over all pairs that labels and judge give together.

    `estimate` is that win rate minus one half (PPI++), its interval at `confidence`;
    `lower_bound` and `upper_bound` are the one-sided bounds with every pair that lacks an answer
    counted against, then for, the candidate. `more_labels` (on `on_slice`, where one stands out)
    would resolve a difference of this size; null: none would, or none are needed.
    """

    decides: bool
    summary: str
    n_pairs: int = 0
    n_labels: int = 0
    n_people: int = 0
    n_skipped: int = 0
    n_missing: int = 0
    estimate: float | None = None
    standard_error: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    lower_bound: float | None = None
    upper_bound: float | None = None
    confidence: float
    judge_weight: float | None = None
    correlation: float | None = None
    agreement: dict[str, float | int | None] | None = None
    more_labels: int | None = None
    on_slice: str | None = None
    slices: list[PeopleSlice] = Field(default_factory=list)
    labels: HumanLabels | None = None


class Outcomes(_Record):
    """Prompt ids by who did better on the primary, the largest difference first."""

    won: list[str]
    lost: list[str]
    tied: list[str]
    missing: list[str]


class Quantity(_Record):
    """One figure of a system, with its interval where it is an estimate; or why there is none."""

    status: Literal["ok", "missing"] = "ok"
    reason: str | None = None
    value: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    n: int = 0
    basis: str | None = None


class Costs(_Record):
    """What one system's answers cost: tokens per answer, price of a thousand, latency.

    A latency stands here where it was measured as evidence (`evaluate.latency`); what the answers
    took in passing is in the manifest, outside of every digest.
    """

    prompt_tokens: Quantity
    completion_tokens: Quantity
    price_per_1000: Quantity
    latency_p95_s: Quantity
    latency_p50_s: Quantity


class ErrorBudget(_Record):
    """What a golden set's version had been used for when it was asked this.

    `n_before` different questions spent `alpha_before`; this one spends `alpha`. `total` is the
    policy's; null: there is no limit.
    """

    golden: str
    n_before: int
    alpha_before: float
    alpha: float
    total: float | None = None


class Expiry(_Record):
    """For how long the verdict may be acted on, counted from when the decision was made.

    The time itself is in the manifest (`started_at`): no time is in this file.
    """

    days: float
    counted_from: Literal["decision"] = "decision"


class NextAction(_Record):
    """What to do next: a word for machines, a sentence for people, and how many of what."""

    kind: Literal[
        "promote", "approve", "add_prompts", "fix_answers", "fix_judge", "rotate_golden",
        "measure_costs", "run_checks", "name_another", "label_pairs", "stop",
    ]  # fmt: skip
    text: str
    n: int | None = None
    slice: str | None = None


class MetricEvidence(_Record):
    """What the decision knows of one metric: its declaration and candidate minus champion."""

    spec: MetricSpec
    status: Literal["ok", "missing"] = "ok"
    reason: str | None = None
    n: int = 0
    n_missing: int = 0
    estimate: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    confidence: float | None = None


class DecisionRecord(_Record):
    """`decision.json`. The first reason is the constraint that binds.

    With `n_candidates` of them tried together each gate's level is alpha divided by their number.
    """

    schema_version: Literal[1] = 1
    verdict: Verdict
    reasons: list[str] = Field(min_length=1)
    primary: Primary
    slices: list[SliceResult]
    gates: list[Gate]
    judge: JudgeReading
    systems: dict[Literal["champion", "candidate"], SystemRef]
    outcomes: Outcomes
    lineage: dict[str, str]
    phase: Literal["offline", "canary", "monitor"] = "offline"
    objective: Literal["better", "not_worse_and_cheaper"] = "better"
    n_candidates: int = 1
    evidence: dict[str, MetricEvidence] = Field(default_factory=dict)
    costs: dict[Literal["champion", "candidate"], Costs] = Field(default_factory=dict)
    scope: dict[str, str] = Field(default_factory=dict)
    policy: dict[str, Any] | None = None
    error_budget: ErrorBudget | None = None
    expiry: Expiry | None = None
    next_action: NextAction | None = None
    people: PeopleReading | None = None
