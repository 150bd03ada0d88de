"""The system: everything that makes an answer, as one digest."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

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


class Guardrail(BaseModel):
    """One rule before or after the model: what it looks for, and what it does where it finds it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = Field(min_length=1)
    """What the rule is called in reports."""
    on: Literal["prompt", "answer"]
    """`prompt`: the last message of the user, before the model is asked. `answer`: its answer."""
    pattern: str = Field(min_length=1)
    """A regular expression; it fires where it is found anywhere. One that takes longer than a
    second fires, too: a guard that did not finish has let nothing through."""
    action: Literal["refuse", "replace"] = "refuse"
    """`refuse`: `text` is the answer, and the model is not asked. `replace`: what was found
    becomes `text`."""
    text: str = "I cannot help with that."
    """The refusal, or what stands in place of what was found."""
    ignore_case: bool = True
    """Whether capitals and small letters are alike."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        import regex

        try:
            regex.compile(pattern)
        except regex.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        return pattern


class Hosted(BaseModel):
    """A model behind somebody's OpenAI-compatible address; its weights cannot be seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    model: str
    api_key_env: str | None = None

    @property
    def base(self) -> str:
        """The digest that stands for its weights: address and name, all that is known."""
        return digest_json({"url": self.url.rstrip("/"), "model": self.model})


class SystemSpec(BaseModel):
    """What is evaluated, promoted, served and logged.

    `base` is a digest over weights and tokenizer, `adapter` the digest of the artefact that
    training left, or that was made of another trainer's folder; never paths: the same system on
    another machine has the same digest. `model` is the reference the base was found by, kept for
    people and for loading; it is not part of the digest, nor are `name`, the variable that holds
    a hosted model's key, and `price`: what it costs, where not as the engine.
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
    guardrails: list[Guardrail] = Field(default_factory=list)
    sampling: Sampling = Field(default_factory=Sampling)
    hosted: Hosted | None = None
    price: dict[str, float] | None = None

    @field_validator("guardrails", mode="before")
    @classmethod
    def _none_are_none(cls, value: Any) -> Any:
        return [] if value is None else value  # as it was written before there were any

    @property
    def digest(self) -> str:
        """SHA-256 over the fields above but `name` and `model`: what people decide about a system.

        How the server computes (engine version, dtype, eager mode) can change an answer, too; it
        is recorded in the evaluation and in its key, not here.
        """
        body = self.model_dump(mode="json", exclude={"name", "model", "hosted", "price"})
        body["guardrails"] = body["guardrails"] or None
        return digest_json(body)  # a hosted model's address and name are its base
