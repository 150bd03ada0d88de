"""The answer is in one of the languages."""

from __future__ import annotations

from tuneloop.artefacts.golden import Check
from tuneloop.evaluate.checks.kind import Answer, CheckOutcome, Kind
from tuneloop.evaluate.checks.values import as_text, texts

_MIN_LETTERS = 20


def _run(check: Check, answer: Answer) -> CheckOutcome:
    text = as_text(answer.subject)
    if sum(map(str.isalpha, text)) < _MIN_LETTERS:
        return CheckOutcome(None, f"fewer than {_MIN_LETTERS} letters tell no language", "unclear")
    try:
        language, share = _rank(text[:2000])
    except ImportError:
        return CheckOutcome(None, "install the extra `data` (py3langid)", "not_installed")
    fits = language in (texts(check.value) or [])
    return CheckOutcome(fits, "" if fits else f"is {language} (probability {share:.2f})")


def _rank(text: str) -> tuple[str, float]:
    from tuneloop.recognise.languages import identifier

    language, share = identifier().rank(text)[0]
    return language, share


def _problem(check: Check) -> str | None:
    codes = texts(check.value)
    if not codes or not all(len(code) in (2, 3) and code.islower() for code in codes):
        return "value must be a language's code (en, de, ...) or a list of them"
    return None


KIND = Kind(
    name="language",
    version=1,
    cost="free",
    about="The likeliest language of the answer (py3langid, offline) is one of the values; "
    "answers of fewer than 20 letters are missing.",
    value="a code such as `en`, or a list of codes",
    run=_run,
    problem=_problem,
)
