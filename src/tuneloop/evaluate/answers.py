"""Answers of a system on the golden prompts, and what the rules say of them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.artefacts.systems import Sampling
from tuneloop.evaluate.checks import CheckOutcome, kinds, prompt_passes, run_check
from tuneloop.evaluate.checks.run import DETAIL_CHARS, all_passed
from tuneloop.evaluate.grade import grade
from tuneloop.evaluate.tables import Row, Side
from tuneloop.runtime.serving import ChatRequest, ChatResult, Engine, ServedSystem
from tuneloop.runtime.serving.guardrails import guard_answer, guard_prompt, refusal

Answers = Mapping[str, ChatResult]
"""One system's answers by prompt id."""


def sample(prompts: Sequence[GoldenPrompt], n: int | None, *, seed: int) -> list[GoldenPrompt]:
    """Return `n` prompts drawn by `seed`, all where `n` is None, in the order of their ids."""
    ordered = sorted(prompts, key=lambda prompt: prompt.id)
    if n is None or n >= len(ordered):
        return ordered
    drawn = random.Random(seed).sample(ordered, n)
    return sorted(drawn, key=lambda prompt: prompt.id)


def ask(
    engine: Engine, system: ServedSystem, prompts: Sequence[GoldenPrompt], *, side: Side
) -> Answers:
    """Return the system's answer to each prompt, or why there is none."""
    asked = [(messages_of(prompt), system.spec.sampling) for prompt in prompts]
    tools = [tuple(prompt.tools) for prompt in prompts]
    results = ask_each(engine, system, asked, step=f"answers of the {side}", tools=tools)
    return {prompt.id: result for prompt, result in zip(prompts, results, strict=True)}


def messages_of(prompt: GoldenPrompt) -> list[dict[str, Any]]:
    """Return a prompt's messages, with what retrieval gave before the last one of the user.

    Where every piece stands in the messages already, as logs often have it, nothing is added.
    """
    said = "\n".join(str(message.get("content") or "") for message in prompt.messages)
    if all(chunk.text in said for chunk in prompt.context):
        return prompt.messages
    context = "\n\n".join(f"[{chunk.id}] {chunk.text}" for chunk in prompt.context)
    last = max((i for i, m in enumerate(prompt.messages) if m["role"] == "user"), default=0)
    asked = prompt.messages[last]
    told = f"Context:\n\n{context}\n\n{asked.get('content') or ''}"
    return [*prompt.messages[:last], asked | {"content": told}, *prompt.messages[last + 1 :]]


def ask_each(
    engine: Engine,
    system: ServedSystem,
    asked: Sequence[tuple[list[dict[str, Any]], Sampling]],
    *,
    step: str,
    tools: Sequence[tuple[dict[str, Any], ...]] | None = None,
) -> list[ChatResult]:
    """Return the system's answer to each (messages, sampling), or why there is none.

    Its guardrails stand before and after the model; what they refuse is not asked.
    """
    rules = system.spec.guardrails
    guarded = [guard_prompt(rules, messages) for messages, _ in asked]
    open_ = [i for i, prompt in enumerate(guarded) if prompt.refusal is None]
    requests = [
        ChatRequest(
            messages=system.messages(guarded[i].messages),
            sampling=asked[i][1],
            tools=tools[i] if tools else (),
        )
        for i in open_
    ]
    results = {i: refusal(str(prompt.refusal)) for i, prompt in enumerate(guarded)}
    answered = engine.chat(system, requests, step=step) if requests else []
    for i, result in zip(open_, answered, strict=True):
        results[i] = guard_answer(rules, result)
    return [results[i] for i in range(len(asked))]


def answer_rows(side: Side, answers: Answers) -> list[Row]:
    """Return the rows of `answers.parquet` for one side."""
    return [
        {
            "prompt_id": prompt_id,
            "side": side,
            "status": result.status,
            "reason": result.reason,
            "text": result.text if result.status == "ok" else None,
            "finish_reason": result.finish_reason,
            "n_prompt_tokens": result.n_prompt_tokens,
            "n_completion_tokens": result.n_completion_tokens,
        }
        for prompt_id, result in answers.items()
    ]


