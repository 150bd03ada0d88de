"""Config of the decision and the report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from tuneloop.config.base import Conflict, Section


class DecideConfig(Section):
    """Which evidence promotes."""

    metric: str = "pass"
    """`pass`: all required checks of a prompt hold. Or the name of a check or graded metric, or
    `judge` for the judge's win rate."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """One-sided level of every gate, shared by `n_candidates`."""
    n_candidates: int = Field(default=1, ge=1)
    """How many candidates were tried on these prompts at once; each of m is tested at alpha / m
    (the first step of Holm's procedure)."""
    min_improvement: float = Field(default=0.0, ge=0, lt=1)
    """The primary's lower bound must exceed this."""
    weighted: bool = False
    """Weigh the primary by the golden prompts' weights (`tuneloop golden weigh`), so that it speaks
    of production's mix. Slices and the judge stay unweighted; the other mean is shown beside."""
    protected_slices: list[str] = Field(default_factory=list)
    """Slices that may not get worse: unproven means HOLD."""
    slice_margin: float = Field(default=0.05, ge=0, lt=1)
    """How much worse a protected slice may be (non-inferiority margin), in the metric's unit."""
    min_slice_prompts: int = Field(default=10, ge=1)
    """With fewer prompts (families, where the golden set states them) a slice is unproven."""
    max_missing_fraction: float = Field(default=0.05, ge=0, le=1)
    """Above this share of prompts without an answer from either system: HOLD."""
    max_hard_failures: int = Field(default=0, ge=0)
    """More failed hard checks than this on the candidate: REJECT. One that could not be run
    for want of an answer counts as failed until it is: HOLD."""
    judge_margin: float = Field(default=0.0, ge=0, lt=0.5)
    """How far below one half the lower bound of a deciding judge's win rate may lie where the
    judge is not the metric; 0: the judge, too, must find the candidate better."""
    min_labels: int = Field(default=30, ge=2)
    """From this many prompts with a human label on, the win rate corrected by them (PPI++) decides
    in the place of the judge's."""
    min_kappa: float = Field(default=0.2, ge=-1, le=1)
    """A judge whose agreement with people is proven to be below this decides nothing: HOLD, unless
    there are labels enough to decide without it."""
    n_bootstrap: int = Field(default=10_000, ge=100)
    """Resamples of the bootstrap and of the permutation test, for graded metrics, the judge
    and families."""
    objective: Literal["better", "not_worse_and_cheaper"] = "better"
    """`better`: above `min_improvement`. `not_worse_and_cheaper`: not worse by `margin` or more,
    and cheaper or faster by what was measured in the same evaluation."""
    margin: float = Field(default=0.03, gt=0, lt=1)
    """How much worse the primary may be where the objective is `not_worse_and_cheaper`."""
    cheaper_by: Literal["price", "latency", "either"] = "either"
    """What must be lower: the price of a thousand requests, the 95th percentile of the latency, or
    one of them (each then at half the level)."""
    slice_margins: dict[str, float] = Field(default_factory=dict)
    """Margins of protected slices that have another than `slice_margin`."""
    valid_days: float = Field(default=30, gt=0)
    """For how many days after it was made a PROMOTE may move the alias: traffic drifts."""
    policy: str | None = None
    """A policy's YAML file: approvals, hard gates, error budget, freezes. None: none of them."""
    promote: bool | Literal["again"] = True
    """Move the champion alias on PROMOTE; `again`: even to a system that was rolled back."""

    @property
    def level(self) -> float:
        """One-sided level of this candidate's gates."""
        return self.alpha / self.n_candidates

    @property
    def limit(self) -> float:
        """What the primary's lower bound must exceed, by the objective."""
        return self.min_improvement if self.objective == "better" else -self.margin

    def margin_of(self, name: str) -> float:
        """Return how much worse a protected slice may be."""
        return self.slice_margins.get(name, self.slice_margin)

    def conflicts(self) -> Iterator[Conflict]:
        """A margin of a slice that is not protected would do nothing."""
        loose = sorted(set(self.slice_margins) - set(self.protected_slices))
        if loose:
            yield Conflict(
                ("slice_margins", "protected_slices"),
                f"slice_margins of slices that are not protected: {', '.join(loose)}",
            )
        if self.objective != "better" and self.min_improvement:
            yield Conflict(
                ("min_improvement", "objective"),
                "min_improvement is of the objective better; the other one has margin",
            )


class ReportConfig(Section):
    """What people look at."""

    title: str | None = None
    """Heading; None: the run's name."""
    n_examples: int = Field(default=6, ge=0)
    """Won, lost and tied examples shown side by side, each."""
