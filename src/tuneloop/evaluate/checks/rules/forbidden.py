"""No value is in the answer."""

from __future__ import annotations

from tuneloop.artefacts.golden import Check
from tuneloop.evaluate.checks.kind import Answer, CheckOutcome, Kind
from tuneloop.evaluate.checks.rules.contains import holds, problem
from tuneloop.evaluate.checks.values import short


def _run(check: Check, answer: Answer) -> CheckOutcome:
    values = check.value if isinstance(check.value, list) else [check.value]
    held = [item for item in values if holds(check, answer.subject, item)]
    return CheckOutcome(not held, f"contains {short(held)}" if held else "")


KIND = Kind(
    name="forbidden",
    version=1,
    cost="free",
    about="None of the values is in the answer.",
    value="a text or a list of texts",
    run=_run,
    problem=problem,
    uses=("path", "negate", "ignore_case"),
)
