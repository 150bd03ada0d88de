"""Measure training speed against plain TRL on the same rows, model and adapter.

    python scripts/bench/train.py [--model NAME] [--rows 200] [--json OUT.json]

Both train LoRA r=16 on every linear layer, one micro-batch of 8 rows a step. TRL runs with its
defaults (checkpointing, bf16 autocast) and once without checkpointing, for a few steps only:
the medians are of steps, so their number does not matter much.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pyarrow as pa
import pyarrow.parquet as pq

from tuneloop.artefacts.stage import StageContext
from tuneloop.config.schema import ModelConfig
from tuneloop.config.train import SftConfig, TrackingConfig
from tuneloop.runtime.hardware import cpu_has_fast_bf16, device
from tuneloop.runtime.quiet import quiet_libraries
from tuneloop.runtime.weights import ResolvedModel, resolve_model

WORDS = ["the", "order", "invoice", "refund", "was", "late", "please", "account", "today"]
BATCH = 8


class Rows:
    """A folder of Parquet files that looks like the build stage's artefact."""

    def __init__(self, folder: Path, n_rows: int) -> None:
        self.folder = folder
        draw = random.Random(1)
        rows = [
            {
                "prompt": [{"role": "user", "content": _text(draw, 30, 80)}],
                "completion": [{"role": "assistant", "content": _text(draw, 30, 80)}],
            }
            for _ in range(n_rows)
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / "sft_train.parquet")
        empty = pa.Table.from_pylist(rows[:1]).slice(0, 0)
        pq.write_table(empty, folder / "sft_validation.parquet")

    def path(self, name: str) -> Path:
        """Return where a file lies."""
        return self.folder / name


class StepTimes:
    """Progress that shows nothing and remembers when each step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def start(self, description: str, *, total: int | None = None) -> None:
        """Begin."""
        self.times = [time.perf_counter()]

    def advance(self, n: int = 1) -> None:
        """Remember."""
        self.times.append(time.perf_counter())

    def done(self, note: str = "") -> None:
        """End."""

    def say(self, text: str) -> None:
        """Say nothing."""

    @property
    def median_s(self) -> float:
        """Median seconds of a step, the first left out."""
        return statistics.median(
            b - a for a, b in zip(self.times[1:], self.times[2:], strict=False)
        )


def _text(draw: random.Random, low: int, high: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(draw.randint(low, high)))


def measure_tuneloop(base: ResolvedModel, rows: Rows, steps: int) -> dict[str, float]:
    """Return tokens/s of the sft stage."""
    from tuneloop.train.stage import sft

    config = SftConfig(global_batch_size=BATCH, micro_batch_size=BATCH, max_steps=steps,
                       save_steps=10_000)  # fmt: skip
    watch = StepTimes()
    with tempfile.TemporaryDirectory() as work:
        context = StageContext(work=Path(work), seed=1, progress=watch)
        output = sft(rows, base, config, TrackingConfig(), context)  # type: ignore[arg-type]
        facts = json.loads(output.files["history.json"].read_text())
    per_step = facts["n_tokens"] / facts["steps"]
    return {"step_s": watch.median_s, "tokens_per_s": per_step / watch.median_s}


def measure_trl(
    base: ResolvedModel, rows: Rows, steps: int, *, checkpointing: bool
) -> dict[str, float]:
    """Return tokens/s of TRL's SFTTrainer as its documentation shows it."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    watch = StepTimes()

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            watch.start("")

        def on_step_end(self, *_: Any, **__: Any) -> None:
            watch.advance()

    tokenizer = AutoTokenizer.from_pretrained(base.folder)
    bf16 = device() == "cuda" or cpu_has_fast_bf16()
    dtype = torch.bfloat16 if bf16 else torch.float32
    data = Dataset.from_parquet(str(rows.path("sft_train.parquet")))
    with tempfile.TemporaryDirectory() as work:
        args = SFTConfig(
            output_dir=work, max_steps=steps, per_device_train_batch_size=BATCH, bf16=bf16,
            gradient_checkpointing=checkpointing, use_cpu=device() == "cpu", report_to=[],
            save_strategy="no", disable_tqdm=True, seed=1,
        )  # fmt: skip
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(base.folder, dtype=dtype), args=args,
            train_dataset=data, processing_class=tokenizer, callbacks=[Clock()],
            peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"),
        )  # fmt: skip
        trainer.train()
    per_step = sum(len(r) for r in trainer.train_dataset["input_ids"]) / len(data) * BATCH
    return {"step_s": watch.median_s, "tokens_per_s": per_step / watch.median_s}


def main() -> None:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--trl-steps", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    base = resolve_model(ModelConfig(name=options.model))
    with tempfile.TemporaryDirectory() as folder, quiet_libraries():
        rows = Rows(Path(folder), options.rows)
        results = {
            "tuneloop": measure_tuneloop(base, rows, 10),
            "trl, no checkpointing": measure_trl(
                base, rows, options.trl_steps, checkpointing=False
            ),
            "trl, defaults": measure_trl(base, rows, options.trl_steps, checkpointing=True),
        }
    ours = results["tuneloop"]["tokens_per_s"]
    for name, result in results.items():
        print(f"{name:24s} {result['step_s']:7.2f} s/step {result['tokens_per_s']:7.0f} tokens/s "
              f"  ratio {ours / result['tokens_per_s']:.1f}")  # fmt: skip
    machine = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(),
               "device": device(), "fast_bf16": cpu_has_fast_bf16()}  # fmt: skip
    versions = {name: version(name) for name in ("torch", "transformers", "trl", "peft")}
    print(f"model {base.name}, {options.rows} rows, {machine}, {versions}")
    if options.json:
        report = {"results": results, "machine": machine, "versions": versions,
                  "model": base.name, "rows": options.rows}  # fmt: skip
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
