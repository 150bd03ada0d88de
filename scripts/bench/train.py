"""Measure training speed against TRL, on the same rows, model, adapter and global batch.

    python scripts/bench/train.py --data FOLDER [--rows pandalm|banking77] [--method sft|dpo]
        [--levers] [--json OUT.json]
    python scripts/bench/train.py --gpu [--tiny]

Every side trains LoRA r=16 on every linear layer for one pass over the same rows, in turns, and
the median of the repeats counts. TRL runs with its defaults, and tuned: no checkpointing, a bf16
base without autocast, rows of like length together, several ways to attend and pad; the best
counts. Loss and gradients of the first batch are compared. `--levers` takes one of ours away at
a time. `--gpu` makes models of published shapes with random weights and rows of lognormal
length; `--tiny` walks the same way with tiny ones.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).parent))

import torch
from train_rows import SHAPES, TINY, Rows, gpu_rows, random_model, read_rows, write_rows
from train_trl import trl_trainer

from tuneloop.artefacts.stage import StageContext
from tuneloop.config.schema import ModelConfig
from tuneloop.config.train import DpoConfig, SftConfig, TrackingConfig
from tuneloop.runtime import roofline
from tuneloop.runtime.hardware import device, pick_precision
from tuneloop.runtime.progress import SilentProgress
from tuneloop.runtime.quiet import quiet_libraries
from tuneloop.runtime.weights import ResolvedModel, resolve_model
from tuneloop.train import session

PACKAGES = ("torch", "transformers", "trl", "peft")
LORA = {"r": 16, "alpha": 32}
TRL_SIDES: dict[str, dict[str, Any]] = {
    "TRL, defaults": {},
    "TRL, whole batch at once": {"per_device_train_batch_size": "all"},
    "TRL, no checkpointing": {
        "gradient_checkpointing": False,
        "per_device_train_batch_size": "all",
    },
    "TRL, eager attention": {
        "gradient_checkpointing": False,
        "attention": "eager",
        "per_device_train_batch_size": "all",
    },
    "TRL, tuned: SDPA": {"tuned": True, "attention": "sdpa"},
    "TRL, tuned: eager attention": {"tuned": True, "attention": "eager"},
    "TRL, tuned: packing": {"tuned": True, "attention": "sdpa", "packing": True},
    "TRL, tuned: packing, autocast": {
        "tuned": True,
        "attention": "sdpa",
        "packing": True,
        "bf16": True,
    },
}
LEVERS: dict[str, dict[str, Any]] = {
    "padded, not packed": {"config": {"packing": False}},
    "4 rows at a time": {"config": {"micro_batch_size": 4}},
    "prompts laid twice": {"patch": ("tuneloop.train.dpo.DpoTrainer.shares_prompts", False)},
    "head on all positions": {
        "patch": ("tuneloop.train.trainers.supports_answer_head", lambda _: False)
    },
    "PEFT's LoRA layers": {"patch": ("tuneloop.train.trainers.fuse_lora", lambda _: 0)},
    "norms in many steps": {"patch": ("tuneloop.train.trainers.fuse_norms", lambda _: 0)},
    "compiled layers": {"compiled": True},
}


class Captured(Exception):
    """Carries a trainer out of its stage, just before it would train."""


def our_trainer(base: ResolvedModel, folder: Path, method: str, options: Any, **config: Any) -> Any:
    """Return the trainer of the stage as it stands before its first step."""
    from tuneloop.train import stage

    def fit(trainer: Any, *_: Any) -> None:
        raise Captured(trainer)

    settings = {"global_batch_size": options.batch, "micro_batch_size": options.batch,
                "max_steps": options.steps, "lora": LORA, "use_weights": False,
                "save_steps": 10_000, "eval_steps": 10_000, "max_length": 512} | config  # fmt: skip
    work = Path(tempfile.mkdtemp(dir=folder))  # none goes on from another's checkpoints
    context = StageContext(work=work, seed=1, progress=SilentProgress())
    run, section = (stage.sft, SftConfig) if method == "sft" else (stage.dpo, DpoConfig)
    with mock.patch.object(session, "fit", fit):
        try:
            run(Rows(folder), base, None, section(**settings), TrackingConfig(), context)  # type: ignore[operator]
        except Captured as found:
            trainer = found.args[0]
            trainer.bench_rows, trainer.bench_batch = list(trainer.train_dataset), options.batch
            return trainer
    raise AssertionError("the stage did not train")


def timed(trainer: Any) -> dict[str, float]:
    """Train to the end; return seconds, and tokens a second of the rows trained on."""
    from transformers import TrainerCallback

    times: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            times.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times.append(time.perf_counter())

    trainer.add_callback(Clock())
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    trainer.train()
    seconds = times[-1] - times[0]
    rows = trainer.bench_rows
    n_loss = sum(_loss_tokens(row) for row in rows)
    peak = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0
    return {"seconds": seconds, "tokens_per_s": sum(map(row_tokens, rows)) / seconds,
            "loss_tokens_per_s": n_loss / seconds, "peak_gib": peak}  # fmt: skip


def row_tokens(row: dict[str, Any]) -> int:
    """Return the tokens of a row; of a pair, both answers with their prompt."""
    if "input_ids" in row:
        return len(row["input_ids"])
    return 2 * len(row["prompt_ids"]) + len(row["chosen_ids"]) + len(row["rejected_ids"])


def _loss_tokens(row: dict[str, Any]) -> int:
    if "labels" in row:
        return sum(label != -100 for label in row["labels"])
    return len(row["chosen_ids"]) + len(row["rejected_ids"])


def first_gradients(trainer: Any) -> tuple[float, torch.Tensor]:
    """Return loss and all adapter gradients, flat, of the first global batch."""
    model = trainer.model
    rows = [trainer.train_dataset[n] for n in range(trainer.bench_batch)]
    model.train()
    model.zero_grad()
    trainer.current_gradient_accumulation_steps = 1
    loss = trainer.compute_loss(model, trainer._prepare_inputs(trainer.data_collator(rows)))
    loss.backward()
    grads = [p.grad.float().flatten().cpu() for n, p in sorted(model.named_parameters())
             if p.requires_grad and p.grad is not None]  # fmt: skip
    model.zero_grad()
    return float(loss.detach()), torch.cat(grads)


def compare_first_batch(ours: Any, theirs: Any) -> dict[str, float]:
    """Return how far loss and gradients of the first batch are apart, adapters made equal."""
    weights = {n: p for n, p in ours.model.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for name, parameter in theirs.model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(weights[name])
    (loss, gradient), (their_loss, their_gradient) = map(first_gradients, (ours, theirs))
    apart = (gradient - their_gradient).norm() / their_gradient.norm()
    return {"loss": loss, "trl_loss": their_loss, "gradient_apart": float(apart)}


def measure(sides: dict[str, Callable[[], Any]], repeats: int, *, go_on: int | None) -> Any:
    """Return each side's medians over its turns, the sides taken in turns.

    Args:
        sides: Each makes a trainer.
        repeats: Turns.
        go_on: After the first turn only ours, TRL's defaults and so many of the best others go
            on; None: all.
    """
    found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    left = list(sides)
    for _ in range(repeats):
        for name in left:
            found[name].append(timed(sides[name]()))
            gc.collect()
            print(f"  {name}: {found[name][-1]['tokens_per_s']:.0f} tokens/s", flush=True)
        others = sorted(left[2:], key=lambda name: found[name][0]["seconds"])
        left = left if go_on is None else [*left[:2], *others[:go_on]]
    return {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        | {"turns": len(runs)}
        for name, runs in found.items()
    }


def ours(base: ResolvedModel, folder: Path, method: str, options: Any, lever: Any) -> Any:
    """Return our trainer with one lever taken away (or put in)."""
    with ExitStack() as stack:
        if patch := lever.get("patch"):
            stack.enter_context(mock.patch(*patch))
        trainer = our_trainer(base, folder, method, options, **lever.get("config", {}))
        if patch and patch[0].endswith("shares_prompts"):
            trainer.shares_prompts = patch[1]
    if lever.get("compiled"):
        for layer in trainer.model.get_base_model().model.layers:
            layer.compile(dynamic=True)
        first_gradients(trainer)  # compiling is not counted
    return trainer


def one_model(
    base: ResolvedModel, folder: Path, method: str, options: argparse.Namespace
) -> dict[str, Any]:
    """Return what was measured of one model and method."""
    trainer = our_trainer(base, folder, method, options)
    rows = trainer.bench_rows
    chosen = {k: v for k, v in TRL_SIDES.items() if method == "sft" or "packing" not in v}
    keep = ("input_ids", "labels", "prompt_ids", "chosen_ids", "rejected_ids")
    plain = [{k: v for k, v in row.items() if k in keep} for row in rows]

    def theirs(**settings: Any) -> Any:
        return trl_trainer(base.folder, plain, folder / "trl", method, batch=options.batch,
                           **settings)  # fmt: skip

    equal = compare_first_batch(trainer, theirs(tuned=True, attention="sdpa"))
    print(f"{base.name} {method}: first batch {equal}", flush=True)
    sides: dict[str, Callable[[], Any]] = {
        "tuneloop": lambda: ours(base, folder, method, options, {})
    }
    if options.levers:
        for name, lever in LEVERS.items():
            if method == "dpo" or name != "prompts laid twice":
                sides[name] = lambda lever=lever: ours(base, folder, method, options, lever)
    else:
        for name, settings in chosen.items():
            sides[name] = lambda settings=settings: theirs(**settings)
    results = measure(sides, options.repeats, go_on=None if options.levers else 2)
    return {"model": base.name, "method": method, "rows": len(rows), "first_batch": equal,
            "tokens": sum(map(row_tokens, rows)), "sides": results,
            "flop_per_token": 4 * trainer.model.get_base_model().num_parameters()}  # fmt: skip


def table(found: list[dict[str, Any]], gemm: float) -> None:
    """Print the short table."""
    print(f"matrix products: {gemm / 1e12:.2f} TFLOP/s measured; share = 4N FLOP a token of that")
    for run in found:
        sides = run["sides"]
        us = sides["tuneloop"]["tokens_per_s"]
        print(f"{run['model']}, {run['method']}, {run['rows']} rows, {run['tokens']} tokens")
        for name, side in sides.items():
            share = side["tokens_per_s"] * run["flop_per_token"] / gemm
            print(f"  {name:28s} {side['tokens_per_s']:8.0f} tokens/s, on "
                  f"{side['loss_tokens_per_s']:7.0f} loss; ours x {us / side['tokens_per_s']:5.2f};"
                  f" share {share:.3f}; peak {side['peak_gib']:.1f} GiB; {side['turns']} turns"
            )  # fmt: skip


def main() -> None:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    parser.add_argument("--data", type=Path, default=os.environ.get("TUNELOOP_DATA"))
    parser.add_argument("--rows", choices=["pandalm", "banking77"], default="pandalm")
    parser.add_argument("--method", choices=["sft", "dpo"], action="append")
    parser.add_argument("--batch", type=int, default=16, help="rows of a global batch")
    parser.add_argument("--steps", type=int, default=2, help="global batches, all different rows")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--levers", action="store_true")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    methods = options.method or ["sft", "dpo"]
    found, missing = [], []
    with tempfile.TemporaryDirectory() as home, quiet_libraries():
        gemm = roofline.measure(pick_precision("auto"), device())
        n_rows = options.batch * options.steps
        if options.gpu:
            tokenizer = resolve_model(ModelConfig(name="tiny-random")).folder
            models = TINY if options.tiny else SHAPES
        else:
            models = {options.model: ("", ())}
        for name, shape in models.items():
            folder = Path(home) / name.replace("/", "_")
            folder.mkdir()
            rows = (gpu_rows(n_rows, tiny=options.tiny) if options.gpu
                    else read_rows(options.data, options.rows, n_rows))  # fmt: skip
            write_rows(folder, rows)
            where = str(random_model(folder / "base", tokenizer, shape)) if shape[1] else name
            base = resolve_model(ModelConfig(name=where))
            for method in methods:
                try:
                    found.append(one_model(base, folder, method, options))
                except torch.OutOfMemoryError as error:
                    missing.append(f"{name} {method}: {error}")
                gc.collect()
                torch.cuda.empty_cache()
    table(found, gemm)
    if not options.gpu or options.tiny or device() != "cuda":
        missing.append("a GPU")
    print("not run:", "; ".join([*missing, "axolotl, LLaMA-Factory, unsloth, ms-swift"]))
    facts = {"device": device(), "cores": os.cpu_count(), "processor": platform.processor(),
             "gemm_flops": gemm, "not_run": missing,
             "versions": {n: version(n) for n in PACKAGES}}  # fmt: skip
    print(facts)
    if options.json:
        options.json.write_text(json.dumps(facts | {"runs": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
