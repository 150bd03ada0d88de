"""One dialogue with a model: requests that depend on the answers before them."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tuneloop.runtime.serving.cache import AnswerCache, answer_key
from tuneloop.runtime.serving.chat import ChatRequest, ChatResult

T = TypeVar("T")
Dialogue = Generator[ChatRequest, ChatResult, T]
"""Yields a request, is sent its answer, and returns what the dialogue came to."""


def prefix_order(request: ChatRequest) -> tuple[str, ...]:
    """Return what to sort requests by so that equal beginnings stand side by side."""
    return tuple(f"{m['role']}: {m['content']}" for m in request.messages)


@dataclass(frozen=True)
class Caches:
    """Where one system's answers are looked up: in this run's file, then among all runs'."""

    own: AnswerCache
    shared: AnswerCache | None
    system: str
    mode: Mapping[str, Any]

    def key(self, request: ChatRequest) -> str:
        """Return the key of this system's answer to a request."""
        return answer_key(self.system, self.mode, request)

    def get(self, key: str) -> ChatResult | None:
        """Return the answer under `key`; one of an earlier run has no `seconds`."""
        held = self.own.get(key)
        if held is None and self.shared and (held := self.shared.get(key)):
            held = held.model_copy(update={"seconds": None})
            self.own.put(key, held)
        return held

    def put(self, key: str, result: ChatResult) -> None:
        """Keep an answer."""
        self.own.put(key, result)
        if self.shared:
            self.shared.put(key, result)


class Talk(Generic[T]):
    """A dialogue on its way. `request` is what it waits for, None once it has ended."""

    outcome: T

    def __init__(self, dialogue: Dialogue[T], caches: Caches) -> None:
        self._dialogue, self._caches = dialogue, caches
        self.request: ChatRequest | None = None
        self._key = ""
        self._send(None)

    @property
    def wanted(self) -> ChatRequest:
        """The request it waits for."""
        assert self.request is not None, "the dialogue has ended"
        return self.request

    def held(self) -> ChatResult | None:
        """Return the caches' answer to its request."""
        return self._caches.get(self._key)

    def keep(self, result: ChatResult) -> None:
        """Put an answer to its request into the caches; `take_held` goes on with it."""
        self._last = result
        self._caches.put(self._key, result)

    def take_held(self) -> None:
        """Go on with the caches' answer, or with the one that no cache keeps."""
        self._send(self.held() or self._last)

    def hear(self, result: ChatResult) -> bool:
        """Go on with an answer; return whether there is something to ask.

        Equal requests get one answer, the first: now and when the cache answers next time.
        """
        self.keep(result)
        self.take_held()
        return self.go_on()

    def go_on(self) -> bool:
        """Go on as far as the caches know the answers; return whether there is more to ask."""
        while self.request is not None and (held := self.held()):
            self._send(held)
        return self.request is not None

    def _send(self, result: ChatResult | None) -> None:
        try:
            self.request = next(self._dialogue) if result is None else self._dialogue.send(result)
        except StopIteration as end:
            self.request, self.outcome = None, end.value
        else:
            self._key = self._caches.key(self.request)
