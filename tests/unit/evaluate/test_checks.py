import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneloop.artefacts.golden import Check, GoldenPrompt
from tuneloop.errors import DataError
from tuneloop.evaluate.checks import (
    CheckOutcome,
    check_golden,
    parse_json,
    prompt_passes,
    run_check,
)

SCHEMA = {
    "type": "object",
    "required": ["intent"],
    "properties": {"intent": {"enum": ["refund", "other"]}},
}
NESTED = '{"reply": {"lines": ["Hello", "Bye"], "price": 4.5, "paid": true, "none": null}}'


def passes(answer, kind, value, **fields):
    return run_check(Check(name="c", kind=kind, value=value, **fields), answer).passed


@pytest.mark.parametrize(
    ("answer", "kind", "value", "fields", "expected"),
    [
        (" yes\n", "exact", "yes", {}, True),
        ("Yes", "exact", "yes", {}, False),
        ("Yes", "exact", "yes", {"ignore_case": True}, True),
        ("STRASSE", "exact", "straße", {"ignore_case": True}, True),
        ("yes", "exact", "yes", {"negate": True}, False),
        (NESTED, "exact", "Bye", {"path": "reply.lines.1"}, True),
        (NESTED, "exact", 4.5, {"path": "reply.price"}, True),
        (NESTED, "exact", True, {"path": "reply.paid"}, True),
        (NESTED, "exact", 1, {"path": "reply.paid"}, False),
        (NESTED, "exact", None, {"path": "reply.none"}, True),
        (NESTED, "exact", "Bye", {"path": "reply.lines.2"}, False),
        (NESTED, "exact", "Bye", {"path": "reply.lines.2", "negate": True}, False),
        ("Bye", "exact", "x", {"path": "reply", "negate": True}, False),
        ("order 12-34", "regex", r"\d{2}-\d{2}", {}, True),
        ("ORDER", "regex", "order", {}, False),
        ("ORDER", "regex", "order", {"ignore_case": True}, True),
        ("my password is x", "regex", "password", {"negate": True}, False),
        ("fine", "regex", "password", {"negate": True}, True),
        ("a refund is due", "contains", "refund", {}, True),
        ("a refund is due", "contains", ["refund", "due"], {}, True),
        ("a refund is due", "contains", ["refund", "late"], {}, False),
        ("a refund is due", "contains", ["late", "never"], {"negate": True}, True),
        ("a refund is due", "contains", ["late", "due"], {"negate": True}, False),
        (NESTED, "contains", "Bye", {"path": "reply.lines"}, True),
        (NESTED, "contains", "By", {"path": "reply.lines"}, False),
        ('{"intent": "refund"}', "json_schema", SCHEMA, {}, True),
        ('{"intent": "spam"}', "json_schema", SCHEMA, {}, False),
        ('{"intent": "spam"}', "json_schema", SCHEMA, {"negate": True}, True),
        ("no json", "json_schema", SCHEMA, {"negate": True}, False),
        ('```json\n{"intent": "refund"}\n```', "json_schema", SCHEMA, {}, False),
        ('{"intent": "refund"} Hope this helps!', "json_schema", SCHEMA, {}, False),
        ('{"a": {"intent": "other"}}', "json_schema", SCHEMA, {"path": "a"}, True),
        ("42", "numeric", 42, {}, True),
        ("1,234.5", "numeric", 1234.5, {}, True),
        ("First 3, then the answer is 42.", "numeric", 42, {}, True),
        ("it is -7", "numeric", -7, {}, True),
        ("3.14", "numeric", 3.1416, {"tolerance": 0.01}, True),
        ("3.14", "numeric", 3.1416, {}, False),
        ("none at all", "numeric", 0, {}, False),
        ("nan", "numeric", 0, {}, False),
        (NESTED, "numeric", 4.5, {"path": "reply.price"}, True),
        (NESTED, "numeric", 1, {"path": "reply.paid"}, False),
    ],
)
def test_rules(answer, kind, value, fields, expected):
    assert passes(answer, kind, value, **fields) is expected


def test_a_pattern_that_backtracks_is_missing_not_failed():
    began = time.monotonic()
    outcome = run_check(Check(name="c", kind="regex", value=r"(a|aa)+$"), "a" * 60 + "!")
    assert outcome.passed is None
    assert outcome.status == "missing"
    assert time.monotonic() - began < 120


