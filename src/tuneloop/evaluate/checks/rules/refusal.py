"""The answer does not refuse."""

from __future__ import annotations

import regex

from tuneloop.artefacts.golden import Check
from tuneloop.evaluate.checks.kind import Answer, CheckOutcome, Kind
from tuneloop.evaluate.checks.values import REGEX_TIMEOUT_S, as_text
from tuneloop.recognise.patterns import REFUSAL

_BEGINNING_CHARS = 240


def refuses(text: str) -> bool:
    """Whether an answer begins with a refusal, in one of ten languages."""
    beginning = text.strip()[:_BEGINNING_CHARS]
    return regex.search(REFUSAL, beginning, timeout=REGEX_TIMEOUT_S) is not None


def _run(check: Check, answer: Answer) -> CheckOutcome:
    found = refuses(as_text(answer.subject))
    return CheckOutcome(not found, "refuses" if found else "")


KIND = Kind(
    name="refusal",
    version=1,
    cost="free",
    about="The answer does not begin with a refusal (patterns, ten languages); with `negate`, "
    "it must refuse.",
    value="not read",
    run=_run,
)
