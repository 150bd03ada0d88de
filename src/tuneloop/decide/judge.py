"""What the judge said, and what its canaries and its two orders say about the judge."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tuneloop.artefacts.decision import GateStatus, JudgeReading
from tuneloop.decide.measure import measure, rounded, state_measured
from tuneloop.decide.outcomes import judge_values
from tuneloop.statistics.resampling import Resampling

Row = Mapping[str, Any]


def read_judge(
    summary: Mapping[str, Any],
    judgments: Sequence[Row],
    units: Mapping[str, str],
    how: Resampling,
) -> JudgeReading:
    """Return the judge's win rate with its interval, and the instrument's own figures.

    Args:
        summary: The judge's part of `evaluation.json`.
        judgments: A row per prompt and order.
        units: Prompt → unit.
        how: Level, resamples, seed.
    """
    role = summary.get("role", "off")
    if role == "off" or not judgments:
        text = "No judge was asked." if role == "off" else "The judge left no judgment."
        return JudgeReading(
            role=role, decided=False, summary=text, canaries=_canaries(summary),
            evaluation=dict(summary),
        )  # fmt: skip
    certified = summary.get("certified")
    if certified:  # a judge that failed has no say in the panel
        judgments = [row for row in judgments if row.get("judge") in certified]
    pairs = judge_values(judgments)
    measured = measure(pairs, units, how, judge=True)
    agreement, first = _orders(judgments)
    missing = sum(row["status"] != "ok" for row in judgments)
    reading = JudgeReading(
        role=role,
        decided=role == "deciding" and certified != [],
        summary="",
        n_prompts=len(pairs),
        n_missing=missing,
        missing_fraction=rounded(missing / len(judgments)),
        order_agreement=agreement,
        first_position_rate=first,
        win_rate=state_measured(measured, how.alpha, nothing="no prompt was judged in both orders"),
        canaries=_canaries(summary),
        evaluation=dict(summary),
    )
    return reading.model_copy(update={"summary": _summarise(reading)})


def _orders(judgments: Sequence[Row]) -> tuple[float | None, float | None]:
    """Return how often the two orders prefer the same side, and the first position's share."""
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in judgments:
        if row["status"] == "ok" and row["order"] != "each_alone":
            scores[row["prompt_id"]][row["order"]].append(row["score"])
    means = [{o: sum(s) / len(s) for o, s in orders.items()} for orders in scores.values()]
    both = [(m["champion_first"], m["candidate_first"]) for m in means if len(m) == 2]
    if not both:
        return None, None
    agree = sum(_side(a) == _side(b) for a, b in both) / len(both)
    first = sum((1 - a + b) / 2 for a, b in both) / len(both)
    return rounded(agree), rounded(first)


def _side(score: float) -> int:
    return (score > 0.5) - (score < 0.5)


def _canaries(summary: Mapping[str, Any]) -> dict[str, GateStatus]:
    """Return canary → status; one that could not be read is unproven, never passed."""
    listed = summary.get("canaries") or {}
    if isinstance(listed, Mapping):
        listed = [{"name": n, **(c if isinstance(c, Mapping) else {"passed": c})}
                  for n, c in listed.items()]  # fmt: skip
    found: dict[str, GateStatus] = {}
    for canary in listed:
        passed = canary.get("passed")
        status: GateStatus = "unproven" if passed is None else "passed" if passed else "failed"
        name = canary["name"]
        found[name] = max(found.get(name, "passed"), status, key=_SEVERITY.__getitem__)
    return found


_SEVERITY = {"passed": 0, "unproven": 1, "failed": 2}


def _summarise(reading: JudgeReading) -> str:
    parts = []
    bad = [name for name, status in reading.canaries.items() if status != "passed"]
    if reading.canaries:
        held = len(reading.canaries) - len(bad)
        named = f" (not: {', '.join(bad)})" if bad else ""
        parts.append(f"{held} of {len(reading.canaries)} canaries held{named}")
    if reading.order_agreement is not None:
        parts.append(f"its two orders agree on {100 * reading.order_agreement:.0f} % of prompts")
    parts.append(f"missing judgments: {reading.n_missing}")
    found = "; ".join(parts)
    rate = reading.win_rate
    if rate is not None and rate.estimate is not None:
        found += (
            f"; it prefers the candidate in {100 * (0.5 + rate.estimate):.0f} % of "
            f"{rate.n} comparisons"
        )
    for one in reading.evaluation.get("certificates") or []:
        word = {"passed": "holds", "failed": "failed", "unproven": "could not prove"}[one["status"]]
        found += f"; {one['judge']} {word} its certificate"
    if reading.role == "deciding" and not reading.decided:
        return f"The judge was to decide and cannot. {_upper(found)}."
    if reading.role == "advisory":
        return f"The judge is advisory and decided nothing: the checks do. {_upper(found)}."
    return f"The judge decides. {_upper(found)}."


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
