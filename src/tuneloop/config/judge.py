"""Config of the LLM judge."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tuneloop.config.base import Section
from tuneloop.config.engine import EngineConfig


class JudgeConfig(Section):
    """The LLM judge: both orders, typed failures, canaries."""

    role: Literal["deciding", "advisory", "off"] = "off"
    """`deciding`: its win rate is a gate and its canaries can hold the verdict. `advisory`: shown,
    decides nothing. `off`: not asked."""
    model: str | None = None
    """Judge weights (folder, GGUF, hub id); None: the base model of the run."""
    engine: EngineConfig | None = None
    """Where the judge runs; None: as the answers do."""
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
    max_missing_fraction: float = Field(default=0.1, ge=0, le=1)
    """Above this share of missing judgments a deciding judge holds the verdict."""
    n_canaries: int = Field(default=4, ge=0)
    """Golden prompts each canary (identical, padded, null, injection, known bad) is tried on, in
    both orders; 0: none. Four cost 40 judgments."""
    canary_tolerance: float = Field(default=0.15, ge=0, lt=0.5)
    """How far from ½ a canary's score may be where neither answer is better, and must be where one
    is worse."""
    min_order_agreement: float = Field(default=0.6, ge=0, le=1)
    """Below this agreement of the two orders a deciding judge holds the verdict."""
