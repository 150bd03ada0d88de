import json

import pytest

from tuneloop.errors import TrainingError
from tuneloop.train.checkpoints import (
    Checkpoint,
    check_same_training,
    mark_complete,
    newest_whole,
    read_whole,
    stopped_at,
)


def checkpoint(folder, step, *, complete=True):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "adapter.safetensors").write_bytes(b"weights" * step)
    (path / "trainer_state.json").write_text("{}")
    if complete:
        mark_complete(path)
    return path


def newest(folder, **options):
    found = newest_whole(folder, **options)
    return found and found.folder.name


def test_newest_is_by_number_and_not_by_name(tmp_path):
    for step in (5, 100, 20):
        checkpoint(tmp_path, step)
    assert newest(tmp_path) == "checkpoint-100"


def test_half_written_checkpoints_are_skipped_and_deleted(tmp_path):
    checkpoint(tmp_path, 5)
    half = checkpoint(tmp_path, 10, complete=False)
    assert newest(tmp_path, clean=False) == "checkpoint-5"
    assert half.is_dir()
    said = []
    assert newest(tmp_path, say=said.append) == "checkpoint-5"
    assert said == ["checkpoint-10 cannot be used: it was not finished; going on from checkpoint-5"]
    assert not half.exists()


DAMAGE = {
    "gone": ("adapter.safetensors is missing", lambda f: f.unlink()),
    "short": ("adapter.safetensors has 1 of 35 bytes", lambda f: f.write_bytes(b"w")),
    "other bytes": (
        "adapter.safetensors is not what was written",
        lambda f: f.write_bytes(b"WEIGHTS" * 5),
    ),
    "mark": (
        "complete.json cannot be read",
        lambda f: f.with_name("complete.json").write_text('{"adapter'),
    ),
    "mark of another kind": (
        "complete.json cannot be read",
        lambda f: f.with_name("complete.json").write_text("[]"),
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_seen_and_named(tmp_path, damage):
    checkpoint(tmp_path, 3)
    path = checkpoint(tmp_path, 5)
    assert isinstance(read_whole(path), Checkpoint)
    expected, harm = DAMAGE[damage]
    harm(path / "adapter.safetensors")
    assert read_whole(path) == expected
    said = []
    assert newest(tmp_path, say=said.append) == "checkpoint-3"
    assert expected in said[0]
    assert "going on from checkpoint-3" in said[0]


def test_a_checkpoint_whose_best_is_broken_is_not_used(tmp_path):
    # The run may end with the best weights, which then would be the last ones, in silence.
    best, last = checkpoint(tmp_path, 2), checkpoint(tmp_path, 4, complete=False)
    (last / "trainer_state.json").write_text(json.dumps({"best_global_step": 2}))
    mark_complete(last)
    assert newest(tmp_path) == "checkpoint-4"
    (best / "adapter.safetensors").write_bytes(b"other")
    said = []
    assert newest(tmp_path, say=said.append) is None
    assert "checkpoint-2, cannot be used" in said[0]
    assert all("starting from the beginning" in line for line in said)


def test_another_training_is_told_from_a_broken_one(tmp_path):
    path = checkpoint(tmp_path, 5)
    now = {"data": "d1", "base": "b", "start": "", "seed": 1, "config": {"lr": 0.1, "beta": 1}}
    mark_complete(path, {"fingerprint": now})
    found = read_whole(path)
    check_same_training(found, now)
    other = now | {"data": "d2", "config": {"lr": 0.2, "beta": 1}}
    with pytest.raises(TrainingError) as caught:
        check_same_training(found, other)
    assert "the training or validation rows" in str(caught.value)
    assert "config lr (0.1 then, 0.2 now)" in str(caught.value)
    assert "base" not in caught.value.what


def test_no_folder_no_checkpoint(tmp_path):
    assert newest_whole(tmp_path / "nothing") is None


@pytest.mark.parametrize(("stopping", "step", "expected"),
                         [(True, 5, True), (True, 10, False), (False, 5, False)])  # fmt: skip
def test_early_stop_is_told_from_the_last_step(tmp_path, stopping, step, expected):
    state = {"global_step": step, "max_steps": 10}
    control = {"args": {"should_training_stop": stopping}, "attributes": {}}
    state["stateful_callbacks"] = {"TrainerControl": control}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    assert stopped_at(tmp_path) is expected
