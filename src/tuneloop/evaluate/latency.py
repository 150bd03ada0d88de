"""Latency as evidence: both systems asked the same prompts, warmed up, in turns, from no cache."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.config.evaluate import LatencyConfig
from tuneloop.evaluate.tables import Row, Side
from tuneloop.runtime.serving import ChatRequest, Engine, ServedSystem
from tuneloop.runtime.serving.guardrails import guard_prompt


def probe(
    engine: Engine,
    systems: Mapping[Side, ServedSystem],
    prompts: Sequence[GoldenPrompt],
    config: LatencyConfig,
) -> list[Row]:
    """Return the rows of `timings.parquet` for the systems that one engine serves.

    Blocks of `concurrency` prompts go to one system and then to the other, and who is first
    changes with every block, so that what drifts on the machine meets both alike. A guardrail
    that refuses takes what the rule takes. Nothing is kept: a probe that was killed begins anew.
    """
    rows: list[Row] = []
    warm = prompts[: config.warm_up]
    for system in systems.values():
        _ask(engine, system, warm)
    sides = list(systems)
    for begin in range(0, len(prompts), config.concurrency):
        block = prompts[begin : begin + config.concurrency]
        for side in sides:
            rows += [row | {"side": side} for row in _ask(engine, systems[side], block)]
        sides.reverse()
    return rows


def _ask(engine: Engine, system: ServedSystem, prompts: Sequence[GoldenPrompt]) -> list[Row]:
    rows: list[Row] = []
    asked: list[tuple[str, ChatRequest]] = []
    for prompt in prompts:
        began = time.monotonic()
        guarded = guard_prompt(system.spec.guardrails, prompt.messages)
        if guarded.refusal is not None:
            seconds = round(time.monotonic() - began, 6)
            rows.append({"prompt_id": prompt.id, "status": "ok", "seconds": seconds})
        else:
            messages = system.messages(guarded.messages)
            request = ChatRequest(messages=messages, sampling=system.spec.sampling)
            asked.append((prompt.id, request))
    results = engine.measure(system, [request for _, request in asked]) if asked else []
    for (prompt_id, _), result in zip(asked, results, strict=True):
        took = result.seconds if result.status == "ok" else None
        rows.append({"prompt_id": prompt_id, "status": result.status, "seconds": took})
    return rows
