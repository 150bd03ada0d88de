"""One training run from its trainer to its files, shared by SFT and DPO."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, PrinterCallback, TrainerState

from tuneloop.artefacts.stage import Progress, StageOutput
from tuneloop.runtime.weights import merged_folder
from tuneloop.train import checkpoints, distributed
from tuneloop.train.adapter import (
    MOVES_BASE,
    WEIGHTS,
    save_adapter,
    save_start,
    servable_as_adapter,
)
from tuneloop.train.callback import Watcher, history
from tuneloop.train.rows import TokenRows
from tuneloop.train.setup import Run


def fit(trainer: Any, run: Run, progress: Progress) -> Watcher:
    """Train to the end, from the newest whole checkpoint where there is one."""
    watcher = Watcher(progress, name=run.name)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(watcher)
    if run.config.early_stopping_patience is not None:
        trainer.add_callback(EarlyStoppingCallback(run.config.early_stopping_patience))
    if distributed.is_main_process():
        checkpoints.newest_complete(run.checkpoints)  # deletes the half-written
    distributed.barrier()
    checkpoint = checkpoints.newest_complete(run.checkpoints, clean=False)
    if checkpoint is not None and checkpoints.stopped_at(checkpoint):
        trainer.state = TrainerState.load_from_json(str(checkpoint / checkpoints.STATE))
        trainer._load_best_model()
        return watcher
    # DPO starts at its reference, so its first loss says nothing.
    trainer.args.eval_on_start = run.validates and checkpoint is None and run.name == "sft"
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return watcher


def keep_beginning(trainer: Any, run: Run) -> Path | None:
    """Return the folder with the adapter as it began, where saving it needs that."""
    if trainer.model.peft_config["default"].init_lora_weights not in MOVES_BASE:
        return None
    folder = run.work / "start"
    if distributed.is_main_process():
        save_start(trainer.model, folder)
    distributed.barrier()
    return folder


def finish(
    trainer: Any, run: Run, tokens: TokenRows, watcher: Watcher, start: Path | None
) -> StageOutput:
    """Write adapter, history and, where wanted or needed, the merged model."""
    adapter, history_path = run.work / "adapter", run.work / "history.json"
    state = trainer.state
    if distributed.is_main_process():
        save_adapter(trainer.model, adapter, base=run.base, start=start)
        curves = history(state.log_history)
        n_rows = state.global_step * run.config.global_batch_size
        facts = {
            "steps": state.global_step,
            "n_rows": n_rows,
            "n_tokens": sum(run.row_tokens(tokens)[:n_rows]),
            "precision": run.precision,
            "quantisation": run.config.quantisation,
            "stopped_early": state.global_step < state.max_steps,
            "best_step": getattr(state, "best_global_step", None),
        }
        text = json.dumps(curves | facts, indent=1)
        history_path.write_text(text + "\n", encoding="utf-8")
    distributed.barrier()
    files = {f"adapter/{p.name}": p for p in sorted(adapter.iterdir()) if p.is_file()}
    files["history.json"] = history_path
    servable = servable_as_adapter(adapter)
    if run.config.merge or not servable:
        files |= _merged(run, adapter)
    details = _details(trainer, run, tokens, watcher) | {"servable_as_adapter": servable}
    return StageOutput(files=files, counts=tokens.counts(), details=details)


@contextlib.contextmanager
def tracking(run: Run) -> Iterator[None]:
    """Point wandb at the work folder, offline unless the config says otherwise."""
    wanted = "wandb" in run.tracking.report_to and distributed.is_main_process()
    settings = {
        "WANDB_MODE": run.tracking.mode,
        "WANDB_DIR": str(run.work),
        "WANDB_PROJECT": run.tracking.project,
        "WANDB_SILENT": "true",
        "WANDB_DISABLE_CODE": "true",
        "WANDB_DISABLE_GIT": "true",
        "WANDB_LOG_MODEL": "false",
    }
    if not wanted:
        yield
        return
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        import wandb

        wandb.finish()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _merged(run: Run, adapter: Path) -> dict[str, Path]:
    from tuneloop.artefacts.digest import digest_file

    target = run.work
    if distributed.is_main_process():
        merged_folder(run.base, adapter, digest_file(adapter / WEIGHTS), target)
    distributed.barrier()
    folder = merged_folder(run.base, adapter, digest_file(adapter / WEIGHTS), target)
    return {f"merged/{p.name}": p for p in sorted(folder.iterdir()) if p.is_file()}


def _details(trainer: Any, run: Run, tokens: TokenRows, watcher: Watcher) -> dict[str, Any]:
    steps = trainer.state.global_step
    rows = slice(watcher.first_step * run.config.global_batch_size,
                 steps * run.config.global_batch_size)  # fmt: skip
    n_tokens = sum(run.row_tokens(tokens)[rows])
    return {
        "train_seconds": round(watcher.seconds, 1),
        "tokens_per_s": round(n_tokens / watcher.seconds, 1) if watcher.seconds else None,
        "processes": distributed.world_size(),
        "device": trainer.args.device.type,
        "fast_head": trainer.answers_only,
        "resumed_at_step": watcher.first_step,
    }
