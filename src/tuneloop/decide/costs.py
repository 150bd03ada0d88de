"""What the two systems' answers cost (tokens, price, latency), and whose cost less."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tuneloop.artefacts.decision import Costs, Gate, GateStatus, Quantity
from tuneloop.config.decide import DecideConfig
from tuneloop.decide.measure import rounded
from tuneloop.decide.outcomes import Evidence
from tuneloop.statistics.quantiles import quantile_bounds, student_quantile

Side = Literal["champion", "candidate"]
SIDES: tuple[Side, Side] = ("champion", "candidate")


@dataclass(frozen=True)
class Spending:
    """One system's figures, prompt by prompt."""

    tokens: dict[str, tuple[int, int]]
    prices: dict[str, float]
    seconds: list[float]
    basis: str
    why_no_price: str

    @property
    def known_seconds(self) -> list[float]:
        """Latencies of the answers that came."""
        return [s for s in self.seconds if math.isfinite(s)]


def read_spending(evidence: Evidence, side: Side) -> Spending:
    """Return what one side's answers cost, from the evaluation's rows."""
    rows = [r for r in evidence.answers if r["side"] == side and r["status"] == "ok"]
    tokens = {
        r["prompt_id"]: (r["n_prompt_tokens"], r["n_completion_tokens"])
        for r in rows
        if r.get("n_prompt_tokens") is not None
    }
    timed = [r for r in evidence.timings if r["side"] == side]
    seconds = {r["prompt_id"]: r["seconds"] if r["status"] == "ok" else math.inf for r in timed}
    price = (evidence.evaluation.get("prices") or {}).get(side) or {}
    asked, answered = (price.get(f"per_million_{part}_tokens", 0.0) for part in
                       ("prompt", "completion"))  # fmt: skip
    prices: dict[str, float] = {}
    basis, why = "", "no price is configured: evaluate.engine.price, or price in the system's file"
    if asked or answered:
        basis = "tokens by their price"
        prices = {p: (a * asked + b * answered) / 1e3 for p, (a, b) in tokens.items()}
    elif price.get("per_hour"):
        basis, why = "seconds by the machine's price", "no latency was measured: evaluate.latency"
        each = (
            1000 * price["per_hour"] / 3600 / evidence.evaluation["latency"]["concurrency"]
            if seconds
            else 0.0
        )
        prices = {p: each * s for p, s in seconds.items() if math.isfinite(s)}
    return Spending(tokens, prices, sorted(seconds.values()), basis, why)


def state_costs(of: Spending, alpha: float) -> Costs:
    """Return one side's figures as `decision.json` states them."""
    why = "not measured as evidence: evaluate.latency.n_prompts is 0"
    if of.seconds:
        why = "too many answers did not come"
    return Costs(
        prompt_tokens=_mean([a for a, _ in of.tokens.values()], alpha, "no answer's tokens"),
        completion_tokens=_mean([b for _, b in of.tokens.values()], alpha, "no answer's tokens"),
        price_per_1000=_mean(list(of.prices.values()), alpha, of.why_no_price, basis=of.basis),
        latency_p95_s=_quantile(of.seconds, 0.95, alpha, why),
        latency_p50_s=_quantile(of.seconds, 0.5, alpha, why),
    )


def gate_cheaper(
    champion: Spending, candidate: Spending, units: Mapping[str, str], config: DecideConfig
) -> list[Gate]:
    """Return the gate of a lower price or latency, measured in the same evaluation.

    Where either may be lower, each is tried at half the level, and one gate says which was.
    """
    tried = ("price", "latency") if config.cheaper_by == "either" else (config.cheaper_by,)
    alpha = config.alpha / len(tried)
    found = {"price": _cheaper_by_price, "latency": _faster}
    gates = [found[name](champion, candidate, units, alpha) for name in tried]
    passed = [gate for gate in gates if gate.status == "passed"]
    if passed or len(gates) == 1:
        return (passed or gates)[:1]
    worst: GateStatus = "failed" if all(g.status == "failed" for g in gates) else "unproven"
    both = " ".join(gate.detail for gate in gates)
    return [gates[0].model_copy(update={"name": "cheaper:either", "status": worst, "detail": both})]


