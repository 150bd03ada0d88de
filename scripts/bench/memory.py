"""Compare the memory estimate with the peak of real training runs.

    python scripts/bench/memory.py [--only PATTERN ...] [--json OUT.json]

Every setting trains a few steps in a process of its own, whose peak is the kernel's own figure
(VmHWM). SmolLM2-135M-Instruct and models with random weights in the shapes of Llama 3.2, Qwen3
and Gemma 3, some layers deep, so that vocabulary, width and activations weigh more than what the
libraries take. Weights of random models are written to a temporary folder and removed again.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

SMOLLM = "HuggingFaceTB/SmolLM2-135M-Instruct"
WORDS = ["the", "order", "invoice", "refund", "was", "late", "please", "account", "today"]
GIB = 1024**3
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 4,
              "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
              "vocab_size": 128256, "tie_word_embeddings": True},
    "qwen3": {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 8,
              "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
              "vocab_size": 151936, "tie_word_embeddings": True},
    "gemma3_text": {"hidden_size": 640, "intermediate_size": 2048, "num_hidden_layers": 12,
                    "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256,
                    "vocab_size": 262144, "tie_word_embeddings": True, "sliding_window": 512},
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """One training: which model and method, rows of how many words, and what the config says."""

    name: str
    model: str = SMOLLM
    method: str = "sft"
    words: tuple[int, int] = (100, 100)
    prompt: int | None = None
    steps: int = 4
    config: dict[str, Any] = field(default_factory=dict)


def _one(name: str, model: str = SMOLLM, *, words: int, method: str = "sft", spread: int = 0,
         prompt: int | None = None, **config: Any) -> Setting:  # fmt: skip
    """Return a setting; a row's prompt and its answer have `words` words each, `spread` fewer.

    The prompt has `prompt` words where that is given.
    """
    config.setdefault("micro_batch_size", 4)
    config.setdefault("global_batch_size", config["micro_batch_size"])
    return Setting(name, model, method, (words - spread, words), prompt, config=config)


SETTINGS = [
    _one("sft, short rows", words=45, micro_batch_size=8),
    _one("sft, many short rows", words=30, spread=20, micro_batch_size=32),
    _one("sft, rows of 512", words=240),
    _one("sft, rows of 1000", words=480, micro_batch_size=2),
    _one("sft, checkpointing", words=240, micro_batch_size=8, gradient_checkpointing=True),
    _one("sft, fp32", words=120, precision="fp32"),
    _one("sft, rank 256", words=120, lora={"r": 256, "alpha": 512}),
    _one("sft, two targets", words=120, micro_batch_size=8,
         lora={"target_modules": ["q_proj", "v_proj"]}),
    _one("sft, dropout", words=120, lora={"dropout": 0.1}),
    _one("sft, dropout, rows of 512", words=240, lora={"dropout": 0.1}),
    _one("sft, dora", words=120, lora={"use_dora": True}),
    _one("sft, varied rows", words=200, spread=190, micro_batch_size=8),
    _one("sft, nf4", words=60, quantisation="nf4"),
    _one("dpo, short rows", words=45, method="dpo"),
    _one("dpo, rows of 512", words=240, method="dpo", micro_batch_size=2),
    _one("dpo, checkpointing", words=240, method="dpo", gradient_checkpointing=True),
    _one("sft, llama", "llama", words=240, micro_batch_size=2),
    _one("dpo, llama", "llama", words=120, method="dpo", micro_batch_size=2),
    _one("sft, qwen3", "qwen3", words=120, micro_batch_size=8),
    _one("sft, qwen3, checkpointing", "qwen3", words=240, micro_batch_size=8,
         gradient_checkpointing=True),
    _one("sft, gemma3", "gemma3_text", words=240),
    _one("sft, gemma3, fp32", "gemma3_text", words=100, precision="fp32"),
    _one("sft, padded", words=45, micro_batch_size=8, packing=False),
    _one("sft, varied rows, padded", words=200, spread=190, micro_batch_size=8, packing=False),
    _one("sft, rows of 512, padded", words=240, packing=False),
    _one("dpo, rows of 512, padded", words=240, method="dpo", micro_batch_size=2, packing=False),
    _one("dpo, long prompts", words=60, method="dpo", prompt=400),
    _one("kto, short rows", words=45, method="kto", micro_batch_size=8),
    _one("kto, rows of 512", words=240, method="kto"),
    _one("kto, checkpointing", words=240, method="kto", gradient_checkpointing=True),
    _one("sft, full", words=120, adapter="full"),
    _one("sft, full, rows of 512", words=240, adapter="full"),
    _one("sft, full, fp32", words=120, adapter="full", precision="fp32"),
    _one("sft, full, checkpointing", words=240, adapter="full", micro_batch_size=8,
         gradient_checkpointing=True),
    _one("dpo, full", words=60, method="dpo", adapter="full"),
    _one("kto, full", words=60, method="kto", adapter="full"),
    _one("sft, full, qwen3", "qwen3", words=120, adapter="full"),
]  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """A set's files in a folder, as an artefact gives them."""

    folder: Path

    def path(self, name: str) -> Path:
        """Return where a file lies."""
        return self.folder / name


