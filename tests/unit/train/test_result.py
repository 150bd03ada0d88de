"""What training leaves, where it does not fit the type its base is stored in."""

import shutil
from dataclasses import replace

import pytest
import torch
import training
from safetensors.torch import load_file

from tuneloop.runtime.progress import SilentProgress
from tuneloop.runtime.weights import model_digest


class Said(SilentProgress):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@pytest.fixture
def base_bf16(base, tmp_path):
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "bf16"
    shutil.copytree(base.folder, folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    return replace(base, folder=folder, digest=model_digest(folder))


def types(path):
    return {tensor.dtype for tensor in load_file(path).values()}


def test_what_its_own_type_would_round_away_is_left_in_float32(base_bf16, tmp_path):
    data = training.write_examples(tmp_path / "data")
    sft = training.train(
        "sft", data, tmp_path / "sft", base_bf16, adapter="full", lora={}, max_steps=2
    )
    whole = sft.files["model/model.safetensors"]
    assert types(whole) == {torch.bfloat16}
    start, said = training.Folder(whole.parent.parent), Said()
    dpo = training.train(
        "dpo", data, tmp_path / "dpo", base_bf16, start=start, progress=said, lr=1e-7, max_steps=2
    )
    left = dpo.files["model/model.safetensors"]
    assert types(left) == {torch.float32}
    assert any("merged in float32 instead" in line for line in said.lines)
    before, after = load_file(whole), load_file(left)
    assert any(not torch.equal(before[name].float(), after[name]) for name in after)
    larger = training.train(
        "dpo", data, tmp_path / "large", base_bf16, start=start, lr=3e-2, max_steps=4
    )
    assert types(larger.files["model/model.safetensors"]) == {torch.bfloat16}
