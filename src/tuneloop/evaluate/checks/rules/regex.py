"""A pattern is found in the answer."""

from __future__ import annotations

import regex

from tuneloop.artefacts.golden import Check
from tuneloop.evaluate.checks.kind import Answer, CheckOutcome, Kind
from tuneloop.evaluate.checks.values import REGEX_TIMEOUT_S, as_text


def _run(check: Check, answer: Answer) -> CheckOutcome:
    flags = regex.IGNORECASE if check.ignore_case else 0
    text = as_text(answer.subject)
    found = regex.search(check.value, text, flags=flags, timeout=REGEX_TIMEOUT_S)
    return CheckOutcome(found is not None, "" if found else "no match")


def _problem(check: Check) -> str | None:
    try:
        regex.compile(check.value)
    except (regex.error, TypeError) as error:
        return f"value is no pattern: {error}"
    return None


KIND = Kind(
    name="regex",
    version=1,
    cost="free",
    about="The pattern is found; one that takes longer than a second says nothing.",
    value="a pattern of the library `regex`",
    run=_run,
    problem=_problem,
    uses=("path", "negate", "ignore_case"),
)