def test_a_schema_never_fetches_what_it_refers_to():
    with pytest.raises(DataError, match="refers to nothing"):
        run_check(Check(name="c", kind="json_schema", value={"$ref": "http://127.0.0.1:1/s"}), "{}")


def test_a_schema_that_allows_everything_or_nothing():
    for value in (True, False):
        check = Check(name="c", kind="json_schema", value=value)
        prompt = GoldenPrompt(id="p", messages=[{"role": "user", "content": "q"}], checks=[check])
        check_golden([prompt])
        assert run_check(check, "{}").passed is value


def test_a_pattern_within_a_schema_is_limited_in_time_too():
    began = time.monotonic()
    schema = {"properties": {"a": {"type": "string", "pattern": "^(a|aa)+$"}}}
    answer = json.dumps({"a": "a" * 60 + "!"})
    outcome = run_check(Check(name="c", kind="json_schema", value=schema), answer)
    assert outcome.status == "missing"
    assert time.monotonic() - began < 120  # without the limit: longer than anybody waits
    schema["properties"]["a"]["pattern"] = "^b"
    assert passes('{"a": "bc"}', "json_schema", schema)
    assert not passes('{"a": "ab"}', "json_schema", schema)


def test_a_schema_may_refer_to_itself():
    schema = {"$defs": {"word": {"type": "string"}}, "items": {"$ref": "#/$defs/word"}}
    assert passes('["a"]', "json_schema", schema)
    assert not passes("[1]", "json_schema", schema)


NO_JSON = ["NaN", "[1, Infinity]", "[" * 100_000, "", "{'a': 1}", '{"a": 1,}']


@pytest.mark.parametrize("text", NO_JSON, ids=range(6))
def test_what_is_no_json(text):
    with pytest.raises(ValueError):
        parse_json(text)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=8))
def test_every_json_value_equals_itself(value):
    answer = json.dumps({"field": value})
    assert passes(answer, "exact", value, path="field")
    assert not passes(answer, "exact", value, path="field", negate=True)


@given(st.text(), st.text(min_size=1))
def test_negation_turns_contains_round(answer, value):
    assert passes(answer, "contains", value) is not passes(answer, "contains", value, negate=True)


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_number_is_read_back(number):
    assert passes(f"The answer is {number!r}", "numeric", number, tolerance=abs(number) * 1e-9)
    assert math.isfinite(number)


@pytest.mark.parametrize(
    ("outcomes", "required", "expected"),
    [
        ([True, True], [True, True], True),
        ([True, False], [True, True], False),
        ([True, False], [True, False], True),
        ([None, False], [True, True], False),
        ([None, True], [True, True], None),
        ([True], [False], None),
        ([], [], None),
    ],
)
def test_a_prompt_passes_by_its_required_checks(outcomes, required, expected):
    checks = [
        Check(name=f"c{i}", kind="exact", value="x", required=r) for i, r in enumerate(required)
    ]
    assert prompt_passes(checks, [CheckOutcome(o) for o in outcomes]) is expected


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("regex", "("),
        ("regex", 3),
        ("json_schema", {"type": "nonsense"}),
        ("json_schema", "text"),
        ("json_schema", {"items": [{"$ref": "http://example.com/s.json"}]}),
        ("json_schema", 3),
        ("json_schema", {"properties": {"a": {"pattern": "("}}}),
        ("json_schema", {"patternProperties": {"(a+)+$": {}}}),
        ("numeric", "many"),
        ("contains", []),
        ("contains", 3),
    ],
)
def test_a_check_that_cannot_work_fails_before_anything_is_asked(kind, value):
    prompt = GoldenPrompt(
        id="p9",
        messages=[{"role": "user", "content": "q"}],
        checks=[Check(name="odd", kind=kind, value=value)],
    )
    with pytest.raises(DataError, match=r"p9, check odd"):
        check_golden([prompt])


def test_two_checks_of_one_name_are_refused():
    check = Check(name="c", kind="exact", value="x")
    prompt = GoldenPrompt(id="p", messages=[{"role": "user", "content": "q"}], checks=[check] * 2)
    with pytest.raises(DataError, match="same name"):
        check_golden([prompt])