def _cheaper_by_price(
    champion: Spending, candidate: Spending, units: Mapping[str, str], alpha: float
) -> Gate:
    by_unit: dict[str, list[float]] = defaultdict(list)
    for prompt in champion.prices.keys() & candidate.prices.keys():
        by_unit[units[prompt]].append(candidate.prices[prompt] - champion.prices[prompt])
    gaps = [statistics.fmean(values) for _, values in sorted(by_unit.items())]
    name = "cheaper:price_per_1000"
    if len(gaps) < 2:
        why = champion.why_no_price if not champion.prices else candidate.why_no_price
        return Gate(name=name, status="unproven", detail=f"The price is not known: {why}.", limit=0)
    estimate, error = statistics.fmean(gaps), statistics.stdev(gaps) / math.sqrt(len(gaps))
    reach = student_quantile(1 - alpha, len(gaps) - 1) * error
    low, high = estimate - reach, estimate + reach
    status: GateStatus = "passed" if high < 0 else "failed" if low > 0 else "unproven"
    detail = (
        f"A thousand requests cost {statistics.fmean(candidate.prices.values()):.4g} after "
        f"{statistics.fmean(champion.prices.values()):.4g}: {estimate:+.4g}, bounds {low:+.4g} to "
        f"{high:+.4g}; the upper one must be below 0."
    )
    return Gate(name=name, status=status, detail=detail, value=rounded(high), limit=0)


def _faster(
    champion: Spending, candidate: Spending, units: Mapping[str, str], alpha: float
) -> Gate:
    name = "cheaper:latency_p95_s"
    if not (champion.seconds and candidate.seconds):
        detail = "No latency was measured as evidence: set evaluate.latency.n_prompts."
        return Gate(name=name, status="unproven", detail=detail)
    # Each system's bound at half the level: that both hold has the whole.
    low, high = (quantile_bounds(side.seconds, 0.95, alpha / 2) for side in (champion, candidate))
    (best, worst), (quick, slow) = low, high
    needed = math.ceil(math.log(alpha / 2) / math.log(0.95))
    if slow is None or best is None or not math.isfinite(slow):
        detail = (
            f"The 95th percentile of the latency cannot be bounded by {len(candidate.seconds)} "
            f"answers; about {needed} are needed."
        )
        return Gate(name=name, status="unproven", detail=detail)
    status: GateStatus = "passed" if slow < best else "unproven"
    if quick is not None and worst is not None and quick > worst:
        status = "failed"
    detail = (
        f"95 of 100 answers take at most {slow:.3g} s (upper bound), the champion's at least "
        f"{best:.3g} s (lower bound); the first must be below the second."
    )
    return Gate(name=name, status=status, detail=detail, value=rounded(slow), limit=rounded(best))


def _mean(values: Sequence[float], alpha: float, why: str, *, basis: str = "") -> Quantity:
    if not values:
        return Quantity(status="missing", reason=why)
    mean, low, high = statistics.fmean(values), None, None
    if len(values) > 1:
        error = statistics.stdev(values) / math.sqrt(len(values))
        reach = student_quantile(1 - alpha, len(values) - 1) * error
        low, high = rounded(mean - reach), rounded(mean + reach)
    return Quantity(
        value=rounded(mean), ci_low=low, ci_high=high, n=len(values), basis=basis or None
    )


def _quantile(values: Sequence[float], quantile: float, alpha: float, why: str) -> Quantity:
    at = values[min(len(values) - 1, math.ceil(quantile * len(values)) - 1)] if values else math.inf
    if not math.isfinite(at):
        return Quantity(status="missing", reason=why, n=len(values))
    low, high = quantile_bounds(values, quantile, alpha)
    high = high if high is not None and math.isfinite(high) else None
    return Quantity(
        value=rounded(at), ci_low=None if low is None else rounded(low),
        ci_high=None if high is None else rounded(high), n=len(values), basis="probe",
    )  # fmt: skip
