"""Merging on a tiny random Llama: what comes out is base plus adapter, or nothing comes out."""

import json

import pytest
import torch

from tuneloop.config.schema import ModelConfig
from tuneloop.errors import TrainingError
from tuneloop.runtime import merge
from tuneloop.runtime.weights import merged_folder, resolve_model


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return resolve_model(ModelConfig(name="tiny-random"), cache=tmp_path_factory.mktemp("models"))


def make_adapter(base, folder, *, size=0.05, **config):
    """Save an adapter whose B matrices are not zero."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
    settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"} | config
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=size)
    model.save_pretrained(folder)
    return folder


def logits(folder, adapter=None):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if adapter:
        model = PeftModel.from_pretrained(model, str(adapter))
    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(5, 45)[None]).logits


@pytest.mark.parametrize(
    "config",
    [{}, {"use_rslora": True}, {"use_dora": True}, {"modules_to_save": ["norm"]}],
    ids=["lora", "rslora", "dora", "modules to save"],
)
def test_merged_is_base_plus_adapter(base, tmp_path, config):
    adapter = make_adapter(base, tmp_path / "a", **config)
    check = merge.merge_adapter(base, adapter, tmp_path / "m")
    assert torch.allclose(logits(tmp_path / "m"), logits(base.folder, adapter), atol=1e-4)
    assert check.distance <= check.tolerance == merge.TOLERANCE_FP32
    assert check.kept == pytest.approx(1, abs=1e-3)
    assert check.effect > 0.01
    assert json.loads((tmp_path / "m/merge.json").read_text())["base"] == base.digest


def test_16_bit_is_near_and_says_how_near(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "a")
    check = merge.merge_adapter(base, adapter, tmp_path / "m", dtype="bf16")
    assert check.dtype == "bfloat16"
    assert 0 < check.distance <= check.tolerance == merge.TOLERANCE
    assert 0.9 < check.kept < 1.1


def test_an_adapter_that_rounding_would_swallow_is_not_merged_in_silence(base, tmp_path):
    # By distance alone this would pass: the adapter moves the distributions by next to nothing.
    adapter = make_adapter(base, tmp_path / "a", size=1e-5)
    with pytest.raises(TrainingError, match="rounding to bfloat16 leaves"):
        merge.merge_adapter(base, adapter, tmp_path / "m", dtype="bf16")
    assert merge.merge_adapter(base, adapter, tmp_path / "n", dtype="fp32").kept == pytest.approx(
        1, abs=0.05
    )


def test_an_untrained_adapter_changes_nothing(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "a", size=0.0)
    check = merge.merge_adapter(base, adapter, tmp_path / "m")
    assert check.kept is None
    assert check.effect == 0


def test_an_adapter_with_other_layers_is_refused(base, tmp_path):
    from safetensors.torch import load_file, save_file

    adapter = make_adapter(base, tmp_path / "a")
    path = adapter / "adapter_model.safetensors"
    weights = load_file(path)
    some = sorted(weights)[0]
    weights[some.replace("layers.0", "layers.7")] = weights[some].clone()
    save_file(weights, path)
    with pytest.raises(TrainingError, match=r"no place for 1 of .*layers\.7"):
        merge.merge_adapter(base, adapter, tmp_path / "m")


def test_a_merge_that_went_wrong_leaves_nothing(monkeypatch, base, tmp_path):
    from peft import PeftModel

    def half(self):
        merged = self.base_model.merge_and_unload()
        merged.model.layers[0].mlp.down_proj.weight.data.mul_(-1)
        return merged

    adapter = make_adapter(base, tmp_path / "a")
    before = sorted(p.name for p in (tmp_path / "a").iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(PeftModel, "merge_and_unload", half, raising=False)
        with pytest.raises(TrainingError, match="does not fit base plus adapter"):
            merged_folder(base, adapter, "d" * 64, tmp_path / "cache")
    assert not list((tmp_path / "cache/merged").iterdir())
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == before
    assert merged_folder(base, adapter, "d" * 64, tmp_path / "cache").is_dir()
