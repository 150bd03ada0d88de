import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.config.load import load_model
from tuneloop.config.sweep import SweepConfig
from tuneloop.errors import ConfigError
from tuneloop.sweep.space import Space

LR, R = "train.sft.lr", "train.sft.lora.r"


def config(**keys):
    space = {LR: {"low": 1e-5, "high": 1e-2, "log": True}, R: {"values": [4, 8, 16]}}
    return SweepConfig.model_validate({"space": space} | keys)


def drive(space, goodness, n):
    taken = []
    for trial in range(n):
        taken.append(space.values(trial))
        space.tell(trial, goodness(taken[-1]))
    return taken


def test_a_grid_is_every_combination_once():
    space = Space(
        config(method="grid", space={LR: {"values": [1e-4, 2e-4]}, R: {"values": [4, 8]}})
    )
    found = drive(space, lambda _: 1.0, space.n_trials)
    wanted = [{LR: lr, R: r} for lr, r in itertools.product([1e-4, 2e-4], [4, 8])]
    assert found == wanted


@pytest.mark.parametrize("method", ["tpe", "random"])
def test_the_same_sweep_takes_the_same_trials(method):
    def goodness(params):
        return None if params[R] == 8 else abs(params[LR] - 1e-3)

    first = drive(Space(config(method=method)), goodness, 15)
    assert drive(Space(config(method=method)), goodness, 15) == first
    assert drive(Space(config(method=method, seed=1)), goodness, 15) != first
    assert {params[R] for params in first} == {4, 8, 16}
    assert len({params[LR] for params in first}) == 15


def test_what_is_drawn_follows_what_was_good():
    def near(params):
        return abs(params[LR] - 1e-3) / 1e-3

    drawn = [p[LR] for p in drive(Space(config(trials=40)), near, 40)]
    early, late = sorted(drawn[:10]), sorted(drawn[25:])
    assert abs(late[len(late) // 2] - 1e-3) < abs(early[5] - 1e-3)


@settings(max_examples=25, deadline=None)
@given(low=st.integers(1, 50), wide=st.integers(1, 50), log=st.booleans(), seed=st.integers(0, 99))
def test_a_range_is_kept_to(low, wide, log, seed):
    dimension = {"low": low, "high": low + wide, "log": log, "integer": True}
    space = Space(config(method="random", seed=seed, space={R: dimension}))
    value = space.values(0)[R]
    assert isinstance(value, int)
    assert low <= value <= low + wide


def test_corners_hold_every_value():
    corners = Space(config()).corners()
    assert {c[R] for c in corners} == {4, 8, 16}
    assert {c[LR] for c in corners} == {1e-5, 1e-2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("space: {train.sft.rate: {values: [1]}}", "no such key"),
        ("space: {train.sft.lorra.r: {values: [1]}}", "did you mean 'lora'"),
        ("space: {train.sft.lora: {values: [1]}}", "is a section"),
        ("space: {train.sft.lr.x: {values: [1]}}", "is a value"),
        ("space: {build.max_sft_rows: {values: [1]}}", "same validation rows"),
        ("space: {train.sft.max_length: {values: [64, 128]}}", "which validation rows"),
        ("{stage: dpo, space: {train.dpo.beta: {values: [0.1]}}}", "take metric accuracy"),
        ("{stage: sft, metric: accuracy, space: {train.sft.lr: {values: [1]}}}", "ranks no"),
        ("{method: grid, space: {train.sft.lr: {low: 1, high: 2}}}", "no range"),
        ("space: {train.sft.lr: {low: 2, high: 1}}", "low must be below"),
        ("space: {train.sft.lr: {low: 0, high: 1, log: true}}", "above 0"),
        ("space: {train.sft.lr: {}}", "give values"),
        ("{metric: golden, space: {train.sft.lr: {values: [1]}}}", "metric"),
        ("{objectiv: loss, space: {train.sft.lr: {values: [1]}}}", "unknown key"),
    ],
)
def test_what_cannot_be_is_said(text, said, tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_model(SweepConfig, path)
    assert said in "\n".join(caught.value.problems)


def test_dpo_can_be_swept_by_what_its_loss_is_made_of_where_accuracy_is_looked_at(tmp_path):
    keys = {"stage": "dpo", "metric": "accuracy", "space": {"train.dpo.beta": {"values": [0.1]}}}
    assert config(**keys).metric == "accuracy"
    keys = {"stage": "dpo", "space": {"train.sft.loss_type": {"values": ["nll", "dft"]}}}
    assert config(**keys).stage == "dpo"


def test_every_mistake_is_told_at_once(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "method: grid\nspace:\n  train.sft.lr: {low: 1, high: 2}\n  train.sft.oops: {values: [1]}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_model(SweepConfig, path)
    assert len(caught.value.problems) == 2
    assert f"{path}:3" in caught.value.problems[0]
