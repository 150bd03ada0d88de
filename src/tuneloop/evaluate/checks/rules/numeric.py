"""The last number of the answer is the value, within a tolerance."""

from __future__ import annotations

import regex

from tuneloop.artefacts.golden import Check
from tuneloop.evaluate.checks.kind import Answer, CheckOutcome, Kind, NotThereError
from tuneloop.evaluate.checks.values import number

_NUMBER = regex.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|[-+]?\.\d+")


def _run(check: Check, answer: Answer) -> CheckOutcome:
    found = number(answer.subject)
    if found is None and isinstance(answer.subject, str):
        numbers = _NUMBER.findall(answer.subject)
        found = number(numbers[-1]) if numbers else None
    if found is None:
        raise NotThereError("no number")
    close = abs(found - float(check.value)) <= check.tolerance
    return CheckOutcome(close, "" if close else f"is {found:g}")


def _problem(check: Check) -> str | None:
    return "value must be a number" if number(check.value) is None else None


KIND = Kind(
    name="numeric",
    version=2,
    cost="free",
    about="The last number in the answer is within `tolerance` of the value.",
    value="a number",
    run=_run,
    problem=_problem,
    uses=("path", "negate", "tolerance"),
)
