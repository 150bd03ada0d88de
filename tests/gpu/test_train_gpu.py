"""Training on CUDA: the same losses as on the CPU, bf16, QLoRA, and DPO on its adapter."""

import json

import pytest
import torch
import training
from safetensors.torch import load_file

ADAPTER = "adapter/adapter_model.safetensors"


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return training.write_examples(tmp_path_factory.mktemp("examples"))


def losses(output, part="validation"):
    curves = json.loads(output.files["history.json"].read_text())
    return [point["loss"] for point in curves[part]]


def test_fp32_on_cuda_gives_the_curve_of_the_cpu(monkeypatch, base, examples, tmp_path):
    from accelerate.state import AcceleratorState, PartialState

    on_cuda = training.train("sft", examples, tmp_path / "cuda", base, max_steps=6)
    assert on_cuda.details["device"] == "cuda"
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    on_cpu = training.train("sft", examples, tmp_path / "cpu", base, max_steps=6)
    AcceleratorState._reset_state(reset_partial_state=True)
    assert PartialState._shared_state == {}
    assert on_cpu.details["device"] == "cpu"
    assert losses(on_cuda) == pytest.approx(losses(on_cpu), abs=2e-3)


@pytest.mark.parametrize("quantisation", ["none", "nf4"])
def test_bf16_learns_with_fp32_adapters(base, examples, tmp_path, quantisation):
    config = {"max_steps": 9, "precision": "bf16", "quantisation": quantisation}
    output = training.train("sft", examples, tmp_path / "sft", base, **config)
    curve = losses(output)
    assert curve[-1] < curve[0] - 0.1
    assert all(t.dtype == torch.float32 for t in load_file(output.files[ADAPTER]).values())
    start = training.Folder(output.files["history.json"].parent)
    second = training.train("dpo", examples, tmp_path / "dpo", base, start=start, **config)
    curve = losses(second)
    assert losses(second, "train")[0] == pytest.approx(0.6931, abs=0.05)
    assert curve[-1] < 0.6931


def test_a_resumed_run_ends_near_the_undisturbed_one(monkeypatch, base, examples, tmp_path):
    class Crash(Exception):
        """Ends a training from within."""

    def how():
        raise Crash

    def run(folder):
        return training.train("sft", examples, tmp_path / folder, base, max_steps=8)

    whole = run("whole")
    with monkeypatch.context() as patch:
        patch.setattr(*training.crash_at("training", 7, how=how))
        with pytest.raises(Crash):
            run("crashed")
    assert losses(run("crashed")) == pytest.approx(losses(whole), abs=1e-4)


def test_auto_precision_is_bf16_where_the_gpu_has_it():
    from tuneloop.runtime.hardware import pick_precision

    expected = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    assert pick_precision("auto") == expected
