"""The OpenAI-compatible client: many requests at a time, bounded retries, typed failures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tuneloop.config.engine import EngineConfig
from tuneloop.errors import ServingError
from tuneloop.runtime.serving.chat import (
    PASSING_REASONS,
    ChatRequest,
    ChatResult,
    Follow,
    TokenLogprob,
    chat_kwargs,
)

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletion

N_RETRIES = 2
"""Of a failed connection or an overloaded server, with growing pauses between."""
N_FAILURES = 3
"""In a row, after their retries, and a server is left out while another answers."""


@dataclass(eq=False)
class Server:
    """One address that answers; left out once it has failed too often while another answers."""

    url: str
    key: str = field(repr=False)
    model: str
    alive: bool = True
    n_failed: int = 0

    def note(self, result: ChatResult) -> bool:
        """Count failures in a row; return whether this answer is one."""
        failed = result.reason in PASSING_REASONS
        self.n_failed = self.n_failed + 1 if failed else 0
        return failed


def stream_chats(
    requests: Sequence[ChatRequest],
    *,
    servers: Sequence[Server],
    config: EngineConfig,
    follow: Follow | None = None,
) -> Iterator[tuple[int, ChatResult]]:
    """Yield (position, answer) as answers arrive, at most `max_in_flight` a server at a time.

    The event loop runs in a thread of its own: a caller that has one already (a notebook) may
    call this too, and leaving the iteration early cancels what is in flight.

    Args:
        requests: What is asked, in this order: equal prefixes side by side.
        servers: Who is asked, whoever is free; they hold the same model.
        config: Limits of time and of requests in flight.
        follow: What is asked next at a position, at once and of the same server, whose cache
            holds the beginning.

    Raises:
        ServingError: if a server refuses the key or does not know the model.
    """
    arrived: queue.SimpleQueue[tuple[int, ChatResult] | BaseException | None] = queue.SimpleQueue()
    loop = asyncio.new_event_loop()
    asking = _Asking(requests, servers, config, follow, arrived.put)
    work = loop.create_task(asking.run())

    def run() -> None:
        try:
            loop.run_until_complete(work)
            arrived.put(None)
        except BaseException as error:  # handed to the thread that waits
            arrived.put(error)
        finally:
            loop.close()

    thread = threading.Thread(target=run, name="tuneloop-client", daemon=True)
    thread.start()
    try:
        while (item := arrived.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        with contextlib.suppress(RuntimeError):  # the loop is closed: all has arrived
            loop.call_soon_threadsafe(work.cancel)
        thread.join(timeout=10)


class _Asking:
    """Requests on their way to several servers."""

    def __init__(
        self,
        requests: Sequence[ChatRequest],
        servers: Sequence[Server],
        config: EngineConfig,
        follow: Follow | None,
        arrived: Callable[[tuple[int, ChatResult]], None],
    ) -> None:
        self._waiting = deque(enumerate(requests))
        self._n_moved: Counter[int] = Counter()
        self._servers, self._config = servers, config
        # Ours leaves calls in the text, since how to read them differs from model to model.
        self._tool_choice = "none" if config.backend == "vllm" else "auto"
        self._follow, self._arrived = follow, arrived

    async def run(self) -> None:
        """Ask until nothing waits; what a server that died had in hand goes to the others."""
        while self._waiting:
            try:
                async with asyncio.TaskGroup() as group:
                    for server in self._alive():
                        group.create_task(self._drive(server))
            except BaseExceptionGroup as errors:
                raise _first(errors) from None

    def _alive(self) -> list[Server]:
        # The last one is never given up: its failures are the answers.
        return [s for s in self._servers if s.alive] or list(self._servers[-1:])

    async def _drive(self, server: Server) -> None:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        async with (
            AsyncOpenAI(
                base_url=server.url,
                api_key=server.key,
                max_retries=N_RETRIES,
                timeout=self._config.request_timeout_s,
                http_client=DefaultAsyncHttpxClient(trust_env=not is_local(server.url)),
            ) as client,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(min(self._config.max_in_flight, len(self._waiting))):
                group.create_task(self._work(server, client))

    async def _work(self, server: Server, client: AsyncOpenAI) -> None:
        # A worker takes the next request in order, so that equal prefixes stay together.
        while self._waiting and server in self._alive():
            position, next_ = self._waiting.popleft()
            request: ChatRequest | None = next_
            while request is not None:
                result = await ask(client, request, server.model, tool_choice=self._tool_choice)
                if server.note(result) and self._moved(server, position, request):
                    break
                request = self._follow(position, result) if self._follow else None
                self._arrived((position, result))

    def _moved(self, server: Server, position: int, request: ChatRequest) -> bool:
        """Whether another server shall answer what this one failed to."""
        if len(self._alive()) > 1 and server.n_failed >= N_FAILURES:
            server.alive = False
        others = [s for s in self._alive() if s is not server]
        if not others or self._n_moved[position] >= len(self._servers):
            return False
        self._n_moved[position] += 1
        self._waiting.appendleft((position, request))
        return True


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def is_local(url: str) -> bool:
    """Whether an address is on this machine."""
    # A proxy of the environment must not see what goes to this machine's own server.
    return url.startswith(("http://127.0.0.1", "http://localhost"))


async def ask(
    client: AsyncOpenAI, request: ChatRequest, model: str, *, tool_choice: str = "auto"
) -> ChatResult:
    """Return one answer, or why there is none.

    Raises:
        ServingError: if the server refuses the key or does not know the model.
    """
    import openai

    began = time.monotonic()
    try:
        kwargs = chat_kwargs(request, model, tool_choice=tool_choice)
        reply = await client.chat.completions.create(**kwargs)
    except openai.APITimeoutError as error:
        return ChatResult.missing("timeout", str(error))
    except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as e:
        raise ServingError(
            f"the server turned the request down: {e.message}",
            where=str(client.base_url),
            hint="check engine.served_model, and the variable engine.api_key_env names",
        ) from e
    except openai.APIStatusError as error:
        if error.status_code >= 500 or error.status_code in (408, 409, 429):
            return ChatResult.missing("transport", error.message)
        too_long = "context length" in error.message or "input_tokens" in error.message
        return ChatResult.missing("truncated" if too_long else "rejected", error.message)
    except (openai.APIError, ValueError) as error:  # no connection; a body that is no reply
        return ChatResult.missing("transport", str(error))
    return read_reply(reply, seconds=time.monotonic() - began)


def _with_calls(message: Any) -> str:
    """Return a message's text with its tool calls behind it, as Hermes and Qwen write them."""
    said = [message.content] if message.content else []
    for call in message.tool_calls or ():
        body = {"name": call.function.name, "arguments": call.function.arguments}
        with contextlib.suppress(ValueError):
            body["arguments"] = json.loads(call.function.arguments)
        said.append(f"<tool_call>\n{json.dumps(body, ensure_ascii=False)}\n</tool_call>")
    return "\n".join(said)


def read_reply(reply: ChatCompletion, *, seconds: float) -> ChatResult:
    """Return a reply in our words."""
    if not getattr(reply, "choices", None):
        return ChatResult.missing("transport", "the reply holds no choice")
    choice = reply.choices[0]
    if choice.message.refusal or choice.finish_reason == "content_filter":
        return ChatResult.missing("refusal", choice.message.refusal or "content filter")
    first = choice.logprobs.content[:1] if choice.logprobs and choice.logprobs.content else []
    usage = reply.usage
    return ChatResult(
        text=_with_calls(choice.message),
        finish_reason=choice.finish_reason,
        top_logprobs=tuple(
            TokenLogprob(token=t.token, logprob=t.logprob) for f in first for t in f.top_logprobs
        ),
        n_prompt_tokens=usage.prompt_tokens if usage else 0,
        n_completion_tokens=usage.completion_tokens if usage else 0,
        seconds=round(seconds, 4),
    )
