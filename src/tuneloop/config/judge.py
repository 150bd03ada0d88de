"""Config of the LLM judge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from tuneloop.config.base import Conflict, Section
from tuneloop.config.engine import EngineConfig

JudgeKind = Literal["pairwise", "reference", "pointwise", "checklist"]


class CertificateConfig(Section):
    """What a judge is held to in every run, like an instrument before it measures."""

    n_canaries: int = Field(default=4, ge=0)
    """Golden prompts each canary (identical, A/A copies, padded, null, injection, known bad) is
    tried on; 0: none, and then no certificate. Four cost 48 judgments."""
    canary_tolerance: float = Field(default=0.15, ge=0, lt=0.5)
    """How far from ½ a canary's score may be where neither answer is better, and must be where one
    is worse."""
    min_order_agreement: float = Field(default=0.6, ge=0, le=1)
    """Least share of prompts that both orders judge alike."""
    max_position_bias: float = Field(default=0.15, ge=0, le=0.5)
    """How far from ½ the mean share of the answer shown first may be."""
    max_length_bias: float = Field(default=0.25, ge=0, le=0.5)
    """How far above ½ the share of the longer answer may be where rules find both answers equally
    good; the lower bound counts."""
    n_consistency: int = Field(default=8, ge=0)
    """Prompts judged a second time, drawn at a temperature, whether undecided or not; 0: none, and
    self-consistency is unproven."""
    min_self_consistency: float = Field(default=0.7, ge=0, le=1)
    """Least share of those that are judged alike both times."""
    labelled: str | None = None
    """File of pairs that people judged, one JSON object a line: `id`, `messages` or `prompt`,
    `champion`, `candidate`, `human` (0, 0.5 or 1), optional `reference`, `slices`, `family`. The
    judge is asked about them in every run; None: agreement with people is not known."""
    min_kappa: float = Field(default=0.2, ge=-1, le=1)
    """Least agreement with those people, beyond chance; below 0.2 people must decide."""
    anchors: str | None = None
    """File of fixed pairs, laid out as `labelled`, whose scores are compared with the first that
    this judge gave them; None: the pairs that come with tuneloop."""
    max_drift: float = Field(default=0.1, ge=0, le=1)
    """Largest mean change of a score on the anchors."""


class PanelJudge(Section):
    """One more judge beside the first."""

    model: str | None = None
    """Weights (folder, GGUF, hub id); None behind an address, where the engine names the model."""
    engine: EngineConfig | None = None
    """Where it runs; None: as the first judge does."""


class JudgeConfig(Section):
    """The LLM judge: both orders, typed failures, a certificate."""

    role: Literal["deciding", "advisory", "off"] = "off"
    """`deciding`: its win rate is a gate, and without a certificate it holds the verdict.
    `advisory`: shown, decides nothing. `off`: not asked."""
    kind: JudgeKind = "pairwise"
    """`pairwise`: which answer is better, both shown in both orders. `reference`: which agrees
    better with the reference. `pointwise`: each answer graded alone, 1 to 5. `checklist`: each
    requirement of the golden prompt asked of each answer alone."""
    model: str | None = None
    """Judge weights (folder, GGUF, hub id); None: the base model of the run."""
    engine: EngineConfig | None = None
    """Where the judge runs; None: as the answers do."""
    panel: list[PanelJudge] = Field(default_factory=list)
    """More judges. Scores of those with a certificate are averaged; prompts on which they differ
    are listed for people. Best of two or three families, none of them the base's."""
    same_family: Literal["allow", "warn", "refuse"] = "warn"
    """What to do with a judge of the base model's family: judges prefer answers like their own."""
    n_prompts: int | None = Field(default=60, ge=1)
    """How many golden prompts are judged (seeded sample); None: all."""
    rubric: str = (
        "Prefer the answer that solves the task correctly and in the required form. "
        "Length and formatting are not quality."
    )
    """What is better, in the task's own words."""
    reasoning_tokens: int = Field(default=64, ge=0)
    """Tokens of free reasoning before the label; 0: none."""
    off_label_cap: float = Field(default=0.2, ge=0, le=1)
    """Above this probability off the labels, structured output decides and the row says so."""
    n_resamples: int = Field(default=2, ge=0)
    """Further samples of each undecided prompt, in every order; 0: none."""
    undecided_within: float = Field(default=0.15, ge=0, le=0.5)
    """A prompt is undecided if its score is nearer to ½ than this."""
    max_missing_fraction: float = Field(default=0.1, ge=0, le=1)
    """Above this share of missing judgments a deciding judge holds the verdict."""
    when_invalid: Literal["hold", "rules"] = "hold"
    """What a deciding judge without a certificate leaves: `hold` the verdict, or let the `rules`
    alone decide."""
    certificate: CertificateConfig = CertificateConfig()
    """What the judge is held to."""

    def members(self) -> list[JudgeConfig]:
        """Return the config of each judge: the first, then the panel's."""
        first = self.model_copy(update={"panel": []})
        return [first] + [
            first.model_copy(update={"model": one.model, "engine": one.engine or self.engine})
            for one in self.panel
        ]

    def conflicts(self) -> Iterator[Conflict]:
        """A deciding judge needs its canaries; a panel's judges differ."""
        if self.role == "deciding" and self.certificate.n_canaries == 0:
            yield Conflict(
                ("certificate.n_canaries", "role"),
                "a deciding judge needs canaries: without them it has no certificate",
            )
        seen = [(self.model, self.engine)]
        for i, member in enumerate(self.panel):
            mine = (member.model, member.engine or self.engine)
            if mine in seen:
                yield Conflict((f"panel.{i}",), f"panel.{i} is the same judge as another one")
            seen.append(mine)
