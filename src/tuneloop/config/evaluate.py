"""Config of evaluation and the judge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from tuneloop.artefacts.systems import Sampling
from tuneloop.config.base import Address, Conflict, Section, VariableName


class EngineConfig(Section):
    """What answers prompts: a server that tuneloop starts, one that runs already, or in-process."""

    backend: Literal["vllm", "url", "transformers"] = "vllm"
    """`vllm`: started and stopped here. `url`: an OpenAI-compatible server. `transformers`:
    in-process, for tests and tiny models."""
    url: Address | None = None
    """Base address of the server, e.g. http://127.0.0.1:8000/v1, for backend `url`."""
    served_model: str | None = None
    """The model's name at that server."""
    api_key_env: VariableName | None = None
    """Name of the environment variable that holds the key; the key itself is never stored."""
    dtype: Literal["bfloat16", "float32", "float16"] = "bfloat16"
    """Compute type of the server."""
    max_model_len: int = Field(default=2048, gt=0)
    """Longest prompt and answer together, tokens."""
    enforce_eager: bool = True
    """No compilation: starts a minute earlier on CPU and answers about 10 % slower."""
    kv_cache_gib: float = Field(default=2.0, gt=0)
    """Memory for the key-value cache on CPU, GiB."""
    gpu_memory_fraction: float = Field(default=0.85, gt=0, le=1)
    """Share of a GPU's memory the server may take."""
    start_timeout_s: float = Field(default=600.0, gt=0)
    """How long a server may take to start, seconds."""
    request_timeout_s: float = Field(default=300.0, gt=0)
    """How long one answer may take, seconds."""
    max_in_flight: int = Field(default=64, ge=1)
    """Requests at a time."""

    def conflicts(self) -> Iterator[Conflict]:
        """A server that runs already must be named."""
        if self.backend == "url" and not (self.url and self.served_model):
            yield Conflict(
                ("backend", "url", "served_model"), "backend url needs url and served_model"
            )


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
