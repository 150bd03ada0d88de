"""The judge: pairs of answers, both orders, a score or a typed reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from tuneloop.artefacts.systems import Sampling
from tuneloop.config.evaluate import JudgeConfig
from tuneloop.evaluate.judge_prompt import (
    LABELS,
    ORDERS,
    Order,
    Pair,
    begun_verdict,
    candidate_score,
    is_refusal,
    judge_messages,
    read_label,
    tries_injection,
)
from tuneloop.runtime.serving import ChatRequest, ChatResult, Engine, ServedSystem
from tuneloop.runtime.serving.chat import MAX_TOP_LOGPROBS

JudgeReason = Literal[
    "parse", "truncation", "refusal", "injection", "transport", "rejected", "no_answer"
]
REASONS: dict[str, JudgeReason] = {
    "transport": "transport",
    "timeout": "transport",
    "truncated": "truncation",
    "refusal": "refusal",
    "rejected": "rejected",
}
RETRIED = frozenset({"parse", "refusal", "transport"})
RETRY_TEMPERATURE = 0.7
"""At temperature 0 a second try would say the same again."""


@dataclass(frozen=True)
class Judgment:
    """One comparison in one order; see `tables.py` for what the probabilities mean."""

    prompt_id: str
    order: Order
    status: Literal["ok", "missing"] = "missing"
    reason: JudgeReason | None = None
    score: float | None = None
    p_a: float | None = None
    p_b: float | None = None
    p_tie: float | None = None
    off_label: float | None = None
    decided_by: Literal["logprobs", "structured"] | None = None
    reasoning: str | None = None

    def row(self) -> dict[str, Any]:
        """Return the row of `judgments.parquet`."""
        return asdict(self)


@dataclass(frozen=True)
class Judge:
    """Who judges, where, and by which protocol."""

    engine: Engine
    system: ServedSystem
    config: JudgeConfig

    def compare(self, pairs: Sequence[Pair], *, step: str, screen: bool = True) -> list[Judgment]:
        """Return both orders of each pair; failures are tried once more.

        Args:
            pairs: What is compared.
            step: What the progress bars say.
            screen: Leave out pairs in which an answer speaks to its judge (`injection`).
        """
        asked = [(pair, order) for pair in pairs for order in ORDERS]
        judgments = [Judgment(pair.id, order, reason="injection") for pair, order in asked]
        open_ = [
            i
            for i, (pair, _) in enumerate(asked)
            if not (screen and (tries_injection(pair.champion) or tries_injection(pair.candidate)))
        ]
        for sampling in (Sampling(), Sampling(temperature=RETRY_TEMPERATURE, seed=1)):
            tried = self._try([asked[i] for i in open_], sampling, step)
            for i, judgment in zip(open_, tried, strict=True):
                judgments[i] = judgment
            open_ = [i for i in open_ if judgments[i].reason in RETRIED]
        return judgments

    def _try(
        self, asked: Sequence[tuple[Pair, Order]], sampling: Sampling, step: str
    ) -> list[Judgment]:
        if not asked:
            return []
        messages = [judge_messages(pair, order, self.config.rubric) for pair, order in asked]
        reasoned = self._reason(messages, sampling, step)
        judgments = [
            Judgment(pair.id, order, reasoning=result.text)
            if result.status == "ok"
            else Judgment(pair.id, order, reason=REASONS[str(result.reason)])
            for (pair, order), result in zip(asked, reasoned, strict=True)
        ]
        begun = [
            [*m, {"role": "assistant", "content": begun_verdict(result.text)}]
            for m, result in zip(messages, reasoned, strict=True)
        ]
        open_ = [i for i, judgment in enumerate(judgments) if judgment.reason is None]
        labels = self._label([begun[i] for i in open_], sampling, step)
        for i, label in zip(open_, labels, strict=True):
            judgments[i] = self._read(judgments[i], label)
        undecided = [i for i in open_ if judgments[i].decided_by == "structured"]
        chosen = self._choose([begun[i] for i in undecided], sampling, step)
        for i, choice in zip(undecided, chosen, strict=True):
            judgments[i] = _decide(judgments[i], choice)
        return judgments

    def _reason(
        self, messages: Sequence[list[dict[str, str]]], sampling: Sampling, step: str
    ) -> list[ChatResult]:
        n_tokens = self.config.reasoning_tokens
        if n_tokens == 0:
            return [ChatResult()] * len(messages)
        drawn = sampling.model_copy(update={"max_tokens": n_tokens})
        requests = [ChatRequest(messages=m, sampling=drawn) for m in messages]
        return self.engine.chat(self.system, requests, step=f"{step}: reasons")

    def _label(
        self, begun: Sequence[list[dict[str, str]]], sampling: Sampling, step: str
    ) -> list[ChatResult]:
        one_token = sampling.model_copy(update={"max_tokens": 1})
        requests = [
            ChatRequest(
                messages=messages,
                sampling=one_token,
                top_logprobs=MAX_TOP_LOGPROBS,
                continue_final=True,
            )
            for messages in begun
        ]
        return self.engine.chat(self.system, requests, step=f"{step}: labels")

    def _choose(
        self, begun: Sequence[list[dict[str, str]]], sampling: Sampling, step: str
    ) -> list[ChatResult]:
        likeliest = sampling.model_copy(update={"max_tokens": 4, "temperature": 0.0})
        requests = [
            ChatRequest(
                messages=messages,
                sampling=likeliest,
                choices=LABELS,
                continue_final=True,
            )
            for messages in begun
        ]
        return self.engine.chat(self.system, requests, step=f"{step}: structured labels")

    def _read(self, judgment: Judgment, label: ChatResult) -> Judgment:
        """Take the label's probabilities, or leave it to structured output."""
        if label.status == "missing":
            return replace(judgment, reason=REASONS[str(label.reason)])
        # A server that returns no alternatives has told nothing: structured output decides.
        mass = read_label(label.top_logprobs)
        seen = replace(
            judgment,
            p_a=mass.p_a,
            p_b=mass.p_b,
            p_tie=mass.p_tie,
            off_label=mass.off_label,
        )
        if mass.off_label <= self.config.off_label_cap and mass.on_label > 0:
            score = candidate_score(judgment.order, p_a=mass.p_a, p_b=mass.p_b, p_tie=mass.p_tie)
            return replace(seen, status="ok", score=score, decided_by="logprobs")
        if judgment.reasoning and is_refusal(judgment.reasoning):
            # It declined and has no label in mind: a forced one would be made up.
            return replace(seen, reason="refusal")
        return replace(seen, decided_by="structured")


def _decide(judgment: Judgment, choice: ChatResult) -> Judgment:
    if choice.status == "missing":
        return replace(judgment, reason=REASONS[str(choice.reason)], decided_by=None)
    label = choice.text.strip()
    if label not in LABELS:
        return replace(judgment, reason="parse", decided_by=None)
    one_hot = {name: float(name == label) for name in LABELS}
    score = candidate_score(judgment.order, p_a=one_hot["A"], p_b=one_hot["B"], p_tie=one_hot["T"])
    return replace(judgment, status="ok", score=score)