def write_rows(folder: Path, setting: Setting, n_rows: int) -> None:
    """Write the build stage's files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    draw = random.Random(1)

    def text(role: str) -> list[dict[str, str]]:
        n = draw.randint(*setting.words)
        n = setting.prompt if setting.prompt and role == "user" else n
        return [{"role": role, "content": " ".join(draw.choice(WORDS) for _ in range(n))}]

    rows = [{"prompt": text("user"), "completion": text("assistant"), "chosen": text("assistant"),
             "rejected": text("assistant"), "label": n % 2 == 0}
            for n in range(n_rows)]  # fmt: skip
    for kind in ("sft", "preference", "kto"):
        for part, kept in (("train", rows), ("validation", [])):
            table = pa.Table.from_pylist(rows).slice(0, len(kept))
            pq.write_table(table, folder / f"{kind}_{part}.parquet")


def make_model(kind: str, folder: Path) -> None:
    """Write a model with random weights in bf16, and the tokenizer of SmolLM2."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from tuneloop.config.schema import ModelConfig
    from tuneloop.runtime.weights import resolve_model

    config = AutoConfig.for_model(kind, **SHAPES[kind])
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    for path in resolve_model(ModelConfig(name=SMOLLM)).folder.iterdir():
        if "token" in path.name or path.suffix == ".jinja":
            (folder / path.name).write_bytes(path.read_bytes())


def train_one(setting: Setting, model: str, work: Path) -> dict[str, Any]:
    """Train in this process; return its peak and, by part, the estimate, GiB."""
    from tuneloop.artefacts.stage import StageContext
    from tuneloop.config.schema import ModelConfig
    from tuneloop.config.train import DpoConfig, KtoConfig, SftConfig, TrackingConfig
    from tuneloop.runtime.hardware import device, pick_precision
    from tuneloop.runtime.progress import SilentProgress
    from tuneloop.runtime.shapes import folder_shape
    from tuneloop.runtime.weights import resolve_model
    from tuneloop.train import stage
    from tuneloop.train.encode import load_rows
    from tuneloop.train.memory import Machine, estimate
    from tuneloop.train.setup import load_tokenizer
    from tuneloop.train.step import filled, step_of

    rows = Rows(work)
    base = resolve_model(ModelConfig(name=model))
    write_rows(work, setting, setting.steps * setting.config["global_batch_size"])
    common = {"max_steps": setting.steps, "max_length": 4096, "save_steps": 1000,
              "gradient_checkpointing": False} | setting.config  # fmt: skip
    config = {"sft": SftConfig, "dpo": DpoConfig, "kto": KtoConfig}[setting.method](**common)
    context = StageContext(work=work, seed=1, progress=SilentProgress())
    run = getattr(stage, setting.method)
    run(rows, base, None, config, TrackingConfig(), context)
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024 / GIB
    tokens = load_rows(
        setting.method, rows, "train", load_tokenizer(base), max_length=config.max_length
    )
    config = filled(config, tokens)
    step = step_of(config, tokens, seed=1)
    machine = Machine(device(), pick_precision(config.precision))
    found = estimate(folder_shape(base.folder), config, step, machine)
    return {
        "peak_gib": round(peak, 3),
        "estimate_gib": round(found.total_gib, 3),
        "error": round(found.total_gib / peak - 1, 3),
        "parts": asdict(found),
        "step": asdict(step),
    }


def run(setting: Setting, models: Path) -> dict[str, Any]:
    """Run a setting in a process of its own and return what it printed."""
    model = setting.model
    if model in SHAPES:
        folder = models / model
        if not folder.is_dir():
            folder.mkdir(parents=True)
            make_model(model, folder)
        model = str(folder)
    command = [sys.executable, __file__, "--child", json.dumps(asdict(setting)), "--model", model]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1:]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=["*"], help="names of settings, as patterns")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--models", type=Path, help="where random models are made and kept")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        setting = Setting(**json.loads(options.child))
        with tempfile.TemporaryDirectory() as work:
            print(json.dumps(train_one(setting, options.model, Path(work))))
        return
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        for setting in SETTINGS:
            if any(fnmatch.fnmatch(setting.name, p) for p in options.only):
                results[setting.name] = run(setting, options.models or Path(temporary))
                print(setting.name, results[setting.name], flush=True)
    versions = {name: version(name) for name in ("torch", "transformers", "trl", "peft")}
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {versions}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
