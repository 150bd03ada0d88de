"""Two processes that each hold half of the weights (FSDP2) train as one that holds them all."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import training
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
DRIVER = Path(training.__file__)
ADAPTER = "adapter/adapter_model.safetensors"
# Six validation rows in batches of two: one process has a batch fewer than the other.
METHODS = {
    "sft": {"max_steps": 6},
    "dpo": {"max_steps": 6, "lr": 3e-4},
    "kto": {"max_steps": 4, "lr": 3e-4, "global_batch_size": 8},
}


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return training.write_examples(tmp_path_factory.mktemp("examples"), n_validation=6)


@pytest.fixture(scope="module")
def start(examples, base, tmp_path_factory):
    """An SFT adapter for DPO to go on from."""
    output = training.train("sft", examples, tmp_path_factory.mktemp("start"), base, max_steps=3)
    return training.Folder(output.files[ADAPTER].parents[1])


def launch(config, kind, examples, work, cache, settings, *crash):
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file"]
    command += [str(ROOT / f"configs/accelerate/{config}.yaml"), "--main_process_port", "0"]
    command += [str(DRIVER), kind, str(examples.folder), str(work), str(cache)]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, json.dumps(settings), *crash], env=env, capture_output=True, text=True,
        check=False, timeout=280,
    )  # fmt: skip


def curve(folder):
    history = json.loads((folder / "history.json").read_text("utf-8"))
    return [(p["step"], p["loss"]) for part in ("train", "validation") for p in history[part]]


def assert_same(one, two, *, name):
    assert len(curve(one)) > 3
    assert [step for step, _ in curve(two)] == [step for step, _ in curve(one)]
    losses = [loss for _, loss in curve(two)]
    assert losses == pytest.approx([loss for _, loss in curve(one)], abs=2e-6)
    first, second = load_file(one / name), load_file(two / name)
    assert first.keys() == second.keys()
    for key, weight in first.items():
        assert torch.allclose(weight, second[key], atol=1e-6), key


@pytest.mark.slow
@pytest.mark.parametrize("config", ["cpu_fsdp2"])  # DDP: test_train.py, test_smoke.py
@pytest.mark.parametrize("kind", METHODS)
def test_the_curve_and_the_adapter_are_those_of_one_process(
    kind, config, examples, base, cache, start, tmp_path, monkeypatch
):
    # Sharded models keep their own norms; fused ones round otherwise.
    monkeypatch.setattr("tuneloop.train.trainers.fuse_norms", lambda model: 0)
    settings = METHODS[kind]
    begun = start if kind == "dpo" else None
    one = training.train(kind, examples, tmp_path / "one", base, start=begun, **settings)
    also = {"start": str(begun.folder)} if begun else {}
    done = launch(config, kind, examples, tmp_path / "two", cache, settings | also)
    assert done.returncode == 0, done.stderr[-4000:]
    assert_same(one.files["history.json"].parent, tmp_path / "two", name=ADAPTER)


@pytest.mark.slow
def test_sharded_full_fine_tuning_leaves_the_whole_model(examples, base, cache, tmp_path):
    settings = {"max_steps": 4, "adapter": "full", "lr": 1e-3, "lora": {}}
    training.train("sft", examples, tmp_path / "one", base, **settings)
    done = launch("cpu_fsdp2", "sft", examples, tmp_path / "two", cache, settings)
    assert done.returncode == 0, done.stderr[-4000:]
    assert_same(tmp_path / "one", tmp_path / "two", name="model/model.safetensors")


@pytest.mark.slow
def test_a_killed_sharded_run_goes_on_as_if_nothing_had_been(examples, base, cache, tmp_path):
    settings = {"max_steps": 6}
    training.train("sft", examples, tmp_path / "one", base, **settings)
    work = tmp_path / "two"
    died = launch("cpu_fsdp2", "sft", examples, work, cache, settings, "training", "4")
    assert died.returncode != 0
    (checkpoint,) = (work / "checkpoints").glob("checkpoint-*")
    assert (checkpoint / "pytorch_model_fsdp_0").is_dir(), "each process saved its part"
    done = launch("cpu_fsdp2", "sft", examples, work, cache, settings)
    assert done.returncode == 0, done.stderr[-4000:]
    assert_same(tmp_path / "one", work, name=ADAPTER)


@pytest.mark.slow
def test_deepspeed_on_a_cpu_is_refused_not_left_out(examples, cache, tmp_path, monkeypatch):
    from tuneloop.errors import TrainingError
    from tuneloop.train import distributed

    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    with pytest.raises(TrainingError, match="DeepSpeed"):
        distributed.check_launch()
