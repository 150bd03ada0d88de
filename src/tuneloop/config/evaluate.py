"""Config of evaluation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tuneloop.artefacts.systems import Sampling
from tuneloop.config.base import Section
from tuneloop.config.engine import EngineConfig
from tuneloop.config.judge import JudgeConfig

__all__ = ["EngineConfig", "EvaluateConfig", "JudgeConfig"]


class EvaluateConfig(Section):
    """Champion and candidate on the golden set."""

    champion: str = Field(default="alias", pattern=r"^(alias|base|[0-9a-f]{6,64})$")
    """`alias`: the champion of (tenant, task, env), or the base where none was promoted yet.
    `base`: the base model. Otherwise the digest of an adapter in the store, or at least
    its first six digits."""
    engine: EngineConfig = EngineConfig()
    """What answers."""
    sampling: Sampling = Sampling()
    """How answers are drawn, for both systems alike."""
    max_prompts: int | None = Field(default=None, ge=1)
    """Use a seeded sample of the golden set; None: all of it."""
    metrics: list[Literal["exact_match", "token_f1"]] = Field(default_factory=list)
    """Graded metrics against the references, from modules shipped with tuneloop."""
    judge: JudgeConfig = JudgeConfig()
    """The LLM judge."""
