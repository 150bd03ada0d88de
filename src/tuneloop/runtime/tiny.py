"""A tiny random Llama with its own tokenizer, made on the fly for smoke tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

VERSION = 1
SEED = 20
VOCAB_SIZE = 512
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# The tokenizer's corpus: enough help-desk English and JSON that common words become tokens.
_SUBJECTS = ["my order", "the invoice", "your app", "this account", "the delivery", "a refund"]
_VERBS = ["is late", "does not work", "was charged twice", "needs a change", "has been cancelled"]
_REPLIES = [
    "Thank you for writing to us. We will look into it today.",
    "Please send us the number of your order and we will help you.",
    '{"intent": "refund", "priority": "high", "reply": "We are sorry about that."}',
    "system user assistant You answer as the help desk of the shop.",
]


def make_tiny(folder: Path) -> None:
    """Write a tiny Llama (2 layers, width 64, head_dim 32, ~512 tokens) into `folder`.

    Seeded: the same bytes every time. Weights are random, so its answers are noise; head_dim
    is 32 because vLLM's CPU attention fails below that.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.convert_tokens_to_ids("<|im_start|>"),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = LlamaForCausalLM(config)
    model.to(torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    corpus = [f"Hello, {s} {v}. Can you help me?" for s in _SUBJECTS for v in _VERBS] + _REPLIES
    inner.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token="<|endoftext|>",
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
