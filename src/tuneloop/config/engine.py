"""Config of the engines that answer prompts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from tuneloop.config.base import Address, Conflict, Section, VariableName


class PriceConfig(Section):
    """What answers cost, in one currency of your choice."""

    per_million_prompt_tokens: float = Field(default=0.0, ge=0)
    """Price of a million tokens read."""
    per_million_completion_tokens: float = Field(default=0.0, ge=0)
    """Price of a million tokens written."""
    per_hour: float = Field(default=0.0, ge=0)
    """Price of an hour of one server, for machines of your own."""


class EngineConfig(Section):
    """What answers prompts: a server that tuneloop starts, one that runs already, or in-process."""

    backend: Literal["vllm", "url", "transformers"] = "vllm"
    """`vllm`: started and stopped here. `url`: an OpenAI-compatible server. `transformers`:
    in-process, for tests and tiny models."""
    url: Address | None = None
    """Base address of the server, e.g. http://127.0.0.1:8000/v1, for backend `url`."""
    urls: list[Address] = Field(default_factory=list)
    """More servers of the same model under the same key, beside `url` or in its place. Requests go
    to whichever is free; one that stops answering is left out."""
    replicas: int = Field(default=1, ge=1)
    """How many servers backend `vllm` starts, each with all the weights, on a GPU of its own where
    there is one."""
    revision: str | None = None
    """What the weights behind an address are, in your words (a date, a commit): part of every
    cache key, so change it when they change."""
    reuse_answers: bool = True
    """Take what an earlier run was answered to the very same request; false: ask everything anew.
    Padded batches (`transformers`) are never taken from another run."""
    price: PriceConfig = PriceConfig()
    """What the answers cost."""
    tokens_per_s: float | None = Field(default=None, gt=0)
    """Tokens written a second, all requests together, as you expect them: `plan` states minutes by
    it where nothing was measured before."""
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
        """A server that runs already must be named, and only vLLM is started more than once."""
        if self.backend == "url" and not (self.addresses and self.served_model):
            yield Conflict(
                ("backend", "url", "served_model"), "backend url needs url and served_model"
            )
        if self.urls and self.backend != "url":
            yield Conflict(("urls", "backend"), "urls are for backend url; use replicas here")
        if self.replicas > 1 and self.backend != "vllm":
            yield Conflict(("replicas", "backend"), "replicas are started by backend vllm only")

    @property
    def addresses(self) -> list[str]:
        """Every address to ask, each once."""
        given = [self.url, *self.urls] if self.url else self.urls
        return list(dict.fromkeys(address.rstrip("/") for address in given))
