"""The system: everything that makes an answer, as one digest."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tuneloop.artefacts.digest import digest_json


class Sampling(BaseModel):
    """How tokens are drawn; temperature 0 is greedy."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    temperature: float = Field(default=0.0, ge=0)
    """0 takes the likeliest token each time."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Draw from the likeliest tokens that hold this share of the probability."""
    max_tokens: int = Field(default=256, gt=0)
    """An answer is cut after so many tokens."""
    seed: int = 0
    """Seed of the draws."""


class SystemSpec(BaseModel):
    """What is evaluated, promoted, served and logged.

    `base` is a digest over weights and tokenizer, `adapter` the digest of the artefact that
    training left; never paths: the same system on another machine has the same digest.
    `model` is the reference the base was found by, kept for
    people and for loading; it is not part of the digest, nor is `name`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    model: str
    base: str
    adapter: str | None = None
    quantisation: str | None = None
    engine: str = "vllm"
    chat_template: str | None = None
    system_prompt: str | None = None
    few_shot: list[dict[str, str]] = Field(default_factory=list)
    tools: list[dict[str, Any]] = Field(default_factory=list)
    retrieval: str | None = None
    guardrails: str | None = None
    sampling: Sampling = Field(default_factory=Sampling)

    @property
    def digest(self) -> str:
        """SHA-256 over the fields above but `name` and `model`: what people decide about a system.

        How the server computes (engine version, dtype, eager mode) can change an answer, too; it
        is recorded in the evaluation and in its key, not here.
        """
        return digest_json(self.model_dump(mode="json", exclude={"name", "model"}))
