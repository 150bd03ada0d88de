"""The kinds of checks beyond texts, patterns and schemas."""

import time

import pytest

from tuneloop.artefacts.golden import Check, GoldenPrompt
from tuneloop.errors import DataError
from tuneloop.evaluate.checks import check_golden, kinds, run_check
from tuneloop.runtime import sandbox

TOOLS = [
    {"type": "function", "function": {"name": "find_order", "parameters": {}}},
    {"type": "function", "function": {"name": "refund", "parameters": {}}},
]
PROMPT = GoldenPrompt(
    id="p",
    messages=[{"role": "user", "content": "Where is order 12? Write to me at ana@example.com"}],
    tools=TOOLS,
    context=[
        {"id": "doc1", "text": "Orders are shipped within two working days of payment."},
        {"id": "doc2", "text": "Refunds take five working days."},
    ],
)
contained = pytest.mark.skipif(
    sandbox.why_not() is not None, reason=f"nothing can be contained here: {sandbox.why_not()}"
)


def outcome(answer, kind, value=None, **fields):
    return run_check(Check(name="c", kind=kind, value=value, **fields), answer, PROMPT)


def tagged(*calls):
    return "".join(f"<tool_call>\n{call}\n</tool_call>" for call in calls)


FIND = '{"name": "find_order", "arguments": {"id": 12, "full": true}}'
REFUND = '{"name": "refund", "arguments": {"id": 12}}'
WANTED = [{"name": "find_order", "arguments": {"id": 12}}]
BOTH = [{"name": "find_order"}, {"name": "refund"}]


@pytest.mark.parametrize(
    ("answer", "kind", "value", "fields", "expected"),
    [
        ("The  Answer: is—an Apple!", "normalised", "answer is apple", {}, True),
        ("pear", "normalised", ["apple", "Pear."], {}, True),
        ("pears", "normalised", ["apple", "pear"], {}, False),
        ("we do", "forbidden", ["refund", "never"], {}, True),
        ("we never do", "forbidden", ["refund", "never"], {}, False),
        ("one two three", "length", {"max": 3}, {}, True),
        ("one two three", "length", {"max": 2}, {}, False),
        ("one two three", "length", {"min": 4}, {}, False),
        ("One. Two? Three!", "length", {"min": 3, "max": 3, "unit": "sentences"}, {}, True),
        ("abc", "length", {"max": 2, "unit": "characters"}, {}, False),
        ("Your order will arrive tomorrow morning.", "language", "en", {}, True),
        ("Ihre Bestellung kommt morgen früh bei Ihnen an.", "language", "en", {}, False),
        ("Ihre Bestellung kommt morgen früh bei Ihnen an.", "language", ["en", "de"], {}, True),
        ("I'm sorry, but I can't help with that.", "refusal", None, {}, False),
        ("I'm sorry, but I can't help with that.", "refusal", None, {"negate": True}, True),
        ("It arrives tomorrow. I cannot say when.", "refusal", None, {}, True),
        ("You are an idiot.", "toxicity", None, {}, False),
        ("The pump is broken.", "toxicity", None, {}, True),
        ("We wrote to ana@example.com", "personal_data", None, {}, True),
        ("We wrote to bob@example.com", "personal_data", None, {}, False),
        ("We wrote to bob@example.com", "personal_data", {"allow": ["bob@example.com"]}, {}, True),
        ("Card 4111 1111 1111 1111", "personal_data", None, {}, False),
        ("Card 4111 1111 1111 1111", "personal_data", {"kinds": ["email"]}, {}, True),
        (tagged(FIND), "tool_call", {"calls": WANTED, "arguments": "subset"}, {}, True),
        (tagged(FIND), "tool_call", {"calls": WANTED}, {}, False),
        (tagged(FIND), "tool_call", {"calls": [{"name": "find_order"}]}, {}, True),
        (tagged(FIND, REFUND), "tool_call", {"calls": [{"name": "refund"}]}, {}, False),
        (tagged(FIND, REFUND), "tool_call", {"calls": BOTH, "order": True}, {}, True),
        (tagged(REFUND, FIND), "tool_call", {"calls": BOTH, "order": True}, {}, False),
        (tagged(REFUND, FIND), "tool_call", {"calls": BOTH}, {}, True),
        (tagged(FIND, REFUND), "tool_call",
         {"calls": [{"name": "refund"}], "others": True}, {}, True),
        (tagged('{"name": "drop_all", "arguments": {}}'), "tool_call",
         {"calls": [], "others": True}, {}, False),
        (tagged("{broken"), "tool_call", {"calls": []}, {}, False),
        (tagged("{broken"), "tool_call", {"calls": []}, {"negate": True}, False),
        ("I will look.", "tool_call", {"calls": []}, {}, True),
        (FIND, "tool_call", {"calls": [{"name": "find_order"}]}, {}, True),
        (f"[TOOL_CALLS] [{FIND}]", "tool_call", {"calls": [{"name": "find_order"}]}, {}, True),
        ("Within two days [doc1].", "citations", None, {}, True),
        ("Within two days.", "citations", None, {}, False),
        ("Within two days [doc7].", "citations", None, {}, False),
        ("See [our page](https://example.com) and [doc2]", "citations", None, {}, True),
        ("Both [doc1, doc2].", "citations", {"min": 2}, {}, True),
        ("One [doc1].", "citations", {"ids": ["doc2"]}, {}, False),
        ('It says "shipped within two working days" [doc1].', "citations", None, {}, True),
        ('It says "shipped within the very same hour" [doc1].', "citations", None, {}, False),
        ("Done [sic] as asked [doc1].", "citations", None, {}, True),
    ],
)  # fmt: skip
def test_outcomes(answer, kind, value, fields, expected):
    assert outcome(answer, kind, value, **fields).passed is expected


