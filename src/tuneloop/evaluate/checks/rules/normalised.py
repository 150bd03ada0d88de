"""The answer says the same words, whatever their case, punctuation and articles."""

from __future__ import annotations

from tuneloop.artefacts.golden import Check
from tuneloop.evaluate.checks.kind import Answer, CheckOutcome, Kind
from tuneloop.evaluate.checks.values import as_text, normalised, short, texts


def _run(check: Check, answer: Answer) -> CheckOutcome:
    said = normalised(as_text(answer.subject))
    same = said in {normalised(text) for text in texts(check.value) or []}
    return CheckOutcome(same, "" if same else f"is {short(said)}")


def _problem(check: Check) -> str | None:
    if not (given := texts(check.value)):
        return "value must be a text or a list of texts"
    return None if all(map(normalised, given)) else "value is empty once normalised"


KIND = Kind(
    name="normalised",
    version=1,
    cost="free",
    about="The answer is one of the values once case, punctuation and articles are gone.",
    value="a text, or a list of texts of which one suffices",
    run=_run,
    problem=_problem,
)
