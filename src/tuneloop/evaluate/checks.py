"""Rules that score one answer.

JSON is strict: the whole answer, stripped of surrounding space, must be one JSON value. JSON in
a Markdown fence is no JSON, since whoever parses the answer in production would fail on it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import regex

from tuneloop.artefacts.golden import Check, GoldenPrompt
from tuneloop.errors import DataError

REGEX_TIMEOUT_S = 1.0
"""A pattern that backtracks for longer says nothing about the answer: missing."""
DETAIL_CHARS = 200
_NUMBER = regex.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|[-+]?\.\d+")


@dataclass(frozen=True)
class CheckOutcome:
    """What one check said of one answer; `passed` is None where it could not say."""

    passed: bool | None
    detail: str = ""

    @property
    def status(self) -> str:
        """`ok` or `missing`."""
        return "missing" if self.passed is None else "ok"


class _NotThereError(Exception):
    """The answer is no JSON, or lacks the field the check is about."""


def run_check(check: Check, answer: str) -> CheckOutcome:
    """Return whether `answer` passes.

    With `negate` a match fails; an answer that is no JSON where JSON is needed, or lacks the
    field, fails either way. A list under `contains` means each of them, negated none of them.
    """
    try:
        subject = _field(answer, check.path) if check.path else answer
        outcome = _RULES[check.kind](check, subject)
    except _NotThereError as error:
        return CheckOutcome(False, str(error)[:DETAIL_CHARS])
    except TimeoutError:
        return CheckOutcome(None, f"the pattern took longer than {REGEX_TIMEOUT_S:g} s")
    if check.negate:
        detail = (outcome.detail or "matches") if outcome.passed else ""
        outcome = CheckOutcome(not outcome.passed, detail)
    return CheckOutcome(outcome.passed, outcome.detail[:DETAIL_CHARS])


def prompt_passes(checks: list[Check], outcomes: list[CheckOutcome]) -> bool | None:
    """Whether every required check passed; None where that cannot be known.

    One failed check settles it. A prompt without required checks is not scored.
    """
    required = [o.passed for check, o in zip(checks, outcomes, strict=True) if check.required]
    if not required:
        return None
    if False in required:
        return False
    return None if None in required else True


def check_golden(prompts: list[GoldenPrompt]) -> None:
    """Fail where a check's value does not fit its kind, before anything is asked.

    Raises:
        DataError: naming the prompt and the check.
    """
    for prompt in prompts:
        names = [check.name for check in prompt.checks]
        if len(set(names)) < len(names):
            raise DataError("two checks have the same name", where=f"golden prompt {prompt.id}")
        for check in prompt.checks:
            problem = _value_problem(check)
            if problem:
                where = f"golden prompt {prompt.id}, check {check.name}"
                raise DataError(f"{check.kind}: {problem}", where=where)


def _value_problem(check: Check) -> str | None:
    if check.kind == "regex":
        try:
            regex.compile(check.value)
        except (regex.error, TypeError) as error:
            return f"value is no pattern: {error}"
    if check.kind == "json_schema":
        import jsonschema

        try:
            jsonschema.validators.validator_for(check.value).check_schema(check.value)
        except (jsonschema.SchemaError, AttributeError, TypeError) as error:
            return f"value is no JSON schema: {str(error).splitlines()[0]}"
        return _schema_problem(check.value)
    if check.kind == "numeric" and _number(check.value) is None:
        return "value must be a number"
    if check.kind == "contains" and not check.path and not _texts(check.value):
        return "value must be a text or a list of texts"
    return None


def _schema_problem(schema: Any) -> str | None:
    for key, value in _keywords(schema):
        if key == "$ref" and isinstance(value, str) and not value.startswith("#"):
            return "the schema refers to another document, and nothing is fetched"
        if key == "patternProperties":
            return "patternProperties cannot be limited in time; name the properties"
        if key == "pattern" and isinstance(value, str):
            try:
                regex.compile(value)
            except regex.error as error:
                return f"{value!r} is no pattern: {error}"
    return None


def _keywords(schema: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(schema, dict):
        yield from schema.items()
        schema = list(schema.values())
    for value in schema if isinstance(schema, list) else ():
        yield from _keywords(value)


def parse_json(text: str) -> Any:
    """Return `text` as JSON, strictly.

    Raises:
        ValueError: if it is anything else: fenced, followed by words, NaN, too deep.
    """
    try:
        return json.loads(text.strip(), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _field(answer: str, path: str) -> Any:
    value = _parsed(answer)
    for part in path.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise _NotThereError(f"no field {path!r}")
    return value


def _parsed(answer: str) -> Any:
    try:
        return parse_json(answer)
    except ValueError as error:
        raise _NotThereError(f"not JSON: {error}") from None


def _exact(check: Check, subject: Any) -> CheckOutcome:
    if isinstance(subject, str) and isinstance(check.value, str):
        same = _folded(check, subject.strip()) == _folded(check, check.value.strip())
    else:
        # JSON text compares types too: true is not 1.
        dump = {"sort_keys": True, "ensure_ascii": False}
        same = json.dumps(subject, **dump) == json.dumps(check.value, **dump)  # type: ignore[arg-type]
    return CheckOutcome(same, "" if same else f"is {_short(subject)}")


def _regex(check: Check, subject: Any) -> CheckOutcome:
    flags = regex.IGNORECASE if check.ignore_case else 0
    text = subject if isinstance(subject, str) else json.dumps(subject, ensure_ascii=False)
    found = regex.search(check.value, text, flags=flags, timeout=REGEX_TIMEOUT_S)
    return CheckOutcome(found is not None, "" if found else "no match")


def _contains(check: Check, subject: Any) -> CheckOutcome:
    wanted = check.value if isinstance(check.value, list) else [check.value]
    held = [item for item in wanted if _holds(check, subject, item)]
    if check.negate:
        return CheckOutcome(bool(held), f"contains {_short(held)}" if held else "")
    lacking = [item for item in wanted if item not in held]
    return CheckOutcome(not lacking, f"lacks {_short(lacking)}" if lacking else "")


def _holds(check: Check, subject: Any, item: Any) -> bool:
    if isinstance(subject, str):
        return _folded(check, str(item)) in _folded(check, subject)
    if isinstance(subject, list | dict):
        return any(_folded(check, held) == _folded(check, item) for held in subject)
    return False


def _json_schema(check: Check, subject: Any) -> CheckOutcome:
    import jsonschema
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    value = subject if check.path else _parsed(subject)
    plain = jsonschema.validators.validator_for(check.value)
    validator = jsonschema.validators.extend(plain, {"pattern": _pattern})  # type: ignore[no-untyped-call]
    try:  # An empty registry: a schema that refers to an address never fetches it.
        error = next(validator(check.value, registry=Registry()).iter_errors(value), None)
    except Unresolvable as gone:
        raise DataError(f"the schema refers to nothing: {gone}", where=check.name) from gone
    return CheckOutcome(error is None, error.message if error else "")


def _pattern(validator: Any, pattern: str, subject: Any, schema: Any) -> Iterator[Exception]:
    """JSON Schema's `pattern`, with the time limit of the check `regex`."""
    import jsonschema

    if isinstance(subject, str) and not regex.search(pattern, subject, timeout=REGEX_TIMEOUT_S):
        yield jsonschema.ValidationError(f"{_short(subject)} does not match {_short(pattern)}")


def _numeric(check: Check, subject: Any) -> CheckOutcome:
    number = _number(subject)
    if number is None and isinstance(subject, str):
        found = _NUMBER.findall(subject)
        number = _number(found[-1]) if found else None
    if number is None:
        return CheckOutcome(False, "no number")
    close = abs(number - float(check.value)) <= check.tolerance
    return CheckOutcome(close, "" if close else f"is {number:g}")


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value.replace(",", "")) if isinstance(value, str) else float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _texts(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)
    )


def _folded(check: Check, value: Any) -> Any:
    return value.casefold() if check.ignore_case and isinstance(value, str) else value


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:80]


_RULES: dict[str, Callable[[Check, Any], CheckOutcome]] = {
    "exact": _exact,
    "regex": _regex,
    "contains": _contains,
    "json_schema": _json_schema,
    "numeric": _numeric,
}
