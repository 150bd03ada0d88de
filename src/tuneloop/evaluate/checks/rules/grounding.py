"""What the answer claims is supported by the prompt's context."""

from __future__ import annotations

from typing import Any

from tuneloop.artefacts.golden import Check
from tuneloop.evaluate.checks.kind import Answer, CheckOutcome, Kind
from tuneloop.evaluate.checks.values import options


def _run(check: Check, answer: Answer) -> CheckOutcome:
    return CheckOutcome(None, "only a judge can say, and none was asked", "no_judge")


def limits_of(check: Check) -> tuple[float, int]:
    """Return the least share of the claims that must be supported, and the fewest claims."""
    value: dict[str, Any] = check.value or {}
    return float(value.get("min_supported", 1.0)), int(value.get("min_claims", 1))


def _problem(check: Check) -> str | None:
    if check.negate:
        return "negate is not read"
    if check.value is None:
        return None
    known = {"min_supported": (int, float), "min_claims": int}
    if problem := options(check.value, known):  # type: ignore[arg-type]
        return problem
    share, fewest = limits_of(check)
    if not 0 < share <= 1:
        return "min_supported must be above 0 and at most 1"
    return "min_claims must not be below 0" if fewest < 0 else None


KIND = Kind(
    name="grounding",
    version=1,
    cost="judge",
    about="A judge finds the answer's claims supported by the prompt's context; missing where no "
    "judge can tell.",
    value="nothing, or `min_supported` (1.0), the share of the claims that must be, and "
    "`min_claims` (1), fewer than which fail",
    run=_run,
    problem=_problem,
    uses=("path",),
    needs=("context",),
)