def test_too_few_letters_tell_no_language():
    said = outcome("Ok!", "language", "en")
    assert (said.passed, said.reason, said.status) == (None, "unclear", "missing")


def test_a_pattern_that_runs_away_is_missing():
    began = time.monotonic()
    said = outcome("a" * 40 + "!", "regex", r"^(a+)+$")
    assert said.passed in (None, False)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        ("exat", "x", "did you mean 'exact'"),
        ("length", {"max": 3, "unit": "feet"}, "unit is one of"),
        ("length", {"maximum": 3}, "no option 'maximum'"),
        ("length", {"min": 3, "max": 2}, "min is above max"),
        ("language", "English", "language's code"),
        ("normalised", "...", "empty once normalised"),
        ("tool_call", {"calls": [{"arguments": {}}]}, "needs a name"),
        ("tool_call", {"calls": [], "arguments": "some"}, "`exact` or `subset`"),
        ("code", {"tests": "assert ("}, "tests are no Python"),
        ("code", {}, "either tests or stdout"),
        ("code", {"stdout": "1", "time_s": 0}, "above 0"),
        ("personal_data", {"kinds": ["shoe_size"]}, "no kind shoe_size"),
    ],
)
def test_values_that_do_not_fit_are_refused(kind, value, told):
    check = Check(name="c", kind=kind, value=value)
    prompt = GoldenPrompt(id="p", messages=[{"role": "user", "content": "x"}], checks=[check])
    with pytest.raises(DataError, match=told):
        check_golden([prompt])


def test_every_kind_says_what_it_is():
    for name, kind in kinds().items():
        assert kind.name == name
        assert kind.version >= 1
        assert kind.about.endswith(".")
        assert kind.value
        assert set(kind.uses) <= set(Check.model_fields)


ADD = "Here it is:\n```python\ndef add(a, b):\n    return a + b\n```\nUse it well."
TESTS = {"tests": "assert add(1, 2) == 3\nassert add(-1, 1) == 0"}


@contained
@pytest.mark.parametrize(
    ("answer", "value", "passed", "told"),
    [
        (ADD, TESTS, True, ""),
        (ADD.replace("+", "-"), TESTS, False, "failed: AssertionError"),
        ("def add(a, b): return a + b", TESTS, True, ""),
        ("```python\nimport os; os._exit(0)\n```", TESTS, False, ""),
        ("```python\nprint('0' * 32)\n```", TESTS, False, "NameError"),
        ("```python\nwhile True: pass\n```", TESTS | {"time_s": 1}, False, "time"),
        ("```python\nprint(int(input()) * 2)\n```", {"stdin": "21", "stdout": "42"}, True, ""),
        ("```python\nprint(43)\n```", {"stdout": "42"}, False, "another output"),
        ("```\nprint(42)\n```", {"stdout": "42"}, True, ""),
        ("```python\n```", {"stdout": "42"}, False, "no code"),
    ],
)
def test_code_is_run(answer, value, passed, told):
    said = outcome(answer, "code", value)
    assert said.passed is passed
    assert told in said.detail


def test_code_is_never_run_uncontained(monkeypatch):
    from tuneloop.evaluate.checks.rules import code

    monkeypatch.setattr(code, "why_not", lambda: "bubblewrap is not installed")
    monkeypatch.setattr(code, "run_python", lambda *a, **k: pytest.fail("it was run"))
    said = outcome(ADD, "code", TESTS)
    assert (said.passed, said.reason) == (None, "no_sandbox")
