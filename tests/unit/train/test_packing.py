"""Rows laid end to end give what padded rows give, for every kind of model, or are not packed."""

import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model

from tuneloop.train import attention
from tuneloop.train.head import add_answer_head, mixes_rows, supports_answer_head
from tuneloop.train.packing import pack, pad

IGNORED = -100
SMALL = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "max_position_embeddings": 512,
}  # fmt: skip
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LINEAR = {
    "layer_types": ["linear_attention", "full_attention"], "linear_num_value_heads": 4,
    "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
}  # fmt: skip
ARCHITECTURES = {
    "Llama": ("LlamaConfig", {}),
    "Qwen3": ("Qwen3Config", {}),
    "Gemma3": (
        "Gemma3TextConfig",
        {"sliding_window": 9, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "Mistral": ("MistralConfig", {"sliding_window": 7}),
    "Qwen3Moe": ("Qwen3MoeConfig", EXPERTS),
    "Mixtral": ("MixtralConfig", {"num_local_experts": 4, "num_experts_per_tok": 2}),
}
MIXING = {
    "Qwen3Next": ("Qwen3NextConfig", EXPERTS | LINEAR | {"shared_expert_intermediate_size": 16}),
    "Mamba2": (
        "Mamba2Config",
        {"num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 1, "chunk_size": 16},
    ),
}

pytestmark = pytest.mark.usefixtures("one_thread")


def build(config_class, extra, *, attn):
    attention.register()
    torch.manual_seed(0)
    config = getattr(transformers, config_class)(**(SMALL | extra))
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attn)
    return model.requires_grad_(False).eval()


def adapted(model):
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "o_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(model, lora)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


def rows(*, pairs):
    """Rows of 9 to 150 tokens, padded; of a pair, the second half answers the same prompts."""
    torch.manual_seed(2)
    lengths = torch.tensor([150, 30, 41, 138, 44, 9])
    tokens = torch.randint(1, 97, (6, 150))
    labels = torch.full((6, 150), IGNORED)
    for row, size in enumerate(lengths.tolist()):
        start = size // 2
        if pairs:
            start = min(size, int(lengths[(row + 3) % 6])) // 2
            tokens[row, :start] = tokens[row % 3, :start]
        labels[row, start:size] = tokens[row, start:size]
        tokens[row, size:] = 0
    return tokens, lengths, labels


def loss_and_gradients(model, log_probs):
    """A loss that weighs every token differently, and the adapter's gradients."""
    model.zero_grad()
    loss = (log_probs * torch.linspace(0.5, 1.5, len(log_probs))).sum()
    loss.backward()
    return loss.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


def plain(model, tokens, lengths, labels):
    """What transformers computes on padded rows."""
    mask = (torch.arange(tokens.shape[1]) < lengths[:, None]).long()
    logits = model(input_ids=tokens, attention_mask=mask).logits[:, :-1]
    wanted = labels[:, 1:] != IGNORED
    return logits[wanted].log_softmax(-1).gather(1, labels[:, 1:][wanted][:, None])[:, 0]


@pytest.mark.parametrize("pairs", [False, True], ids=["rows", "pairs"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_packed_equals_padded_in_loss_and_gradients(monkeypatch, name, pairs):
    monkeypatch.setattr(attention, "QUERY_BLOCK", 64)  # several blocks
    tokens, lengths, labels = rows(pairs=pairs)
    padded = adapted(build(*ARCHITECTURES[name], attn="eager"))
    loss, expected = loss_and_gradients(padded, plain(padded, tokens, lengths, labels))
    base = build(*ARCHITECTURES[name], attn=attention.NAME)
    assert supports_answer_head(base)
    assert mixes_rows(base) is None
    add_answer_head(base)
    packed = adapted(base)
    for batch in (pack(tokens, lengths, labels, pairs=pairs), pad(tokens, labels)):
        found_loss, found = loss_and_gradients(packed, packed(batch=batch))
        assert found_loss == pytest.approx(loss.item(), rel=1e-5)
        assert len(found) == len(expected) == 12
        for ours, theirs in zip(found, expected, strict=True):
            assert torch.allclose(ours, theirs, atol=2e-5 * theirs.abs().max().item() + 1e-6)


@pytest.mark.parametrize("name", MIXING)
def test_models_that_mix_rows_are_not_packed(name):
    model = build(*MIXING[name], attn=attention.NAME if name != "Mamba2" else None)
    assert mixes_rows(model)


def test_linear_attention_is_found_out_without_its_name(monkeypatch):
    model = build(*MIXING["Qwen3Next"], attn=attention.NAME)
    assert "linear_attention" in mixes_rows(model)
    monkeypatch.setattr("tuneloop.train.head._ATTENTION", {"full_attention", "linear_attention"})
    assert "change one another" in mixes_rows(model)


def test_rows_that_change_one_another_are_found_out(monkeypatch):
    model = build(*ARCHITECTURES["Llama"], attn=attention.NAME)
    monkeypatch.setattr(
        attention, "packed_attention",
        lambda module, query, key, value, mask, **kwargs: (
            torch.nn.functional.scaled_dot_product_attention(
                query, key, value, is_causal=True, enable_gqa=True
            ).transpose(1, 2), None,
        ),
    )  # fmt: skip
    assert mixes_rows(model) is None
    attention.register()  # every row sees those before it
    try:
        assert "change one another" in mixes_rows(model)
    finally:
        monkeypatch.undo()
        attention.register()
    assert "does not go through" in mixes_rows(build(*ARCHITECTURES["Llama"], attn="sdpa"))


def test_a_prompt_is_laid_once_for_both_answers():
    tokens, lengths, labels = rows(pairs=True)
    alone, shared = (pack(tokens, lengths, labels, pairs=pairs) for pairs in (False, True))
    n_shared = sum(int((labels[row] != IGNORED).nonzero()[0, 0]) for row in range(3))
    assert alone["input_ids"].numel() - shared["input_ids"].numel() >= n_shared - 64
    assert torch.equal(alone["targets"], shared["targets"])


def test_pairs_with_different_prompts_share_what_they_have():
    tokens, lengths, labels = rows(pairs=True)
    tokens[3, 5] += 1
    model = build(*ARCHITECTURES["Llama"], attn=attention.NAME)
    add_answer_head(model)
    with torch.no_grad():
        found = model(batch=pack(tokens, lengths, labels, pairs=True))
        expected = plain(model, tokens, lengths, labels)
    assert torch.allclose(found, expected, atol=1e-5)


def test_segments_for_gpus_are_the_same_rows():
    """The kernel itself needs a GPU; here its arguments are read back, query by query."""
    tokens, lengths, labels = rows(pairs=True)
    batch = pack(tokens, lengths, labels, pairs=True, varlen=True)
    spec, seen = batch["attention"], []
    ends = zip(spec["query_ends"][1:], spec["key_ends"][1:], spec["key_ends"], strict=False)
    for _, key_end, key_start in ends:
        seen.append(spec["keys"][key_start:key_end])
    ids, positions = batch["input_ids"][0], batch["position_ids"][0]
    whole = [ids[keys].tolist() for keys in seen]
    for row in range(6):
        assert tokens[row, : lengths[row]].tolist() in whole
    for keys in seen:
        assert positions[keys].tolist() == list(range(len(keys)))
    assert spec["query_ends"][-1] == len(ids)
