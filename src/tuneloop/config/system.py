"""A system in a file: what a candidate or champion is made of, where no stage trained it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from tuneloop.artefacts.systems import Guardrail, Sampling
from tuneloop.config.base import Address, Conflict, Section, VariableName
from tuneloop.config.engine import PriceConfig


class HostedConfig(Section):
    """A model behind an OpenAI-compatible address."""

    url: Address
    """Base address, e.g. https://api.example.com/v1."""
    model: str = Field(min_length=1)
    """The model's name there."""
    api_key_env: VariableName | None = None
    """Name of the environment variable that holds the key; the key itself is never stored."""


class Turn(Section):
    """One message of an example."""

    role: Literal["user", "assistant"]
    """Who says it."""
    content: str
    """What."""


class SystemConfig(Section):
    """One system, for `tuneloop evaluate --candidate system.yaml`.

    All but the name is optional: what is not said is as the run has it.
    """

    name: str = Field(min_length=1)
    """What people call it."""
    model: str | None = None
    """Another base: a folder, a GGUF file or a hub id. None: the run's base model."""
    adapter: str | None = None
    """A folder with a PEFT LoRA adapter (safetensors, of any trainer), or the digest of an adapter
    in the store."""
    hosted: HostedConfig | None = None
    """A model that somebody else serves, in place of weights."""
    price: PriceConfig | None = None
    """What it costs; None: as `evaluate.engine.price` says."""
    quantisation: str | None = None
    """vLLM's name of a quantisation, e.g. `fp8`."""
    chat_template: str | None = None
    """A Jinja chat template in place of the model's own."""
    system_prompt: str | None = None
    """In place of the system prompt of a golden prompt."""
    few_shot: list[Turn] = Field(default_factory=list)
    """Examples before the conversation, user and assistant in turn."""
    sampling: Sampling | None = None
    """How its answers are drawn; None: `evaluate.sampling`."""
    guardrails: list[Guardrail] = Field(default_factory=list)
    """Rules before and after the model, in their order."""

    def conflicts(self) -> Iterator[Conflict]:
        """A hosted model has no weights here to choose, adapt or quantise."""
        keys = [
            k for k in ("model", "adapter", "quantisation", "chat_template") if getattr(self, k)
        ]
        if self.hosted and keys:
            yield Conflict(
                (*keys, "hosted"), f"hosted is served elsewhere: {', '.join(keys)} would do nothing"
            )
        roles = [turn.role for turn in self.few_shot]
        if roles != ["user", "assistant"] * (len(roles) // 2):
            yield Conflict(("few_shot",), "few_shot: user and assistant in turn, in pairs")
