"""The estimate keeps to what autograd keeps, and its parts to what is trained."""

import json

import pytest
import torch
from peft import get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from tuneloop.config.train import DpoConfig, SftConfig
from tuneloop.runtime.shapes import folder_shape, published_shape, shape_of
from tuneloop.train.adapter import keep_in_float32, peft_config
from tuneloop.train.fused import fuse_lora
from tuneloop.train.memory import (
    EAGER_ATTENTION_TOKENS,
    HEAD_CHUNK_LOGITS,
    Machine,
    Step,
    estimate,
    filled,
    largest_step,
    n_trained,
    saved_by_layer,
)  # fmt: skip
from tuneloop.train.norms import fuse_norms
from tuneloop.train.rows import TokenRows

SIDES = {
    "hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 128,
}  # fmt: skip
MACHINE = Machine("cpu", "bf16")


def adapted(kind, config, dtype, attention):
    shape = AutoConfig.for_model(kind, **SIDES)
    model = AutoModelForCausalLM.from_config(shape, dtype=dtype, attn_implementation=attention)
    model.requires_grad_(False)
    wrapped = get_peft_model(model, peft_config(config.lora))
    keep_in_float32(wrapped)
    fuse_lora(wrapped.train())
    fuse_norms(wrapped)
    return shape_of(shape.to_dict()), model, wrapped


def kept_by_autograd(model, wrapped, tokens):
    """Bytes of distinct storages that a forward pass saves, weights left out."""
    weights = {p.untyped_storage().data_ptr() for p in wrapped.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        state = model.base_model(input_ids=torch.ones(2, tokens, dtype=torch.long), use_cache=False)
    assert state.last_hidden_state.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma3_text"])
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("tokens", [96, 300])
@pytest.mark.parametrize("lora", [{}, {"target_modules": ["q_proj", "v_proj"]}, {"r": 64}])
def test_activations_are_what_autograd_keeps(kind, precision, tokens, lora):
    config = SftConfig(lora=lora)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    attention = "eager" if tokens <= EAGER_ATTENTION_TOKENS else "sdpa"
    shape, model, wrapped = adapted(kind, config, dtype, attention)
    kept = kept_by_autograd(model, wrapped, tokens)
    step = Step(rows=2, row_tokens=tokens, loss_tokens=tokens, tokens=2 * tokens)
    said = shape.layers * saved_by_layer(shape, config, step, Machine("cpu", precision))
    assert said == pytest.approx(kept, rel=0.04)


@pytest.mark.parametrize(
    "lora", [{}, {"target_modules": ".*mlp.*_proj"}, {"use_dora": True, "r": 3}]
)
def test_trained_parameters_are_counted_as_peft_makes_them(lora):
    config = SftConfig(lora=lora)
    shape, _, wrapped = adapted("llama", config, torch.float32, "sdpa")
    real = sum(p.numel() for p in wrapped.parameters() if p.requires_grad)
    assert n_trained(shape, config) == real


def test_parameters_of_a_folder_are_those_of_its_files(tmp_path):
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("qwen3", **SIDES))
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(model.config.to_dict()), encoding="utf-8")
    real = sum(p.numel() for p in model.parameters())
    assert folder_shape(tmp_path).n_parameters == pytest.approx(real, rel=0.01)


def test_published_shapes_have_the_published_sizes():
    said = {
        "Qwen/Qwen3-32B": 32.8, "meta-llama/Llama-3.3-70B-Instruct": 70.6,
        "google/gemma-3-27b-it": 27.4, "mistralai/Mistral-Small-24B-Instruct-2501": 23.6,
        "openai/gpt-oss-20b": 20.9, "openai/gpt-oss-120b": 116.8,
    }  # fmt: skip
    for name, billions in said.items():
        assert published_shape(name).n_parameters / 1e9 == pytest.approx(billions, abs=0.06)
    assert published_shape("nobody/nothing") is None


def test_the_constants_are_those_of_the_code_they_describe():
    from tuneloop.train import head, setup

    assert head._CHUNK_LOGITS == HEAD_CHUNK_LOGITS
    assert setup.EAGER_ATTENTION_TOKENS == EAGER_ATTENTION_TOKENS


def test_what_saves_memory_lowers_the_estimate():
    shape = published_shape("Qwen/Qwen3-8B")

    def total(machine=MACHINE, **changes):
        config = DpoConfig(max_length=2048, micro_batch_size=4, global_batch_size=16, **changes)
        return estimate(shape, config, largest_step(config, pairs=True), machine).total_gib

    gpu = Machine("cuda")
    assert total(gradient_checkpointing=True) < 0.6 * total()
    assert total(gpu, quantisation="nf4", gradient_checkpointing=True) < total(
        gpu, gradient_checkpointing=True
    )
    assert total(gpu, adapter="full", optimiser="paged_adamw_8bit") < total(gpu, adapter="full")


def test_short_rows_fill_the_micro_batch():
    rows = TokenRows(rows=[{"input_ids": [1] * n} for n in (90, 60, 60, 50, 40, 30, 20, 10)] * 4)

    def micro(*, processes=1, **config):
        config = SftConfig(micro_batch_size=2, **config)
        return filled(config, rows, processes=processes).micro_batch_size

    assert micro(global_batch_size=16) == 16  # the longest: 1,040 tokens
    assert micro(global_batch_size=16, processes=4) == 4
    assert micro(global_batch_size=16, fill_tokens=700) == 8
    assert micro(global_batch_size=12) == 4
    assert micro(global_batch_size=16, fill_tokens=300) == 2
    assert micro(global_batch_size=16, fill_tokens=None) == 2
    assert micro(global_batch_size=16, packing=False) == 2
