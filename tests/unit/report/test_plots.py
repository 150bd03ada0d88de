"""Coordinates of the report's pictures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneloop.artefacts.decision import Measured
from tuneloop.report.plots import HEIGHT, WIDTH, forest_axis, forest_bar, loss_curve


def measured(low, at, high):
    return Measured(estimate=at, ci_low=low, ci_high=high, confidence=0.9, method="m", n=5)


@given(st.lists(st.tuples(*[st.floats(-1, 1)] * 3).map(sorted), min_size=1, max_size=8))
def test_every_interval_lies_on_the_axis_in_its_order(triples):
    rows = [measured(*triple) for triple in triples]
    axis = forest_axis(rows, 0.05)
    assert 0 <= axis["margin"] < axis["zero"] <= 100
    assert 3 <= len(axis["ticks"]) <= 8
    for row in rows:
        bar = forest_bar(axis, row)
        assert 0 <= bar["low"] <= bar["at"] + 0.01 <= bar["high"] + 0.02 <= 100.02
        assert row.estimate <= 0 or bar["at"] >= axis["zero"] - 0.01


def test_what_was_not_measured_has_no_bar():
    empty = Measured(reason="nothing", confidence=0.9, method="none")
    assert forest_bar(forest_axis([empty], 0.0), empty) is None


def test_a_loss_that_falls_is_drawn_falling():
    history = {"train": [{"step": s, "loss": 3 - s / 10} for s in range(0, 20, 2)],
               "validation": [{"step": 10, "loss": 2.1}]}  # fmt: skip
    curve = loss_curve(history)
    ys = [point["y"] for point in curve["curves"]["train"]]
    assert ys == sorted(ys)  # SVG counts downwards
    assert all(0 <= p["x"] <= WIDTH and 0 <= p["y"] <= HEIGHT for p in curve["curves"]["train"])
    assert curve["last"] == {"train": pytest.approx(1.2), "validation": 2.1}


@pytest.mark.parametrize("loss", [None, float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_left_out(loss):
    assert loss_curve({"train": [{"step": 1, "loss": loss}]}) is None
    assert loss_curve({}) is None


def test_a_single_point_still_has_an_axis():
    assert len(loss_curve({"train": [{"step": 1, "loss": 0.5}]})["y_ticks"]) >= 2
