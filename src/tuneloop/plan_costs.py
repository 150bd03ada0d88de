"""Minutes and money of the stages that a run has still to do, by what they took before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.artefacts.store import Store
from tuneloop.config.evaluate import EvaluateConfig

CHARS_PER_TOKEN = 4
"""Of English text, roughly."""


def planned_costs(
    store: Store, stages: Sequence[str], prompts: Sequence[GoldenPrompt], config: EvaluateConfig
) -> dict[str, dict[str, Any]]:
    """Return what is still to run costs, by earlier runs or what the config states."""
    rows = {"evaluate": len(prompts), "decide": len(prompts)}
    expected = {"evaluate": expected_evaluation(config, prompts)}
    return stage_costs(store, stages, rows, config.engine.price.per_hour, expected=expected)


def stage_costs(
    store: Store,
    stages: Sequence[str],
    rows: Mapping[str, int],
    per_hour: float,
    *,
    expected: Mapping[str, dict[str, Any] | None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Return, by stage, minutes and money with what was assumed, or why they are not known.

    Args:
        store: Whose earlier artefacts tell how long a stage takes.
        stages: Those that have still to run.
        rows: How many rows a stage gets, where that is known.
        per_hour: Price of the machine's hour; 0: not known.
        expected: By stage, what is expected of one that never ran, from what the config states.
    """
    found: dict[str, dict[str, Any]] = {}
    for stage in stages:
        earlier = max(
            store.list_artefacts(stage), key=lambda a: a.manifest.started_at, default=None
        )
        if earlier is None:
            unknown = {"status": "missing", "reason": "no earlier run of it to go by"}
            found[stage] = (expected or {}).get(stage) or unknown
            continue
        manifest = earlier.manifest
        took, before = manifest.seconds, manifest.counts.n_in
        now = rows.get(stage)
        scale = now / before if now and before else 1.0
        minutes = took * scale / 60
        of = f"{now:,} of {before:,} rows" if now and before else "as many rows"
        found[stage] = {
            "status": "ok",
            "minutes": round(minutes, 2),
            "money": round(minutes / 60 * per_hour, 4) if per_hour else None,
            "assumed": f"{earlier.digest[:12]} took {took:.0f} s; {of}, the same machine",
        }
    return found


def expected_evaluation(
    config: EvaluateConfig, prompts: Sequence[GoldenPrompt]
) -> dict[str, Any] | None:
    """Return minutes and money of a first evaluation by stated rate and prices, about.

    Both systems answer every prompt to the token limit; the judge reads each pair in both orders,
    twice where it reasons first. Tokens read are characters by four. None: neither is stated.
    """
    engine, judge = config.engine, config.judge
    n = min(len(prompts), config.max_prompts or len(prompts))
    chars = sum(len(str(m.get("content") or "")) for p in prompts for m in p.messages)
    each = chars / max(len(prompts), 1) / CHARS_PER_TOKEN
    written = 2 * n * config.sampling.max_tokens
    read = 2 * n * each
    if judge.role != "off":
        pairs = 2 * min(n, judge.n_prompts or n)
        written += pairs * (judge.reasoning_tokens + 1)
        requests = 2 if judge.reasoning_tokens else 1
        read += pairs * requests * (each + 2 * config.sampling.max_tokens)
    price, rate = engine.price, engine.tokens_per_s
    minutes = written / rate / 60 if rate else None
    by_token = (
        price.per_million_prompt_tokens * read + price.per_million_completion_tokens * written
    )
    money = by_token / 1e6 + (minutes or 0.0) / 60 * price.per_hour
    if minutes is None and not money:
        return None
    return {
        "status": "ok",
        "minutes": None if minutes is None else round(minutes, 2),
        "money": round(money, 4) if money else None,
        "assumed": f"about {written:,.0f} tokens written, {read:,.0f} read, at the stated "
        + " and ".join(["rate"] * bool(rate) + ["prices"] * bool(money)),
    }


def cost_lines(costs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the costs as lines for people, with their sum."""
    if not costs:
        return []
    lines = ["", "still to run, by what it took before or what is stated:"]
    for stage, cost in costs.items():
        if cost["status"] != "ok":
            lines.append(f"  {stage:<10}unknown: {cost['reason']}")
            continue
        paid = f", {cost['money']:g} in money" if cost["money"] is not None else ""
        took = "minutes unknown" if cost["minutes"] is None else f"{cost['minutes']:g} min"
        lines.append(f"  {stage:<10}{took}{paid} ({cost['assumed']})")
    known = [cost for cost in costs.values() if cost["status"] == "ok"]
    total = sum(cost["minutes"] or 0.0 for cost in known)
    money = sum(cost["money"] or 0.0 for cost in known)
    told = (
        f", {money:g} in money" if money else ": no money, as evaluate.engine.price.per_hour is 0"
    )
    left = sum(cost.get("minutes") is None for cost in costs.values())
    unknown = f"; {left} unknown" if left else ""
    return [*lines, f"  together  {total:.1f} min{told}{unknown}"]
