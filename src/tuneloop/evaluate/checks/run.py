"""One check over one answer, and a prompt's checks together."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from tuneloop.artefacts.golden import Check, GoldenPrompt
from tuneloop.errors import DataError
from tuneloop.evaluate.checks.kind import Answer, CheckOutcome, NotThereError, kinds
from tuneloop.evaluate.checks.values import field_of

DETAIL_CHARS = 200


def run_check(check: Check, answer: str, prompt: GoldenPrompt | None = None) -> CheckOutcome:
    """Return whether `answer` passes.

    With `negate` a match fails; an answer that lacks what the check is about (JSON, the field,
    a number) fails either way.

    Args:
        check: The rule.
        answer: The answer's text.
        prompt: What was asked; rules about its tools and context need it.
    """
    try:
        subject = field_of(answer, check.path) if check.path else answer
        outcome = kinds()[check.kind].run(check, Answer(answer, subject, prompt))
    except NotThereError as error:
        return CheckOutcome(False, str(error)[:DETAIL_CHARS])
    except TimeoutError:
        return CheckOutcome(None, "the rule took too long", "timeout")
    if outcome.passed is None:
        return CheckOutcome(None, outcome.detail[:DETAIL_CHARS], outcome.reason)
    if check.negate:
        detail = (outcome.detail or "matches") if outcome.passed else ""
        outcome = CheckOutcome(not outcome.passed, detail)
    return CheckOutcome(outcome.passed, outcome.detail[:DETAIL_CHARS])


def prompt_passes(checks: list[Check], outcomes: list[CheckOutcome]) -> bool | None:
    """Whether every required check passed; None where that cannot be known.

    One failed check settles it. A prompt without required checks is not scored.
    """
    return all_passed(
        [o.passed for check, o in zip(checks, outcomes, strict=True) if check.required]
    )


def all_passed(outcomes: Sequence[bool | None]) -> bool | None:
    """Whether all passed: one failure settles it; None where it cannot be known, or of none."""
    if False in outcomes:
        return False
    return None if not outcomes or None in outcomes else True


def check_golden(prompts: list[GoldenPrompt]) -> None:
    """Fail where a check's kind is unknown or its value does not fit, before anything is asked.

    Raises:
        DataError: naming the prompt and the check.
    """
    for prompt in prompts:
        names = [check.name for check in prompt.checks]
        if len(set(names)) < len(names):
            raise DataError("two checks have the same name", where=f"golden prompt {prompt.id}")
        for check in prompt.checks:
            problem = check_problem(check) or _lacking(check, prompt)
            if problem:
                where = f"golden prompt {prompt.id}, check {check.name}"
                raise DataError(problem, where=where)


def _lacking(check: Check, prompt: GoldenPrompt) -> str | None:
    """Return what a prompt lacks that its check needs."""
    lacking = [name for name in kinds()[check.kind].needs if not getattr(prompt, name)]
    return f"{check.kind}: the prompt has no {lacking[0]}" if lacking else None


def check_problem(check: Check) -> str | None:
    """Return why a check cannot be run; None where it can."""
    kind = kinds().get(check.kind)
    if kind is None:
        near = difflib.get_close_matches(check.kind, kinds(), n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        return f"no kind of check is called {check.kind!r}; {meant}known: {', '.join(kinds())}"
    problem = kind.problem(check)
    return f"{check.kind}: {problem}" if problem else None
