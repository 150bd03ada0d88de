"""The estimate keeps to what autograd keeps, and its parts to what is trained."""

import json
import weakref
from types import SimpleNamespace

import pytest
import torch
from peft import get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from tuneloop.config.train import DpoConfig, SftConfig
from tuneloop.runtime.shapes import folder_shape, published_shape, shape_of
from tuneloop.train import attention, head
from tuneloop.train.adapter import keep_in_float32, peft_config
from tuneloop.train.fused import fuse_lora
from tuneloop.train.memory import (
    EAGER_ATTENTION_TOKENS,
    HEAD_CHUNK_LOGITS,
    Machine,
    estimate,
    n_trained,
    saved_by_layer,
)  # fmt: skip
from tuneloop.train.norms import fuse_norms
from tuneloop.train.order import batch_order
from tuneloop.train.packing import pack
from tuneloop.train.rows import TokenRows
from tuneloop.train.setup import Run
from tuneloop.train.step import Step, filled, largest_step, step_of

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


def tensors_in(value):
    if isinstance(value, list | tuple):
        return [tensor for inner in value for tensor in tensors_in(inner)]
    return [value] if torch.is_tensor(value) else []


def kept_by_autograd(model, wrapped, **inputs):
    """Bytes of distinct storages that a forward pass keeps until its backward, without weights."""
    weights = {p.untyped_storage().data_ptr() for p in wrapped.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = weakref.ref(tensor), storage.nbytes()
        return tensor

    model.enable_input_require_grads()  # the first layer keeps as much as the others
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        state = model.base_model(**inputs).last_hidden_state
    waiting, seen = [state.grad_fn], set()
    while waiting:  # what a function holds itself would be there for good
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        [keep(tensor) for tensor in tensors_in(list(getattr(node, "__dict__", {}).values()))]
        waiting += [following for following, _ in node.next_functions]
    return sum(n_bytes for alive, n_bytes in kept.values() if alive() is not None)


PADDED = [{}, {"target_modules": ["q_proj", "v_proj"]}, {"r": 64}, {"dropout": 0.1},
          {"use_dora": True}]  # fmt: skip


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma3_text"])
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("tokens", [96, 300])
@pytest.mark.parametrize("lora", PADDED)
def test_activations_are_what_autograd_keeps(kind, precision, tokens, lora):
    config = SftConfig(lora=lora, packing=False)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    attention = "eager" if tokens <= EAGER_ATTENTION_TOKENS else "sdpa"
    shape, model, wrapped = adapted(kind, config, dtype, attention)
    kept = kept_by_autograd(
        model, wrapped, input_ids=torch.ones(2, tokens, dtype=torch.long), use_cache=False
    )
    step = Step(2, tokens, tokens, 2 * tokens, packed=False, scores=2 * tokens**2, slots=2 * tokens)
    said = shape.layers * saved_by_layer(shape, config, step, Machine("cpu", precision))
    said += 4 * shape.hidden * step.tokens  # the last norm's input
    assert said == pytest.approx(kept, rel=0.04)


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma3_text"])
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("lengths", [[64, 64], [300, 40, 200], [700]])
@pytest.mark.parametrize("pairs", [False, True])
def test_packed_activations_are_what_autograd_keeps(kind, precision, lengths, pairs):
    attention.register()
    config = DpoConfig() if pairs else SftConfig()
    n = len(lengths)
    config = config.model_copy(
        update={"micro_batch_size": n, "global_batch_size": n, "max_steps": 1}
    )
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    shape, model, wrapped = adapted(kind, config, dtype, attention.NAME)
    ids = torch.ones(len(lengths) * (2 if pairs else 1), max(lengths), dtype=torch.long)
    labels, sizes = ids.clone(), torch.tensor(lengths * (2 if pairs else 1))
    labels[:, :20] = -100
    for row, size in enumerate(sizes):
        labels[row, size:] = -100
    batch = pack(ids, sizes, labels, pairs=pairs)
    kept = kept_by_autograd(model, wrapped, **head.model_inputs(batch))
    if pairs:
        sides = ("chosen_ids", "rejected_ids")
        rows = [{"prompt_ids": [1] * 20} | {side: [1] * (n - 20) for side in sides}
                for n in lengths]  # fmt: skip
    else:
        rows = [{"input_ids": [1] * n, "labels": [1] * n} for n in lengths]
    step = step_of(config, TokenRows(rows=rows), seed=1)
    assert step.tokens == batch["input_ids"].numel()
    said = shape.layers * saved_by_layer(shape, config, step, Machine("cpu", precision))
    said += 4 * shape.hidden * step.tokens  # the last norm's input
    assert said == pytest.approx(kept, rel=0.05)


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
    from tuneloop.train import packing, setup, step

    for name in ("TOKENS_ROUNDED_TO", "ATTENTION_ROUNDED_TO", "LIKE_LENGTH"):
        assert getattr(packing, name) == getattr(step, name)
    assert attention.QUERY_BLOCK == step.QUERY_BLOCK
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


@pytest.mark.parametrize("kind", ["llama", "gemma3_text"])
def test_checkpointing_lets_go_of_what_packed_attention_keeps(kind):
    attention.register()
    _, model, wrapped = adapted(kind, SftConfig(), torch.float32, attention.NAME)
    ids = torch.ones(2, 200, dtype=torch.long)
    inputs = head.model_inputs(pack(ids, torch.tensor([200, 200]), ids))
    kept = kept_by_autograd(model, wrapped, **inputs)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    assert kept_by_autograd(model, wrapped, **inputs) < kept / 6


@pytest.mark.parametrize(
    "changes",
    [{"adapter": "full"}, {"lora": {"modules_to_save": ["lm_head"]}}, {"neftune_alpha": 5.0}],
)
def test_rows_that_are_padded_are_sorted_and_not_filled(changes):
    """With one long row, every row that a forward pass is filled up with is as long as that."""
    config = SftConfig(micro_batch_size=8, global_batch_size=32, max_steps=6, **changes)
    rows = [{"input_ids": [1] * n, "labels": [1] * n} for n in [900] + [20] * 99]
    tokens = TokenRows(rows=rows)
    config = filled(config, tokens)
    assert config.micro_batch_size == 8
    assert step_of(config, tokens, seed=1).tokens == 8 * 900
    order = Run.order(SimpleNamespace(config=config, steps=6, seed=1), tokens)
    by_length, as_drawn = (
        batch_order(tokens.lengths, global_batch_size=32, steps=6, seed=1, by_length=sorts)
        for sorts in (True, False)
    )
    assert order == by_length != as_drawn
