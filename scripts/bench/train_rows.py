"""Rows and models for measuring training: public data from a folder, or made ones."""

from __future__ import annotations

import csv
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

# Published shapes: hidden, intermediate, layers, heads, key heads, head size, vocabulary, tied.
# Source: config.json of meta-llama/Llama-3.2-1B, Qwen/Qwen3-1.7B and Qwen/Qwen3-8B.
SHAPES: dict[str, tuple[str, tuple[int, ...]]] = {
    "Llama-3.2-1B": ("LlamaConfig", (2048, 8192, 16, 32, 8, 64, 128256, 1)),
    "Qwen3-1.7B": ("Qwen3Config", (2048, 6144, 28, 16, 8, 128, 151936, 1)),
    "Qwen3-8B": ("Qwen3Config", (4096, 12288, 36, 32, 8, 128, 151936, 0)),
}
TINY: dict[str, tuple[str, tuple[int, ...]]] = {
    "tiny Llama": ("LlamaConfig", (64, 128, 2, 4, 2, 16, 1024, 1)),
    "tiny Qwen3": ("Qwen3Config", (64, 128, 2, 4, 2, 16, 1024, 0)),
}


class Rows:
    """A folder of Parquet files, as the build stage's artefact gives them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Return where a file lies."""
        return self.folder / name


def chat(role: str, text: str) -> list[dict[str, str]]:
    """Return one message."""
    return [{"role": role, "content": text}]


def read_rows(data: Path, name: str, n: int) -> list[dict[str, Any]]:
    """Return `n` seeded rows of PandaLM or Banking77, as SFT rows and as pairs at once."""
    if name == "pandalm":
        table = json.loads((data / "pandalm/testset-v1.json").read_text(encoding="utf-8"))
        rows = [
            (f"{r['instruction']}\n{r['input']}".strip(), r["response1"], r["response2"])
            for r in table if isinstance(r["response1"], str) and isinstance(r["response2"], str)
        ]  # fmt: skip
    else:
        with (data / "banking77/train.csv").open(encoding="utf-8") as file:
            table = list(csv.DictReader(file))
        kinds = sorted({r["category"] for r in table})
        rows = [(r["text"], r["category"], kinds[i % len(kinds)]) for i, r in enumerate(table)]
    random.Random(0).shuffle(rows)
    rows = [row for row in rows if row[1] != row[2] and len(" ".join(row).split()) < 250]
    return [_row(*row) for row in rows[:n]]


def gpu_rows(n: int, *, tiny: bool) -> list[dict[str, Any]]:
    """Return rows of lognormal length: a median prompt and answer of 200 words, few of 1,500."""
    draw = random.Random(0)
    words = ["order", "invoice", "app", "refund", "account", "late", "twice", "help", "today"]

    def text() -> str:
        size = max(3, min(700, round(draw.lognormvariate(2.0 if tiny else 5.0, 0.8))))
        return " ".join(draw.choice(words) for _ in range(size))

    return [_row(text(), text(), text()) for _ in range(n)]


def _row(prompt: str, good: str, bad: str) -> dict[str, Any]:
    answers = {"completion": good, "chosen": good, "rejected": bad}
    return {"prompt": chat("user", prompt)} | {
        name: chat("assistant", text) for name, text in answers.items()
    }


def write_rows(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as the build stage does, without validation."""
    for kind, columns in (("sft", ["prompt", "completion"]),
                          ("preference", ["prompt", "chosen", "rejected"])):  # fmt: skip
        table = pa.Table.from_pylist(rows).select(columns)
        pq.write_table(table, folder / f"{kind}_train.parquet")
        pq.write_table(table.slice(0, 0), folder / f"{kind}_validation.parquet")


def random_model(folder: Path, tokenizer: Path, shape: tuple[str, tuple[int, ...]]) -> Path:
    """Write a model of random bf16 weights of a shape, with somebody else's tokenizer."""
    import torch
    import transformers

    kind, (hidden, wide, layers, heads, key_heads, size, words, tied) = shape
    config = getattr(transformers, kind)(
        hidden_size=hidden, intermediate_size=wide, num_hidden_layers=layers, head_dim=size,
        num_attention_heads=heads, num_key_value_heads=key_heads, vocab_size=words,
        tie_word_embeddings=bool(tied), max_position_embeddings=4096,
    )  # fmt: skip
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    for path in tokenizer.iterdir():
        if path.suffix != ".safetensors" and path.name not in ("config.json", "README.md"):
            shutil.copy(path, folder / path.name)
    return folder
