"""The OpenAI-compatible client: many requests at a time, bounded retries, typed failures."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tuneloop.config.evaluate import EngineConfig
from tuneloop.errors import ServingError
from tuneloop.runtime.serving.chat import (
    ChatRequest,
    ChatResult,
    ServedSystem,
    TokenLogprob,
    chat_kwargs,
)

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletion

N_RETRIES = 2
"""Of a failed connection or an overloaded server, with growing pauses between."""


def stream_chats(
    requests: Sequence[ChatRequest], *, url: str, key: str, model: str, config: EngineConfig
) -> Iterator[tuple[int, ChatResult]]:
    """Yield (position, answer) as answers arrive, at most `max_in_flight` asked at a time.

    The event loop runs in a thread of its own: a caller that has one already (a notebook) may
    call this too, and leaving the iteration early cancels what is in flight.

    Raises:
        ServingError: if the server refuses the key or does not know the model.
    """
    arrived: queue.SimpleQueue[tuple[int, ChatResult] | BaseException | None] = queue.SimpleQueue()
    loop = asyncio.new_event_loop()
    work = loop.create_task(
        _ask_all(requests, arrived, url=url, key=key, model=model, config=config)
    )

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


async def _ask_all(
    requests: Sequence[ChatRequest],
    arrived: queue.SimpleQueue[Any],
    *,
    url: str,
    key: str,
    model: str,
    config: EngineConfig,
) -> None:
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    # A worker takes the next request in order, so that equal prefixes stay together.
    waiting = iter(enumerate(requests))

    async def worker(client: AsyncOpenAI) -> None:
        for position, request in waiting:
            arrived.put((position, await ask(client, request, model)))

    async with AsyncOpenAI(
        base_url=url,
        api_key=key,
        max_retries=N_RETRIES,
        timeout=config.request_timeout_s,
        http_client=DefaultAsyncHttpxClient(trust_env=not _is_local(url)),
    ) as client:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(config.max_in_flight, len(requests))):
                    group.create_task(worker(client))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None


def _is_local(url: str) -> bool:
    # A proxy of the environment must not see what goes to this machine's own server.
    return url.startswith(("http://127.0.0.1", "http://localhost"))


async def ask(client: AsyncOpenAI, request: ChatRequest, model: str) -> ChatResult:
    """Return one answer, or why there is none.

    Raises:
        ServingError: if the server refuses the key or does not know the model.
    """
    import openai

    began = time.monotonic()
    try:
        reply = await client.chat.completions.create(**chat_kwargs(request, model))
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
        text=choice.message.content or "",
        finish_reason=choice.finish_reason,
        top_logprobs=tuple(
            TokenLogprob(token=t.token, logprob=t.logprob) for f in first for t in f.top_logprobs
        ),
        n_prompt_tokens=usage.prompt_tokens if usage else 0,
        n_completion_tokens=usage.completion_tokens if usage else 0,
        seconds=round(seconds, 4),
    )


class UrlBackend:
    """A server that runs already; an adapter is loaded there by name where the server allows it."""

    chunk_size = 1

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self._loaded: list[str] = []

    @property
    def _url(self) -> str:
        return str(self.config.url).rstrip("/")

    def _key(self) -> str:
        name = self.config.api_key_env
        if name is None:
            return "none"
        if not os.environ.get(name):
            raise ServingError(
                f"the environment variable {name} is not set",
                where="engine.api_key_env",
                hint=f"export {name}=… before the run",
            )
        return os.environ[name]

    def start(self) -> None:
        """Check that the key is there; the server is somebody else's."""
        self._key()

    def stream(
        self, system: ServedSystem, requests: Sequence[ChatRequest]
    ) -> Iterator[tuple[int, ChatResult]]:
        """Yield (position, answer) as answers arrive."""
        model = str(self.config.served_model)
        if system.adapter_folder is not None:
            model = self._load_adapter(system)
        yield from stream_chats(
            requests, url=self._url, key=self._key(), model=model, config=self.config
        )

    def _load_adapter(self, system: ServedSystem) -> str:
        name = f"tuneloop-{str(system.spec.adapter)[:16]}"
        if name in self._loaded:
            return name
        status = self._post(
            "load_lora_adapter", {"lora_name": name, "lora_path": str(system.adapter_folder)}
        )
        if status >= 300:
            raise ServingError(
                f"the server at {self._url} does not load adapters (status {status})",
                where="engine.url",
                hint="start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 where it "
                "can read the store, or let tuneloop start the server (backend vllm)",
            )
        self._loaded.append(name)
        return name

    def _post(self, verb: str, body: dict[str, Any]) -> int:
        import httpx

        headers = {"Authorization": f"Bearer {self._key()}"}
        try:
            reply = httpx.post(
                f"{self._url}/{verb}",
                json=body,
                headers=headers,
                timeout=self.config.request_timeout_s,
                trust_env=not _is_local(self._url),
            )
        except httpx.HTTPError as error:
            raise ServingError(f"no answer: {error}", where=self._url) from error
        return reply.status_code

    def stop(self) -> None:
        """Unload what was loaded."""
        while self._loaded:
            try:
                self._post("unload_lora_adapter", {"lora_name": self._loaded.pop()})
            except ServingError:
                return
