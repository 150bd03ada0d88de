"""The training stages on a tiny random Llama: what they leave, resuming, several processes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import training
from safetensors.torch import load_file

from tuneloop.artefacts.manifest import Counts
from tuneloop.errors import TrainingError

DRIVER = Path(training.__file__)
ADAPTER = "adapter/adapter_model.safetensors"
DPO = {"max_steps": 8, "logging_steps": 1}

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return training.write_examples(tmp_path_factory.mktemp("examples"))


@pytest.fixture(scope="module")
def sft(examples, base, tmp_path_factory):
    """An undisturbed SFT run of nine steps."""
    return training.train("sft", examples, tmp_path_factory.mktemp("sft"), base, max_steps=9)


@pytest.fixture(scope="module")
def sft_folder(sft):
    return training.Folder(sft.files[ADAPTER].parent.parent)


@pytest.fixture(scope="module")
def dpo(examples, base, sft_folder, tmp_path_factory):
    """An undisturbed DPO run of eight steps on that adapter."""
    work = tmp_path_factory.mktemp("dpo")
    return training.train("dpo", examples, work, base, start=sft_folder, **DPO)


def history(output):
    return json.loads(output.files["history.json"].read_text())


def logits(base, adapter):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter)).eval()
    with torch.no_grad():
        return model(input_ids=torch.arange(5, 45)[None]).logits


def test_sft_learns_and_says_what_it_did(sft):
    curves = history(sft)
    losses = [point["loss"] for point in curves["validation"]]
    assert losses[-1] < losses[0] - 0.1
    assert [point["step"] for point in curves["validation"]] == [0, 3, 6, 9]
    assert curves["steps"] == 9
    assert curves["n_rows"] == 36
    assert not curves["stopped_early"]
    assert curves["n_tokens"] > 36 * 5
    assert {"step", "loss", "lr", "grad_norm"} == set(curves["train"][0])
    assert sft.counts == Counts(n_in=24, dropped={}, n_out=24)
    assert sft.details["servable_as_adapter"] is True
    assert sft.details["tokens_per_s"] > 0


def test_adapter_files_hold_no_place_and_only_the_adapter(sft, dpo, base):
    for output in (sft, dpo):
        names = {name for name in output.files if name.startswith("adapter/")}
        assert names == {ADAPTER, "adapter/adapter_config.json"}
        config = json.loads(output.files["adapter/adapter_config.json"].read_text())
        assert config["base_model_name_or_path"] == f"sha256:{base.digest}"
        assert config["target_modules"] == sorted(config["target_modules"])
        assert all(t.dtype == torch.float32 for t in load_file(output.files[ADAPTER]).values())


def test_same_seed_same_bytes(sft, examples, base, tmp_path):
    again = training.train("sft", examples, tmp_path, base, max_steps=9)
    assert training.contents(again) == training.contents(sft)


def test_dpo_starts_from_the_sft_adapter_with_it_as_reference(dpo, sft):
    curves = history(dpo)
    # Policy and reference are the same before the first step: the loss is log 2.
    assert curves["train"][0]["loss"] == pytest.approx(0.693147, abs=1e-5)
    assert [point["step"] for point in curves["validation"]] == [3, 6, 8]
    assert curves["validation"][-1]["loss"] < 0.65
    assert curves["validation"][-1]["accuracy"] == 1.0
    before, after = load_file(sft.files[ADAPTER]), load_file(dpo.files[ADAPTER])
    moved = {k: (after[k] - before[k]).abs().max().item() for k in before}
    assert 0 < max(moved.values()) < 0.1


def test_dpo_on_the_base_alone(examples, base, tmp_path):
    output = training.train("dpo", examples, tmp_path, base, **DPO)
    assert history(output)["train"][0]["loss"] == pytest.approx(0.693147, abs=1e-5)


def run_driver(kind, examples, work, cache, config, *crash):
    command = [sys.executable, str(DRIVER), kind, str(examples.folder), str(work), str(cache)]
    command += [json.dumps(config), *crash]
    src = Path(__file__).parents[2] / "src"
    env = os.environ | {"PYTHONPATH": str(src), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_sft_killed_between_checkpoints_ends_the_same(examples, base, cache, sft, tmp_path):
    killed = run_driver("sft", examples, tmp_path, cache, {"max_steps": 9}, "training", "8")
    assert killed.returncode == -9, killed.stderr
    assert (tmp_path / "checkpoints/checkpoint-6").is_dir()
    resumed = training.train("sft", examples, tmp_path, base, max_steps=9)
    assert resumed.details["resumed_at_step"] == 6
    assert training.contents(resumed) == training.contents(sft)


@pytest.mark.slow
def test_dpo_killed_while_saving_ends_the_same(examples, base, cache, sft_folder, dpo, tmp_path):
    config = DPO | {"start": str(sft_folder.folder)}
    killed = run_driver("dpo", examples, tmp_path, cache, config, "saving", "6")
    assert killed.returncode == -9, killed.stderr
    assert (tmp_path / "checkpoints/checkpoint-6").is_dir()
    resumed = training.train("dpo", examples, tmp_path, base, start=sft_folder, **DPO)
    assert resumed.details["resumed_at_step"] == 3
    assert training.contents(resumed) == training.contents(dpo)


class Crash(Exception):
    """Ends a training from within, as a kill does."""


def crash_then_resume(monkeypatch, where, step, run):
    def how():
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(*training.crash_at(where, step, how=how))
        with pytest.raises(Crash):
            run()
    return run()


@pytest.mark.parametrize("step", [5, 7])
def test_early_stopping_resumes_with_its_patience(monkeypatch, examples, base, tmp_path, step):
    # At this learning rate the loss rises again after a few steps.
    config = {"lr": 0.5, "max_steps": 30, "early_stopping_patience": 2, "save_steps": 2}
    config |= {"eval_steps": 2, "scheduler": "constant_with_warmup"}
    whole = training.train("sft", examples, tmp_path / "whole", base, **config)
    curves = history(whole)
    assert curves["stopped_early"]
    assert curves["steps"] < 30
    losses = {p["step"]: p["loss"] for p in curves["validation"] if p["step"] > 0}
    assert curves["best_step"] == min(losses, key=losses.get)
    best = tmp_path / f"whole/checkpoints/checkpoint-{curves['best_step']}"
    kept, saved = load_file(whole.files[ADAPTER]), load_file(best / "adapter_model.safetensors")
    assert all(torch.equal(kept[name], saved[name]) for name in saved)

    def run():
        return training.train("sft", examples, tmp_path / "crashed", base, **config)

    assert curves["steps"] > step - 1, "the crash must come before the stop"
    resumed = crash_then_resume(monkeypatch, "training", step, run)
    assert training.contents(resumed) == training.contents(whole)
    # A second run in the same folder finds the training over, and adds no step.
    assert training.contents(run()) == training.contents(whole)


@pytest.mark.parametrize(
    "config",
    [
        {"lora": {"r": 4, "alpha": 8, "dropout": 0.3}},
        {"quantisation": "nf4"},
        {"precision": "bf16", "gradient_checkpointing": True},
    ],
    ids=["dropout", "nf4", "bf16 with checkpointing"],
)
def test_every_kind_resumes_to_the_bit(monkeypatch, examples, base, tmp_path, config):
    def run(folder):
        return training.train("sft", examples, tmp_path / folder, base, max_steps=6, **config)

    whole = run("whole")
    resumed = crash_then_resume(monkeypatch, "training", 5, lambda: run("crashed"))
    assert resumed.details["resumed_at_step"] == 3
    assert training.contents(resumed) == training.contents(whole)


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_converted_adapter_fits_the_original_base(monkeypatch, examples, base, tmp_path, init):
    config = {"max_steps": 4, "lora": {"r": 4, "alpha": 8, "init": init}, "merge": True}
    whole = training.train("sft", examples, tmp_path / "whole", base, **config)
    adapter = whole.files[ADAPTER].parent
    saved = json.loads((adapter / "adapter_config.json").read_text())
    assert saved["init_lora_weights"] is True
    assert saved["r"] == 8
    # Untrained, PiSSA equals the base; after four steps the two must still be near.
    assert (logits(base, adapter) - logits(base, None)).abs().mean() < 0.5
    start = training.Folder(adapter.parent)
    second = training.train("dpo", examples, tmp_path / "dpo", base, start=start, **DPO)
    assert history(second)["train"][0]["loss"] == pytest.approx(0.693147, abs=1e-5)
    resumed = crash_then_resume(
        monkeypatch, "training", 4,
        lambda: training.train("sft", examples, tmp_path / "crashed", base, **config),
    )  # fmt: skip
    assert training.contents(resumed) == training.contents(whole)


def test_qlora_trains_on_the_cpu_with_fp32_adapters(examples, base, tmp_path):
    output = training.train("sft", examples, tmp_path, base, max_steps=6, quantisation="nf4")
    losses = [point["loss"] for point in history(output)["validation"]]
    assert losses[-1] < losses[0] - 0.05
    assert all(t.dtype == torch.float32 for t in load_file(output.files[ADAPTER]).values())


def test_dora_is_merged_because_it_cannot_be_served(examples, base, tmp_path):
    from transformers import AutoModelForCausalLM

    config = {"max_steps": 3, "lora": {"r": 4, "alpha": 8, "use_dora": True}}
    output = training.train("sft", examples, tmp_path, base, **config)
    assert output.details["servable_as_adapter"] is False
    merged = output.files["merged/model.safetensors"].parent
    model = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32)
    with torch.no_grad():
        found = model(input_ids=torch.arange(5, 45)[None]).logits
    assert torch.allclose(found, logits(base, output.files[ADAPTER].parent), atol=1e-3)


def test_without_rows_it_says_what_to_do(base, tmp_path):
    nothing = training.write_examples(tmp_path / "none", n_train=0)
    for kind in ("sft", "dpo"):
        with pytest.raises(TrainingError, match="empty"):
            training.train(kind, nothing, tmp_path / kind, base)
    rows = training.write_examples(tmp_path / "some")
    with pytest.raises(TrainingError) as caught:
        training.train("sft", rows, tmp_path / "long", base, max_length=8)
    assert "24 too_long" in caught.value.hint
    assert "max_length" in caught.value.hint


def test_early_stopping_needs_validation_rows(base, tmp_path):
    rows = training.write_examples(tmp_path / "rows", n_validation=0)
    with pytest.raises(TrainingError, match="validation"):
        training.train("sft", rows, tmp_path / "a", base, early_stopping_patience=1)
    output = training.train("sft", rows, tmp_path / "b", base, max_steps=2)
    assert history(output)["validation"] == []


def test_wandb_offline_stays_in_the_work_folder(examples, base, tmp_path):
    from tuneloop.config.train import TrackingConfig

    tracking = TrackingConfig(report_to=["wandb"])
    output = training.train("sft", examples, tmp_path, base, max_steps=2, tracking=tracking)
    assert list((tmp_path / "wandb").glob("offline-run-*"))
    assert not any("wandb" in name for name in output.files)


def launch(folder, arguments, examples, work, cache, config):
    command = [str(Path(sys.executable).parent / "accelerate"), "launch", *arguments, str(DRIVER)]
    command += ["sft", str(examples.folder), str(work), str(cache), json.dumps(config)]
    src = Path(__file__).parents[2] / "src"
    env = os.environ | {"PYTHONPATH": str(src), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.mark.slow
def test_two_processes_give_the_curve_of_one(examples, cache, sft, tmp_path):
    config = tmp_path / "two.yaml"
    config.write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\nuse_cpu: true\n"
        "num_machines: 1\nnum_processes: 2\nmachine_rank: 0\nmixed_precision: 'no'\n"
        f"main_process_ip: 127.0.0.1\nmain_process_port: {free_port()}\n"
    )
    arguments = ["--config_file", str(config)]
    result = launch(tmp_path, arguments, examples, tmp_path / "w", cache, {"max_steps": 9})
    assert result.returncode == 0, result.stderr[-3000:]
    two = json.loads((tmp_path / "w/history.json").read_text())
    one = history(sft)
    for part in ("train", "validation"):
        assert [p["step"] for p in two[part]] == [p["step"] for p in one[part]]
        for left, right in zip(two[part], one[part], strict=True):
            assert left["loss"] == pytest.approx(right["loss"], abs=2e-6)
    assert two["n_tokens"] == one["n_tokens"]


@pytest.mark.slow
def test_a_launch_that_runs_one_process_in_silence_is_an_error(examples, cache, tmp_path):
    arguments = ["--cpu", "--num_processes", "2"]
    result = launch(tmp_path, arguments, examples, tmp_path / "w", cache, {"max_steps": 2})
    assert result.returncode != 0
    assert "asked for 2 processes and started 1" in result.stderr
