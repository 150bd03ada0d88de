"""The verdict as plain text."""

import pytest
from evaluations import evidence

from tuneloop.config.decide import DecideConfig
from tuneloop.decide.stage import weigh
from tuneloop.report.numbers import gap, level, number, p_value, tick
from tuneloop.report.text import verdict_text

BETTER = [(False, True)] * 40 + [(True, True)] * 10


def text(pairs, **config):
    record = weigh(evidence(pairs), DecideConfig(**config), seed=1, lineage={})
    return verdict_text(record.model_dump(mode="json"))


def test_it_says_verdict_primary_gates_and_judge():
    said = text(BETTER)
    assert said.startswith("PROMOTE  helpdesk against base")
    assert "champion 20.0 %, candidate 100.0 %: +80.0 points (90 % interval" in said
    assert "passed: different_systems, missing_answers, primary" in said
    assert "No judge was asked." in said


def test_lines_fit_a_terminal_and_keep_numbers_with_their_unit():
    lines = text(BETTER, protected_slices=["billing", "refund"]).splitlines()
    assert max(map(len, lines)) <= 100
    assert not any(line.strip().startswith("%") for line in lines)


def test_nothing_measured_is_said_in_words():
    said = text([(None, None)] * 4)
    assert said.startswith("HOLD")
    assert "not measured" in said


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (gap(-0.034), "\N{MINUS SIGN}3.4 points"),
        (gap(0.00001), "0.0 points"),
        (gap(1.25, rates=False), "+1.25"),
        (gap(None), "\N{EN DASH}"),
        (level(0.5), "50.0 %"),
        (number(1234567), "1\N{NARROW NO-BREAK SPACE}234\N{NARROW NO-BREAK SPACE}567"),
        (number(True), "yes"),
        (p_value(1e-9), "< 0.0001"),
        (tick(0.0), "0"),
        (tick(-0.25), "\N{MINUS SIGN}25"),
    ],
)
def test_numbers(shown, wanted):
    assert shown == wanted
