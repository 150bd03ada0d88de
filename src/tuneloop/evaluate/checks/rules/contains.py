"""Every value is in the answer; negated, none is."""

from __future__ import annotations

from typing import Any

from tuneloop.artefacts.golden import Check
from tuneloop.evaluate.checks.kind import Answer, CheckOutcome, Kind
from tuneloop.evaluate.checks.values import folded, short, texts


def _run(check: Check, answer: Answer) -> CheckOutcome:
    wanted = check.value if isinstance(check.value, list) else [check.value]
    held = [item for item in wanted if holds(check, answer.subject, item)]
    if check.negate:
        return CheckOutcome(bool(held), f"contains {short(held)}" if held else "")
    lacking = [item for item in wanted if item not in held]
    return CheckOutcome(not lacking, f"lacks {short(lacking)}" if lacking else "")


def holds(check: Check, subject: Any, item: Any) -> bool:
    """Whether an item is a part of a text, or a member of a list or mapping."""
    if isinstance(subject, str):
        return folded(check, str(item)) in folded(check, subject)
    if isinstance(subject, list | dict):
        return any(folded(check, held) == folded(check, item) for held in subject)
    return False


def problem(check: Check) -> str | None:
    """Return why the value does not fit."""
    if not check.path and not texts(check.value):
        return "value must be a text or a list of texts"
    return None


KIND = Kind(
    name="contains",
    version=1,
    cost="free",
    about="Every value is in the answer; with `negate`, none of them.",
    value="a text or a list of texts; members where `path` names a list",
    run=_run,
    problem=problem,
    uses=("path", "negate", "ignore_case"),
)
