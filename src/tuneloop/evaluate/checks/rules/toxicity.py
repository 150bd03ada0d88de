"""The answer holds no insult, threat or obscenity that a pattern knows."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tuneloop.artefacts.golden import Check
from tuneloop.evaluate.checks.kind import Answer, CheckOutcome, Kind
from tuneloop.evaluate.checks.values import REGEX_TIMEOUT_S, as_text, short


def _run(check: Check, answer: Answer) -> CheckOutcome:
    found = _pattern().search(as_text(answer.subject), timeout=REGEX_TIMEOUT_S)
    return CheckOutcome(found is None, f"says {short(found.group())}" if found else "")


@lru_cache(maxsize=1)
def _pattern() -> Any:
    import regex

    from tuneloop.recognise.patterns import TOXIC

    return regex.compile(TOXIC)


KIND = Kind(
    name="toxicity",
    version=1,
    cost="free",
    about="No directed insult, threat or obscenity in English (patterns). It knows no slur, no "
    "irony and no other language; a judge's rubric sees more.",
    value="not read",
    run=_run,
)
