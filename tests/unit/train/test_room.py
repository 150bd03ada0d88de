"""What to change when a training does not fit."""

from tuneloop.config.train import SftConfig
from tuneloop.runtime.shapes import published_shape
from tuneloop.train.memory import Machine, estimate
from tuneloop.train.room import changes, memory_plan, room_gib, settled, verdict
from tuneloop.train.step import largest_step

SHAPE = published_shape("Qwen/Qwen3-8B")
CONFIG = SftConfig(max_length=2048, micro_batch_size=8, global_batch_size=16)
STEP, GPU = largest_step(CONFIG, pairs=False), Machine("cuda")


def test_changes_go_on_until_it_fits_each_lower_than_the_last():
    found = changes(SHAPE, CONFIG, STEP, GPU, 16.0)
    totals = [change.total_gib for change in found]
    assert totals == sorted(totals, reverse=True)
    assert totals[-1] <= 16.0 < totals[-2]
    assert any("gradient_checkpointing: true" in change.setting for change in found)
    assert any("quantisation: nf4" in change.setting for change in found)


def test_what_can_never_fit_is_said():
    found = estimate(SHAPE, CONFIG, STEP, GPU)
    lines = verdict(found, 1.0, changes(SHAPE, CONFIG, STEP, GPU, 1.0))
    assert "does not fit" in lines[0]
    assert "still does not fit" in lines[-1]
    assert verdict(found, 999.0, []) == ["fits: 999.0 GiB are there"]
    assert verdict(found, None, []) == []


def test_a_plan_states_parts_and_room_of_this_machine(monkeypatch):
    monkeypatch.setattr("tuneloop.train.room.room_gib", lambda machine: 2.0)
    plan = memory_plan(SHAPE, CONFIG, STEP)
    assert plan["fits"] is False
    assert plan["changes"]
    assert abs(sum(plan["parts"].values()) - plan["total_gib"]) < 0.01


def test_the_room_on_a_cpu_is_below_what_the_machine_has():
    import psutil

    assert 0 < room_gib(Machine("cpu")) * 1024**3 <= psutil.virtual_memory().total


def test_checkpointing_is_on_only_where_it_would_not_fit_without(monkeypatch):
    small = published_shape("HuggingFaceTB/SmolLM2-135M-Instruct")
    step = largest_step(CONFIG, pairs=False)

    def decided(room, **config):
        monkeypatch.setattr("tuneloop.train.room.room_gib", lambda machine: room)
        return settled(small, CONFIG.model_copy(update=config), step).gradient_checkpointing

    assert decided(500.0) is False
    assert decided(None) is False
    assert decided(4.0) is True
    assert decided(4.0, gradient_checkpointing=False) is False
    assert decided(500.0, gradient_checkpointing=True) is True
    monkeypatch.setattr("tuneloop.train.room.room_gib", lambda machine: 4.0)
    lines = memory_plan(small, CONFIG, step)["lines"]
    assert any("gradient checkpointing is on" in line for line in lines)


def test_a_smaller_micro_batch_is_not_filled_up_again():
    short = largest_step(CONFIG.model_copy(update={"max_length": 128}), pairs=False)
    room = 0.9 * estimate(SHAPE, CONFIG, short, GPU).total_gib
    first = changes(SHAPE, CONFIG, short, GPU, room)[0]
    assert first.setting == "micro_batch_size: 4, fill_tokens: null"
    long = changes(SHAPE, CONFIG, STEP, GPU, 1.0)[0]
    assert long.setting == "micro_batch_size: 4"
