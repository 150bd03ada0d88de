"""One training run from its trainer to its files, shared by SFT, DPO and KTO."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, PrinterCallback, TrainerState

from tuneloop.artefacts.stage import Progress, StageOutput
from tuneloop.runtime.roofline import gemm_flops_per_s
from tuneloop.train import checkpoints, distributed
from tuneloop.train.adapter import CONFIG, MOVES_BASE, init_by_data, save_start, servable_as_adapter
from tuneloop.train.callback import Watcher, history
from tuneloop.train.disk import full_disk_said
from tuneloop.train.forgetting import FORGETTING, forgetting_measured
from tuneloop.train.guard import BadStep, Guard, stop_with_batch
from tuneloop.train.meter import Meter, flop_per_token, token_counts
from tuneloop.train.result import result_files
from tuneloop.train.rows import TokenRows
from tuneloop.train.setup import Run
from tuneloop.train.sharding import check_sharding
from tuneloop.train.tracking import tracked

EVA_ROWS = 256
"""Rows that EVA looks at; its paper used some hundred."""


def fit(trainer: Any, run: Run, tokens: TokenRows, progress: Progress) -> Watcher:
    """Train to the end, from the newest whole checkpoint where there is one.

    Raises:
        TrainingError: for a loss that is no number or jumps, a full disk, or checkpoints of
            another training.
    """
    if run.config.packing and not trainer.packs:
        progress.say(f"{run.name}: rows are padded, not packed: {trainer.why_padded}")
    with forgetting_measured(trainer, run, progress):
        return _train(trainer, run, tokens, progress)


def _train(trainer: Any, run: Run, tokens: TokenRows, progress: Progress) -> Watcher:
    trainer.guard = Guard(
        factor=run.config.spike_factor,
        window=run.config.spike_window,
        later=trainer.args.device.type != "cpu",
    )
    trainer.meter = _meter(trainer, run, tokens)
    trainer.fingerprint = {"start": run.start_digest, **run.fingerprint}
    watcher = Watcher(progress, name=run.name, meter=trainer.meter)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(watcher)
    if run.config.early_stopping_patience is not None:
        trainer.add_callback(EarlyStoppingCallback(run.config.early_stopping_patience))
    checkpoint = _checkpoint(run, trainer.fingerprint, progress)
    if checkpoint is not None:
        trainer.guard.recent.extend(checkpoint.facts.get("recent_losses") or [])
        if checkpoints.stopped_at(checkpoint.folder):
            state = TrainerState.load_from_json(str(checkpoint.folder / checkpoints.STATE))
            best = run.checkpoints / f"checkpoint-{state.best_global_step}"
            state.best_model_checkpoint = str(best)  # the folder may have moved
            trainer.state = state
            trainer._load_best_model()
            return watcher
    # DPO starts at its reference, so its first loss says nothing.
    trainer.args.eval_on_start = run.validates and checkpoint is None and run.name == "sft"
    with full_disk_said(run.checkpoints, where=run.name):
        try:
            trainer.train(resume_from_checkpoint=str(checkpoint.folder) if checkpoint else None)
        except BadStep as bad:
            decode = trainer.processing_class.decode
            batch = run.batch(tokens, bad.step)
            raise stop_with_batch(bad, tokens, batch, folder=run.work, decode=decode) from bad
    return watcher


def _checkpoint(
    run: Run, fingerprint: Mapping[str, Any], progress: Progress
) -> checkpoints.Checkpoint | None:
    """Return the checkpoint to go on from, the same on every process."""
    if distributed.is_main_process():
        checkpoints.newest_whole(run.checkpoints, say=lambda t: progress.say(f"{run.name}: {t}"))
    distributed.barrier()
    checkpoint = checkpoints.newest_whole(run.checkpoints, clean=False)
    if checkpoint is not None:
        checkpoints.check_same_training(checkpoint, fingerprint)
    return checkpoint


def _meter(trainer: Any, run: Run, tokens: TokenRows) -> Meter:
    return Meter(
        token_counts(tokens, run.order(tokens)),
        batch=run.config.global_batch_size,
        flop_per_token=flop_per_token(trainer.model),
        roofline=lambda: gemm_flops_per_s(run.precision) * distributed.world_size(),
        processes=distributed.world_size(),
    )


def begin(trainer: Any, run: Run) -> Path | None:
    """Prepare a trainer's model; return the folder with the adapter as it began, where needed.

    Saving an adapter that moved the base needs what it began with.
    """
    folder = _keep_beginning(trainer, run)
    trainer.lr_ratio_b = run.config.lr_ratio_b
    trainer.speed_up(packing=run.config.packing, start=run.start)
    return folder


def _keep_beginning(trainer: Any, run: Run) -> Path | None:
    whole = run.config.adapter == "full"
    init = None if whole else trainer.model.peft_config["default"].init_lora_weights
    check_sharding(trainer, init=init, compares=hasattr(trainer, "use_reference"))
    if whole:
        return None
    if init == "eva":
        rows, size = list(trainer.train_dataset)[:EVA_ROWS], run.config.micro_batch_size
        batches = [rows[i : i + size] for i in range(0, len(rows), size)]
        with trainer.accelerator.autocast():
            init_by_data(
                trainer.model, [trainer._prepare_inputs(trainer.data_collator(b)) for b in batches]
            )
    if init not in MOVES_BASE:
        return None
    folder = run.work / "start"
    if distributed.is_main_process():
        save_start(trainer.model, folder)
    distributed.barrier()
    return folder


def finish(
    trainer: Any, run: Run, tokens: TokenRows, watcher: Watcher, start: Path | None
) -> StageOutput:
    """Write the weights and the history."""
    history_path, state = run.work / "history.json", trainer.state
    if distributed.is_main_process():
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
    files = result_files(trainer, run, start, watcher.progress) | {"history.json": history_path}
    if (run.work / FORGETTING).is_file():
        files[FORGETTING] = run.work / FORGETTING
    adapter = files.get(f"adapter/{CONFIG}")
    servable = adapter is not None and servable_as_adapter(adapter.parent)
    details = _details(trainer, run, tokens, watcher) | {"servable_as_adapter": servable}
    return StageOutput(files=files, counts=tokens.counts(), details=details)


@contextlib.contextmanager
def tracking(run: Run) -> Iterator[None]:
    """Point the trackers at their folder, offline unless the config says otherwise; on rank 0."""
    if not distributed.is_main_process():
        yield
        return
    with tracked(run.tracking, run.work):
        yield


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
        "packed": trainer.packs,
        "resumed_at_step": watcher.first_step,
        "speed": {name: round(value, 4) for name, value in trainer.meter.last.items()},
    }