def check_prompts(
    prompts: Sequence[GoldenPrompt], side: Side, answers: Answers
) -> tuple[list[Row], dict[str, bool | None]]:
    """Return the rows of `checks.parquet` for one side, and whether each prompt passed.

    A missing answer is missing under every check: it neither passes nor fails.
    """
    rows: list[Row] = []
    passed: dict[str, bool | None] = {}
    for prompt in prompts:
        answer = answers[prompt.id]
        if answer.status == "ok":
            outcomes = [run_check(check, answer.text, prompt) for check in prompt.checks]
        else:
            outcomes = [CheckOutcome(None, f"no answer: {answer.reason}", "no_answer")] * len(
                prompt.checks
            )
        passed[prompt.id] = prompt_passes(prompt.checks, outcomes)
        for check, outcome in zip(prompt.checks, outcomes, strict=True):
            rows.append(
                {
                    "prompt_id": prompt.id,
                    "side": side,
                    "check": check.name,
                    "kind": check.kind,
                    "version": kinds()[check.kind].version,
                    "cost": kinds()[check.kind].cost,
                    "status": outcome.status,
                    "reason": outcome.reason,
                    "passed": outcome.passed,
                    "required": check.required,
                    "hard": check.hard,
                    "detail": outcome.detail,
                }
            )
    return rows, passed


def settle_checks(
    rows: Sequence[Row],
    outcomes: Mapping[tuple[str, Side, str], CheckOutcome],
    passed: Mapping[Side, dict[str, bool | None]],
) -> None:
    """Put outcomes that came later into the rows of `checks.parquet`, and what follows of them."""
    required: dict[tuple[Side, str], list[bool | None]] = {}
    for row in rows:
        outcome = outcomes.get((row["prompt_id"], row["side"], row["check"]))
        if outcome:
            row |= {"status": outcome.status, "reason": outcome.reason,
                    "passed": outcome.passed, "detail": outcome.detail[:DETAIL_CHARS]}  # fmt: skip
        if row["required"]:
            required.setdefault((row["side"], row["prompt_id"]), []).append(row["passed"])
    for (side, prompt_id), found in required.items():
        passed[side][prompt_id] = all_passed(found)


def pass_summary(
    prompts: Sequence[GoldenPrompt], answers: Answers, passed: Mapping[str, bool | None]
) -> dict[str, int]:
    """Return how many prompts count, passed, are missing, or have no required check."""
    scored = [p.id for p in prompts if any(check.required for check in p.checks)]
    verdicts = [passed[prompt_id] for prompt_id in scored]
    return {
        "n": len(scored),
        "passed": verdicts.count(True),
        "failed": verdicts.count(False),
        "missing": verdicts.count(None),
        "unscored": len(prompts) - len(scored),
        "unanswered": sum(result.status == "missing" for result in answers.values()),
    }


def metric_rows(
    metric: str, prompts: Sequence[GoldenPrompt], side: Side, answers: Answers, *, work: Path
) -> list[Row]:
    """Return the rows of `metrics.parquet` for one metric and side.

    A prompt without a reference is left out; one without an answer is missing.
    """
    referenced = [prompt for prompt in prompts if prompt.reference is not None]
    answered = [prompt for prompt in referenced if answers[prompt.id].status == "ok"]
    values = grade(
        metric,
        [answers[prompt.id].text for prompt in answered],
        [str(prompt.reference) for prompt in answered],
        work=work,
    )
    graded = dict(zip([prompt.id for prompt in answered], values, strict=True))
    return [
        {
            "prompt_id": prompt.id,
            "side": side,
            "metric": metric,
            "status": "ok" if prompt.id in graded else "missing",
            "value": graded.get(prompt.id),
        }
        for prompt in referenced
    ]


def usage(answers: Answers) -> dict[str, Any]:
    """Return latency and size of a side's answers; for people, in no digest.

    Answers taken from an earlier run have no latency: it was measured on another day.
    """
    answered = [r for r in answers.values() if r.status == "ok"]
    seconds = sorted(r.seconds for r in answered if r.seconds is not None)
    n_tokens = sum(r.n_completion_tokens for r in answers.values())
    if not seconds:
        return {"n": 0, "n_from_earlier_runs": len(answered)}
    return {
        "n": len(seconds),
        "n_from_earlier_runs": len(answered) - len(seconds),
        "n_completion_tokens": n_tokens,
        "latency_p50_s": seconds[len(seconds) // 2],
        "latency_p95_s": seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))],
    }
