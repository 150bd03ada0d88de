"""The answer, or its field, is exactly the value."""

from __future__ import annotations

import json

from tuneloop.artefacts.golden import Check
from tuneloop.evaluate.checks.kind import Answer, CheckOutcome, Kind
from tuneloop.evaluate.checks.values import folded, short


def _run(check: Check, answer: Answer) -> CheckOutcome:
    subject = answer.subject
    if isinstance(subject, str) and isinstance(check.value, str):
        same = folded(check, subject.strip()) == folded(check, check.value.strip())
    else:  # JSON text compares types too: true is not 1
        ours, theirs = (
            json.dumps(value, sort_keys=True, ensure_ascii=False)
            for value in (subject, check.value)
        )
        same = ours == theirs
    return CheckOutcome(same, "" if same else f"is {short(subject)}")


KIND = Kind(
    name="exact",
    version=1,
    cost="free",
    about="The answer is the value, but for space around it.",
    value="a text, or any JSON value where `path` names a field",
    run=_run,
    uses=("path", "negate", "ignore_case"),
)
