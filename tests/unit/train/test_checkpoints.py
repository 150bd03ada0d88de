import json

import pytest

from tuneloop.train.checkpoints import is_complete, mark_complete, newest_complete, stopped_at


def checkpoint(folder, step, *, complete=True):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "adapter.safetensors").write_bytes(b"weights" * step)
    (path / "trainer_state.json").write_text("{}")
    if complete:
        mark_complete(path)
    return path


def test_newest_is_by_number_and_not_by_name(tmp_path):
    for step in (5, 100, 20):
        checkpoint(tmp_path, step)
    assert newest_complete(tmp_path).name == "checkpoint-100"


def test_half_written_checkpoints_are_skipped_and_deleted(tmp_path):
    checkpoint(tmp_path, 5)
    half = checkpoint(tmp_path, 10, complete=False)
    assert newest_complete(tmp_path, clean=False).name == "checkpoint-5"
    assert half.is_dir()
    assert newest_complete(tmp_path).name == "checkpoint-5"
    assert not half.exists()


@pytest.mark.parametrize("damage", ["gone", "short", "mark"])
def test_damaged_checkpoints_are_not_complete(tmp_path, damage):
    path = checkpoint(tmp_path, 5)
    assert is_complete(path)
    if damage == "gone":
        (path / "adapter.safetensors").unlink()
    elif damage == "short":
        (path / "adapter.safetensors").write_bytes(b"w")
    else:
        (path / "complete.json").write_text('{"adapter')
    assert not is_complete(path)
    assert newest_complete(tmp_path) is None


def test_no_folder_no_checkpoint(tmp_path):
    assert newest_complete(tmp_path / "nothing") is None


@pytest.mark.parametrize(("stopping", "step", "expected"),
                         [(True, 5, True), (True, 10, False), (False, 5, False)])  # fmt: skip
def test_early_stop_is_told_from_the_last_step(tmp_path, stopping, step, expected):
    state = {"global_step": step, "max_steps": 10}
    control = {"args": {"should_training_stop": stopping}, "attributes": {}}
    state["stateful_callbacks"] = {"TrainerControl": control}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    assert stopped_at(tmp_path) is expected
