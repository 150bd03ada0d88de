import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tuneloop.train.guard import FLOOR, BadStep, Guard, stop_with_batch
from tuneloop.train.rows import TokenRows


def guard(**options):
    return Guard(**{"factor": 4.0, "window": 10} | options)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_stops_at_its_step(value):
    for figures in ({"loss": value, "grad_norm": 1.0}, {"loss": 1.0, "grad_norm": value}):
        watch = guard(factor=None)
        watch.watch(1, loss=2.0, grad_norm=1.0)
        with pytest.raises(BadStep) as caught:
            watch.watch(2, **{k: torch.tensor(v) for k, v in figures.items()})
        assert caught.value.step == 2


def test_a_spike_is_far_above_the_median():
    watch = guard()
    for step in range(1, 7):
        watch.watch(step, loss=2.0, grad_norm=1.0)
    watch.watch(7, loss=7.9, grad_norm=1.0)
    with pytest.raises(BadStep, match=r"jumped to 8\.1"):
        watch.watch(8, loss=8.1, grad_norm=1.0)


def test_small_losses_and_the_first_steps_are_no_spikes():
    watch = guard()
    for step, loss in enumerate([0.01] * 6 + [FLOOR * 3.9], start=1):
        watch.watch(step, loss=loss, grad_norm=1.0)
    early = guard()
    for step, loss in enumerate([1.0, 90.0, 1.0, 90.0], start=1):
        early.watch(step, loss=loss, grad_norm=1.0)


def test_later_names_the_step_it_happened_at():
    watch = guard(later=True)
    watch.watch(1, loss=1.0, grad_norm=1.0, flush=False)
    watch.watch(2, loss=math.nan, grad_norm=1.0, flush=False)
    watch.watch(3, loss=math.nan, grad_norm=1.0, flush=False)
    with pytest.raises(BadStep) as caught:
        watch.watch(4, loss=1.0, grad_norm=1.0)
    assert caught.value.step == 2


@given(st.lists(st.floats(0.1, 50), min_size=1, max_size=40), st.integers(0, 40))
def test_a_guard_that_goes_on_sees_what_one_that_never_stopped_sees(losses, cut):
    def first_bad(*parts):
        recent, step = [], 0
        for part in parts:
            watch = guard()
            watch.recent.extend(recent)
            for loss in part:
                step += 1
                try:
                    watch.watch(step, loss=loss, grad_norm=1.0)
                except BadStep as bad:
                    return bad.step, bad.reason
            recent = json.loads(json.dumps(list(watch.recent)))
        return None

    assert first_bad(losses) == first_bad(losses[:cut], losses[cut:])


def test_the_batch_is_saved_and_named(tmp_path):
    rows = [{"input_ids": [i, i + 1], "labels": [-100, i + 1]} for i in range(4)]
    tokens = TokenRows(rows=rows, ids=[f"r{i}" for i in range(4)])
    bad = BadStep(7, "the loss is nan")
    error = stop_with_batch(bad, tokens, [2, 0], folder=tmp_path, decode=lambda ids: f"text {ids}")
    assert "the loss is nan at step 7" in error.what
    assert "r2, r0" in error.what
    saved = json.loads((tmp_path / "bad-batch-step-7.json").read_text())
    assert saved["rows"][0] == {
        "row_id": "r2",
        "tokens": {"input_ids": [2, 3], "labels": [-100, 3]},
        "text": {"input_ids": "text [2, 3]"},
    }
