"""The answer is JSON that a schema allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import regex

from tuneloop.artefacts.golden import Check
from tuneloop.errors import DataError
from tuneloop.evaluate.checks.kind import Answer, CheckOutcome, Kind
from tuneloop.evaluate.checks.values import REGEX_TIMEOUT_S, parsed, short


def _run(check: Check, answer: Answer) -> CheckOutcome:
    import jsonschema
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    value = answer.subject if check.path else parsed(answer.text)
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
        yield jsonschema.ValidationError(f"{short(subject)} does not match {short(pattern)}")


def schema_problem(schema: Any) -> str | None:
    """Return why a schema cannot be used; None where it can."""
    import jsonschema

    try:
        jsonschema.validators.validator_for(schema).check_schema(schema)
    except (jsonschema.SchemaError, AttributeError, TypeError) as error:
        return f"value is no JSON schema: {str(error).splitlines()[0]}"
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


KIND = Kind(
    name="json_schema",
    version=1,
    cost="free",
    about="The answer is strict JSON (no fence, no words around it) that the schema allows.",
    value="a JSON schema that refers to no other document",
    run=_run,
    problem=lambda check: schema_problem(check.value),
)
