"""What an evaluation says of each prompt, and how prompts become the units of inference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tuneloop.artefacts.stage import Evaluation
from tuneloop.errors import DecisionError

Row = Mapping[str, Any]
Missing = Literal["leave_out", "against", "for"]


@dataclass(frozen=True)
class Pair:
    """One prompt's value for champion and candidate; None is missing, never 0."""

    champion: float | None
    candidate: float | None


@dataclass(frozen=True)
class Evidence:
    """Rows of one evaluation, read once. `units` maps a prompt to its family or itself."""

    evaluation: Mapping[str, Any]
    answers: list[dict[str, Any]]
    checks: list[dict[str, Any]]
    metrics: list[dict[str, Any]]
    judgments: list[dict[str, Any]]
    timings: list[dict[str, Any]] = field(default_factory=list)

    @property
    def prompts(self) -> list[dict[str, Any]]:
        """The golden prompts that were asked, in their order."""
        return list(self.evaluation["prompts"])

    @property
    def units(self) -> dict[str, str]:
        """Prompt id → unit; prefixes keep a family apart from a prompt of the same name."""
        return {
            p["id"]: f"family:{p['family']}" if p.get("family") else f"prompt:{p['id']}"
            for p in self.prompts
        }

    @property
    def weights(self) -> dict[str, float]:
        """Prompt id → how much of production's traffic it stands for, beside the others."""
        return {p["id"]: float(p.get("weight") or 1.0) for p in self.prompts}

    @property
    def answer_missing(self) -> set[tuple[str, str]]:
        """(prompt id, side) without a usable answer."""
        given = {(r["prompt_id"], r["side"]) for r in self.answers if r["status"] == "ok"}
        sides = ("champion", "candidate")
        return {(p["id"], side) for p in self.prompts for side in sides} - given


def read_evidence(evaluation: Evaluation) -> Evidence:
    """Return an evaluation's rows; a file it does not hold has none."""
    import pyarrow.parquet as pq

    def rows(name: str) -> list[dict[str, Any]]:
        if name not in evaluation.manifest.files:
            return []
        return list(pq.read_table(evaluation.path(name)).to_pylist())

    return Evidence(
        evaluation=evaluation.json("evaluation.json"),
        answers=rows("answers.parquet"),
        checks=rows("checks.parquet"),
        metrics=rows("metrics.parquet"),
        judgments=rows("judgments.parquet"),
        timings=rows("timings.parquet"),
    )


def values_of(evidence: Evidence, metric: str) -> dict[str, Pair]:
    """Return each scored prompt's values: `pass`, `judge`, a check's or a metric's name.

    A prompt that the metric does not apply to (no required check, no such check, not asked
    of the judge) is absent; one that it applies to and that has no value is a missing pair.

    Raises:
        DecisionError: if the evaluation has no metric of that name.
    """
    if metric == "pass":
        return _pairs(evidence, _checked(r for r in evidence.checks if r["required"]))
    if metric == "judge":
        return judge_values(evidence.judgments)
    checks = [r for r in evidence.checks if r["check"] == metric]
    if checks:
        return _pairs(evidence, _checked(checks))
    graded = [r for r in evidence.metrics if r["metric"] == metric]
    if graded:
        return _pairs(evidence, {_key(r): r["value"] if _usable(r) else None for r in graded})
    names = {r["check"] for r in evidence.checks} | {r["metric"] for r in evidence.metrics}
    raise DecisionError(
        f"the evaluation has no metric {metric!r}",
        where="decide.metric",
        hint=f"it has: {', '.join(['pass', *sorted(names)])}",
    )


def judge_values(judgments: Iterable[Row]) -> dict[str, Pair]:
    """Return the judge's shares per judged prompt, over samples, then orders, then judges.

    One order alone is half position bias: a judge counts where it judged in every order it was
    asked in, and a prompt without such a judge is missing.
    """
    cells: dict[str, dict[str, dict[str, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for row in judgments:
        held = cells[row["prompt_id"]][row.get("judge") or ""][row["order"]]
        if row["status"] == "ok":
            held.append(row["score"])
    pairs = {}
    for prompt, judges in cells.items():
        whole = [
            sum(sum(s) / len(s) for s in orders.values()) / len(orders)
            for orders in judges.values()
            if all(orders.values()) and set(orders) not in ({"champion_first"}, {"candidate_first"})
        ]
        share = sum(whole) / len(whole) if whole else None
        pairs[prompt] = Pair(None if share is None else 1 - share, share)
    return pairs


def filled(pairs: Mapping[str, Pair], missing: Missing) -> dict[str, tuple[float, float]]:
    """Return prompt → (champion, candidate), whatever is missing left out or filled in.

    Args:
        pairs: Values by prompt.
        missing: Leave prompts with a missing value out, or count each missing value
            `against` the candidate (its own as the worst, the champion's as the best)
            or `for` it.
    """
    known = [v for p in pairs.values() for v in (p.champion, p.candidate) if v is not None]
    worst, best = min([0.0, *known]), max([1.0, *known])
    ends = {"against": (best, worst), "for": (worst, best)}
    rows: dict[str, tuple[float, float]] = {}
    for prompt, pair in pairs.items():
        champion, candidate = pair.champion, pair.candidate
        if champion is None or candidate is None:
            if missing == "leave_out":
                continue
            fill = ends[missing]
            champion = fill[0] if champion is None else champion
            candidate = fill[1] if candidate is None else candidate
        rows[prompt] = (champion, candidate)
    return rows


def collapse(
    pairs: Mapping[str, Pair], units: Mapping[str, str], missing: Missing
) -> dict[str, tuple[float, float]]:
    """Return unit → (champion, candidate), each the mean over the unit's prompts.

    Args:
        pairs: Values by prompt.
        units: Prompt → unit.
        missing: As for `filled`.
    """
    rows: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for prompt, values in filled(pairs, missing).items():
        rows[units[prompt]].append(values)
    return {
        unit: (sum(a for a, _ in of) / len(of), sum(b for _, b in of) / len(of))
        for unit, of in sorted(rows.items())
    }


def _checked(rows: Iterable[Row]) -> dict[tuple[str, str], float | None]:
    """Return (prompt, side) → 1 if every check held, 0 if one did not, None if unknown."""
    by_answer: dict[tuple[str, str], list[bool | None]] = defaultdict(list)
    for row in rows:
        by_answer[_key(row)].append(row["passed"] if row["status"] == "ok" else None)
    return {
        key: 0.0 if False in found else None if None in found else 1.0
        for key, found in by_answer.items()
    }


def _pairs(evidence: Evidence, values: Mapping[tuple[str, str], float | None]) -> dict[str, Pair]:
    """Pair the sides of every prompt that has a row; without an answer there is no value."""
    absent = evidence.answer_missing

    def value(prompt: str, side: str) -> float | None:
        return None if (prompt, side) in absent else values.get((prompt, side))

    scored = {prompt for prompt, _ in values}
    return {
        p["id"]: Pair(value(p["id"], "champion"), value(p["id"], "candidate"))
        for p in evidence.prompts
        if p["id"] in scored
    }


def _key(row: Row) -> tuple[str, str]:
    return row["prompt_id"], row["side"]


def _usable(row: Row) -> bool:
    return row["status"] == "ok" and row["value"] is not None
