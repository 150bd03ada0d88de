"""What goes to an engine and what comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from tuneloop.artefacts.systems import Sampling, SystemSpec
from tuneloop.errors import ServingError

if TYPE_CHECKING:
    from tuneloop.runtime.weights import ResolvedModel

MAX_TOP_LOGPROBS = 20
"""vLLM and the OpenAI API refuse more."""

MissingReason = Literal["transport", "timeout", "truncated", "refusal", "rejected"]
"""Why there is no answer: the connection failed; it took too long; the prompt does not fit the
model; the provider refused; the server turned the request down for another reason."""

PASSING_REASONS = frozenset({"transport", "timeout"})
"""Reasons that say nothing about the system, so the answer is asked again next time."""


@dataclass(frozen=True)
class ServedSystem:
    """A system and where its weights lie on this machine."""

    spec: SystemSpec
    base: ResolvedModel
    adapter_folder: Path | None = None

    def check_servable(self) -> None:
        """Fail where the spec names a part no engine here applies.

        Leaving it out in silence would evaluate another system under this one's digest.

        Raises:
            ServingError: naming the parts.
        """
        parts = {
            "tools": self.spec.tools,
            "retrieval": self.spec.retrieval,
        }
        unserved = [name for name, value in parts.items() if value]
        if unserved:
            raise ServingError(
                f"system {self.spec.name!r} has {', '.join(unserved)}, which no engine here applies"
            )
        whole = self.base.digest == self.spec.adapter  # a fully trained model
        if self.spec.adapter and self.adapter_folder is None and not whole:
            raise ServingError(f"system {self.spec.name!r} has an adapter, but not its folder")

    def messages(self, prompt: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return `prompt` as this system sends it to its model.

        The system's own prompt replaces the one in `prompt`; few-shot turns follow it.
        """
        leading = [m for m in prompt if m["role"] in ("system", "developer")]
        rest = [m for m in prompt if m["role"] not in ("system", "developer")]
        if self.spec.system_prompt is not None:
            leading = [{"role": "system", "content": self.spec.system_prompt}]
        return [*leading, *self.spec.few_shot, *rest]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ChatRequest(_Frozen):
    """One request.

    `choices` restricts the answer to one of these texts (structured output). `top_logprobs` asks
    for the alternatives of the first token. With `continue_final` the last message is an
    unfinished answer of the assistant that the model goes on with. `tools` is what it may call.
    """

    messages: list[dict[str, Any]] = Field(min_length=1)
    sampling: Sampling = Sampling()
    tools: tuple[dict[str, Any], ...] = ()
    choices: tuple[str, ...] | None = None
    top_logprobs: int = Field(default=0, ge=0, le=MAX_TOP_LOGPROBS)
    continue_final: bool = False


class TokenLogprob(_Frozen):
    """One alternative of the first token, natural logarithm of its probability."""

    token: str
    logprob: float


class ChatResult(_Frozen):
    """One answer, or why there is none; `seconds` is None where an earlier run was answered."""

    status: Literal["ok", "missing"] = "ok"
    reason: MissingReason | None = None
    detail: str = ""
    text: str = ""
    finish_reason: str | None = None
    top_logprobs: tuple[TokenLogprob, ...] = ()
    n_prompt_tokens: int = 0
    n_completion_tokens: int = 0
    seconds: float | None = None

    @classmethod
    def missing(cls, reason: MissingReason, detail: str = "") -> ChatResult:
        """Return an answer that is not there."""
        return cls(status="missing", reason=reason, detail=detail[:500])


Follow = Callable[[int, ChatResult], ChatRequest | None]
"""What is asked next at a position, now that this answer came; None: nothing."""


class Backend(Protocol):
    """What an engine drives: started on the first request that no cache answers."""

    chunk_size: int
    """Requests whose answers depend on one another (a padded batch); 1 where none do."""

    def start(self) -> None:
        """Be ready to answer."""

    def stream(
        self,
        system: ServedSystem,
        requests: Sequence[ChatRequest],
        follow: Follow | None = None,
    ) -> Iterator[tuple[int, ChatResult]]:
        """Yield (position in `requests`, answer) as they arrive.

        Where `follow` names a next request, it is asked at once, at the same position. It is
        given only to backends whose `chunk_size` is 1, and may be called from another thread.
        """

    def counters(self) -> Mapping[str, float]:
        """Return what the servers have counted since they started: cache hits, servers lost."""

    def stop(self) -> None:
        """Leave nothing behind; harmless when it never started."""


def chat_kwargs(request: ChatRequest, model: str, *, tool_choice: str = "auto") -> dict[str, Any]:
    """Return a request in the words of the OpenAI client, vLLM's extensions included.

    Args:
        request: What is asked.
        model: The model's name at the server.
        tool_choice: `none` where the server leaves calls in the text, as a vLLM of ours does.
    """
    extra: dict[str, Any] = {}
    if request.continue_final:
        extra |= {"continue_final_message": True, "add_generation_prompt": False}
    if request.choices:
        extra["structured_outputs"] = {"choice": list(request.choices)}
    kwargs: dict[str, Any] = {
        "model": model,
        "messages": request.messages,
        **request.sampling.model_dump(),
    }
    if request.tools:
        kwargs |= {"tools": list(request.tools), "tool_choice": tool_choice}
    if request.top_logprobs:
        kwargs |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    return kwargs | ({"extra_body": extra} if extra else {})
