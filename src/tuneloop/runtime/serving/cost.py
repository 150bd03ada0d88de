"""What answering cost: requests, tokens, seconds, money, and what the prefix cache spared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tuneloop.config.engine import PriceConfig
from tuneloop.runtime.serving.chat import ChatResult


def cost_of(
    step: str,
    results: Sequence[ChatResult],
    seconds: float,
    counters: Mapping[str, float],
    price: PriceConfig,
) -> dict[str, Any]:
    """Return one step's costs; `money` is in the currency of the prices, None without any.

    Args:
        step: What was done.
        results: Every answer that was asked for, and came.
        seconds: How long it took.
        counters: What the servers counted meanwhile.
        price: What tokens and hours cost.
    """
    n_prompt = sum(result.n_prompt_tokens for result in results)
    n_written = sum(result.n_completion_tokens for result in results)
    money = (
        n_prompt * price.per_million_prompt_tokens / 1e6
        + n_written * price.per_million_completion_tokens / 1e6
        + seconds * price.per_hour / 3600
    )
    looked_up = counters.get("prefix_tokens_looked_up")
    found = counters.get("prefix_tokens_found", 0.0)
    return {
        "step": step,
        "n_asked": len(results),
        "n_prompt_tokens": n_prompt,
        "n_completion_tokens": n_written,
        "seconds": round(seconds, 3),
        "requests_per_s": round(len(results) / seconds, 2) if seconds else None,
        "tokens_per_s": round(n_written / seconds, 1) if seconds else None,
        "prefix_hit_rate": round(found / looked_up, 4) if looked_up else None,
        "servers_left_out": int(counters.get("servers_left_out", 0)),
        "money": round(money, 6) if any(price.model_dump().values()) else None,
    }
