"""Asking a judge: free reasoning, then one label, or a typed reason why there is none.

Whoever has a question with a handful of possible answers asks it here: comparisons, grades,
checklists, and claims that a text supports or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tuneloop.artefacts.systems import Sampling
from tuneloop.config.judge import JudgeConfig
from tuneloop.evaluate.judge_label import begun_verdict, is_refusal, off_label, read_label
from tuneloop.evaluate.judge_prompt import Messages
from tuneloop.runtime.serving import ChatRequest, ChatResult, Dialogue, Engine, ServedSystem
from tuneloop.runtime.serving.chat import MAX_TOP_LOGPROBS

JudgeReason = Literal[
    "parse", "truncation", "refusal", "injection", "transport", "rejected", "no_answer",
    "no_reference", "no_checklist",
]  # fmt: skip
REASONS: dict[str, JudgeReason] = {
    "transport": "transport",
    "timeout": "transport",
    "truncated": "truncation",
    "refusal": "refusal",
    "rejected": "rejected",
}
RETRIED = frozenset({"parse", "refusal", "transport"})
WARM = 0.7
"""Temperature of second tries and of further samples: at 0 a model would say the same again."""


@dataclass(frozen=True)
class Question:
    """What is asked, and the labels it may be answered with, each one token.

    `sample` 0 is the judge's likeliest answer; others are drawn at a temperature.
    """

    messages: Messages
    labels: tuple[str, ...]
    sample: int = 0


@dataclass(frozen=True)
class Reading:
    """What came of a question: the labels' probabilities, or why there are none.

    `mass` is as read from unconstrained log-probabilities; where too much of it lay off the
    labels, structured output decided, and `shares` is 1 for its label. `shares` sum to 1.
    """

    status: Literal["ok", "missing"] = "missing"
    reason: JudgeReason | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    mass: Mapping[str, float] | None = None
    off_label: float | None = None
    decided_by: Literal["logprobs", "structured"] | None = None
    reasoning: str | None = None


def ask(
    engine: Engine,
    system: ServedSystem,
    questions: Sequence[Question],
    config: JudgeConfig,
    *,
    step: str,
    fresh: bool = False,
) -> list[Reading]:
    """Return the reading of each question, in their order; failures are tried once more.

    Args:
        engine: Where the judge runs.
        system: The judge.
        questions: What is asked; `judge_prompt.render` makes their messages.
        config: Tokens of reasoning, and how much may lie off the labels.
        step: What the progress bar says.
        fresh: Take nothing from earlier runs.
    """
    dialogues = [_read(question, config) for question in questions]
    return engine.converse(system, dialogues, step=step, fresh=fresh)


def _read(question: Question, config: JudgeConfig) -> Dialogue[Reading]:
    reading = Reading(reason="parse")
    for attempt in (0, 1):
        seed = 2 * question.sample + attempt
        sampling = Sampling(temperature=WARM, seed=seed) if seed else Sampling()
        reading = yield from _try(question, sampling, config)
        if reading.reason not in RETRIED:
            break
    return reading


def _try(question: Question, sampling: Sampling, config: JudgeConfig) -> Dialogue[Reading]:
    reasoned = ChatResult()
    if config.reasoning_tokens:
        drawn = sampling.model_copy(update={"max_tokens": config.reasoning_tokens})
        reasoned = yield ChatRequest(messages=question.messages, sampling=drawn)
        if reasoned.status == "missing":
            return Reading(reason=REASONS[str(reasoned.reason)])
    begun = {"role": "assistant", "content": begun_verdict(reasoned.text)}
    messages = [*question.messages, begun]
    label = yield ChatRequest(
        messages=messages,
        sampling=sampling.model_copy(update={"max_tokens": 1}),
        top_logprobs=MAX_TOP_LOGPROBS,
        continue_final=True,
    )
    if label.status == "missing":
        return Reading(reason=REASONS[str(label.reason)], reasoning=reasoned.text)
    # A server that returns no alternatives has told nothing: structured output decides.
    mass = read_label(label.top_logprobs, question.labels)
    total, lost = sum(mass.values()), off_label(mass)
    seen = Reading(mass=mass, off_label=lost, reasoning=reasoned.text)
    if lost <= config.off_label_cap and total > 0:
        shares = {name: value / total for name, value in mass.items()}
        return replace(seen, status="ok", shares=shares, decided_by="logprobs")
    if is_refusal(reasoned.text):
        # It declined and has no label in mind: a forced one would be made up.
        return replace(seen, reason="refusal")
    likeliest = sampling.model_copy(update={"max_tokens": 4, "temperature": 0.0})
    choice = yield ChatRequest(
        messages=messages, sampling=likeliest, choices=question.labels, continue_final=True
    )
    return _decided(seen, choice, question.labels)


def _decided(seen: Reading, choice: ChatResult, labels: Sequence[str]) -> Reading:
    if choice.status == "missing":
        return replace(seen, reason=REASONS[str(choice.reason)])
    label = choice.text.strip()
    if label not in labels:
        return replace(seen, reason="parse")
    shares = {name: float(name == label) for name in labels}
    return replace(seen, status="ok", shares=shares, decided_by="structured")
