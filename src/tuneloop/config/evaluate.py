"""Config of evaluation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tuneloop.artefacts.systems import Sampling
from tuneloop.config.base import Section
from tuneloop.config.engine import EngineConfig
from tuneloop.config.golden import EncoderConfig
from tuneloop.config.judge import JudgeConfig

__all__ = ["EngineConfig", "EvaluateConfig", "JudgeConfig"]


class LatencyConfig(Section):
    """Latency as evidence: the same prompts to both systems, warmed up, nothing from a cache."""

    n_prompts: int = Field(default=0, ge=0)
    """Golden prompts asked of each system for the time they take; 0: none. The 95th percentile is
    bounded from 59 on, for a comparison from about 100."""
    concurrency: int = Field(default=1, ge=1)
    """Requests at a time, the same for both. Where one engine serves both they take turns."""
    warm_up: int = Field(default=2, ge=0)
    """Requests before the first that counts."""


class DriftConfig(Section):
    """How far the candidate's answers, as a whole, are from the champion's; shown, no gate."""

    meaning: Literal["auto", "on", "off"] = "auto"
    """Compare what answers mean. `auto`: where the encoder is installed; `on` fails without it.
    Takes about 300 short answers a second and core, 4,000 at most."""
    encoder: EncoderConfig = EncoderConfig()
    """What turns answers into vectors."""


class EvaluateConfig(Section):
    """Champion and candidate on the golden set."""

    champion: str = Field(default="alias", min_length=1)
    """What the candidate must beat. `alias`: the champion of (tenant, task, env), or the base where
    none was promoted yet. `base`: the base model. Or the digest (six digits at least) of an adapter
    or a system in the store, a folder with an adapter or a whole model, a YAML file of a system."""
    candidate: str = Field(default="trained", min_length=1)
    """`trained`: what this run's training comes to. Anything else, in the words of `champion`: that
    system is evaluated and decided about, and nothing is curated, built or trained."""
    engine: EngineConfig = EngineConfig()
    """What answers."""
    sampling: Sampling = Sampling()
    """How answers are drawn, for both systems alike."""
    latency: LatencyConfig = LatencyConfig()
    """Latency as evidence of the decision."""
    drift: DriftConfig = DriftConfig()
    """Answers as a whole: length, refusals, form, and how far they moved."""
    max_prompts: int | None = Field(default=None, ge=1)
    """Use a seeded sample of the golden set; None: all of it."""
    metrics: list[Literal["exact_match", "token_f1"]] = Field(default_factory=list)
    """Graded metrics against the references, from modules shipped with tuneloop."""
    judge: JudgeConfig = JudgeConfig()
    """The LLM judge."""
