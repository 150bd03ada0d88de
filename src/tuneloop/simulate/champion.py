"""Who answers: an assistant made of rules, or a served system."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from tuneloop.artefacts.systems import Sampling
from tuneloop.config.simulate import ChampionConfig
from tuneloop.runtime.serving.chat import ChatRequest, ChatResult, ServedSystem
from tuneloop.runtime.serving.engine import Engine
from tuneloop.simulate.scenario import Ask, Scenario

Outcome = Literal["ok", "error", "timeout", "filtered"]
RETRY_TEMPERATURE = 0.8
_OUTCOMES: dict[str, Outcome] = {"timeout": "timeout", "refusal": "filtered"}


@dataclass(frozen=True, slots=True)
class Question:
    """One request to the champion. `attempt` counts the answers asked for the same prompt."""

    ask: Ask
    system_prompt: str
    attempt: int = 0
    progress: float = 0.0
    """Where in the log it lies, 0 to 1: the scripted champion has had releases."""

    @property
    def messages(self) -> list[dict[str, str]]:
        """The chat as it is sent."""
        return [
            {"role": "system", "content": self.system_prompt},
            {"role": "user", "content": self.ask.text},
        ]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `text` is None where nothing did."""

    text: str | None
    system: str
    outcome: Outcome = "ok"
    latency_ms: float | None = None
    usage: dict[str, int] | None = None
    sampling: Sampling | None = None


class ChatEngine(Protocol):
    """A served system that answers a batch of chats, in order, with its own progress bar."""

    system: str
    """Its name in the log, `name@version` or a digest."""

    def chat(self, requests: Sequence[ChatRequest], *, step: str) -> list[ChatResult]:
        """Return one answer per request."""


class ServedEngine:
    """A runtime engine bound to one of the systems it serves."""

    def __init__(self, engine: Engine, served: ServedSystem) -> None:
        self._engine, self._served = engine, served
        self.system = f"{served.spec.name}@{served.spec.digest[:12]}"

    def chat(self, requests: Sequence[ChatRequest], *, step: str) -> list[ChatResult]:
        """Return one answer per request."""
        return self._engine.chat(self._served, requests, step=step)


class Champion(Protocol):
    """Answers questions."""

    def answer(self, questions: Sequence[Question], *, step: str) -> list[Answer]:
        """Return one answer per question, in order."""


class ScriptedChampion:
    """Mostly polite free text, as an untuned model gives, with some share in the form.

    Three releases, each a little better than the one before.
    """

    _RELEASES = (("0.9", 0.8), ("1.0", 1.0), ("1.1", 1.15))

    def __init__(self, scenario: Scenario, config: ChampionConfig, seed: int) -> None:
        self._scenario, self._config = scenario, config
        self._rng = random.Random(f"champion {seed}")

    def answer(self, questions: Sequence[Question], *, step: str) -> list[Answer]:
        """Return one answer per question, in order."""
        return [self._answer(question) for question in questions]

    def _answer(self, question: Question) -> Answer:
        rng, config = self._rng, self._config
        # A release is rolled out over a tenth of the log, so two run side by side.
        stage = min(int(max(question.progress + rng.uniform(-0.05, 0.05), 0) * 3), 2)
        version, skill = self._RELEASES[stage]
        system = f"{self._scenario.name}-assistant@{version}"
        latency_ms = round(rng.lognormvariate(6.3, 0.4), 1)
        if rng.random() < config.error_fraction:
            outcome = rng.choice([*_OUTCOMES.values()])
            return Answer(None, system, outcome, latency_ms=latency_ms)
        draw = rng.random()
        right = min(config.right_fraction * skill, 1 - config.wrong_fraction)
        if draw < right:
            text = self._scenario.right(question.ask, rng)
        elif draw < right + config.wrong_fraction:
            text = self._scenario.wrong(question.ask, rng)
        else:
            text = self._scenario.free_text(question.ask, rng)
        return Answer(text, system, latency_ms=latency_ms)


class ServedChampion:
    """A served system; a second answer to the same prompt is sampled."""

    def __init__(self, engine: ChatEngine, sampling: Sampling) -> None:
        self._engine, self._sampling = engine, sampling

    def answer(self, questions: Sequence[Question], *, step: str) -> list[Answer]:
        """Return one answer per question, in order."""
        requests = scenario_requests(questions, self._sampling)
        results = self._engine.chat(requests, step=step)
        return [
            self._answer(request, result) for request, result in zip(requests, results, strict=True)
        ]

    def _answer(self, request: ChatRequest, result: ChatResult) -> Answer:
        system = self._engine.system
        if result.status == "missing":
            return Answer(None, system, _OUTCOMES.get(result.reason or "", "error"))
        return Answer(
            result.text,
            system,
            latency_ms=round((result.seconds or 0.0) * 1000, 1) or None,
            usage={
                "prompt_tokens": result.n_prompt_tokens,
                "completion_tokens": result.n_completion_tokens,
            },
            sampling=request.sampling,
        )


def scenario_requests(questions: Sequence[Question], sampling: Sampling) -> list[ChatRequest]:
    """Return the questions as one batch for an engine.

    Equal requests get equal answers from an engine, so later attempts have a seed of their own
    and a temperature.
    """
    return [
        ChatRequest(messages=q.messages, sampling=_for_attempt(sampling, q.attempt))
        for q in questions
    ]


def _for_attempt(sampling: Sampling, attempt: int) -> Sampling:
    if not attempt:
        return sampling
    heat = max(sampling.temperature, RETRY_TEMPERATURE)
    return sampling.model_copy(update={"temperature": heat, "seed": sampling.seed + attempt})
