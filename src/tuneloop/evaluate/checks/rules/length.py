"""The answer is neither too short nor too long."""

from __future__ import annotations

from collections.abc import Callable

import regex

from tuneloop.artefacts.golden import Check
from tuneloop.evaluate.checks.kind import Answer, CheckOutcome, Kind
from tuneloop.evaluate.checks.values import as_text, options

_UNITS: dict[str, Callable[[str], int]] = {
    "characters": len,
    "words": lambda text: len(text.split()),
    "sentences": lambda text: len(regex.findall(r"[.!?。！？]+(?:[\"'”’)\]]*)(?:\s|$)", text)),
    "lines": lambda text: len(text.splitlines()),
}


def _run(check: Check, answer: Answer) -> CheckOutcome:
    unit = check.value.get("unit", "words")
    n = _UNITS[unit](as_text(answer.subject).strip())
    fits = check.value.get("min", 0) <= n <= check.value.get("max", n)
    return CheckOutcome(fits, "" if fits else f"has {n} {unit}")


def _problem(check: Check) -> str | None:
    known = {"min": int, "max": int, "unit": str}
    if problem := options(check.value, known):  # type: ignore[arg-type]
        return problem
    if check.value.get("unit", "words") not in _UNITS:
        return f"unit is one of {', '.join(_UNITS)}"
    if not {"min", "max"} & set(check.value):
        return "value needs min, max or both"
    if check.value.get("min", 0) > check.value.get("max", float("inf")):
        return "min is above max"
    return None


KIND = Kind(
    name="length",
    version=1,
    cost="free",
    about="The answer's length lies within the bounds.",
    value="`min`, `max` or both, and `unit`: words (default), characters, sentences or lines",
    run=_run,
    problem=_problem,
)
