"""How every training stage opens: where it starts, its rows as tokens, and its run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tuneloop.artefacts.stage import WHOLE, Adapter
from tuneloop.config.train import Method, TrackingConfig
from tuneloop.config.trainer import TrainerConfig
from tuneloop.errors import TuneloopError
from tuneloop.runtime.hardware import device
from tuneloop.runtime.shapes import folder_shape
from tuneloop.runtime.weights import ResolvedModel, model_digest
from tuneloop.train import distributed
from tuneloop.train.adapter import CONFIG
from tuneloop.train.encode import load_rows
from tuneloop.train.inputs import TrainInputs
from tuneloop.train.result import merged
from tuneloop.train.room import settled
from tuneloop.train.rows import TokenRows, need_rows
from tuneloop.train.setup import Run, load_tokenizer, make_run
from tuneloop.train.step import filled, step_of
from tuneloop.train.templates import check_template

if TYPE_CHECKING:
    from tuneloop.artefacts.stage import Progress, StageContext


def open_run(
    name: Method,
    inputs: TrainInputs,
    config: TrainerConfig,
    tracking: TrackingConfig,
    context: StageContext,
) -> tuple[Run, TokenRows, TokenRows]:
    """Return a stage's run, its training rows and its validation rows.

    Raises:
        TrainingError: if there is nothing to learn, or the chat template does not fit the model.
    """
    distributed.join()
    base, adapter = _beginning(inputs, config, context)
    tokenizer = load_tokenizer(base)
    check_template(tokenizer, base.folder)
    tokens, validation = (
        load_rows(name, inputs.examples, part, tokenizer, max_length=config.max_length)
        for part in ("train", "validation")
    )
    need_rows(tokens, where=name, max_length=config.max_length)
    config = filled(config, tokens, processes=distributed.world_size())
    config = _settled(name, base, config, tokens, context)
    validation = validation.sample(config.max_validation_rows, seed=context.seed)
    run = make_run(name, base, config, tracking, context, (tokens, validation))
    _say(run, tokens, context.progress)
    whole = config.adapter == "full" or (inputs.start is not None and is_whole(inputs.start))
    return replace(run, tokenizer=tokenizer, start=adapter, leaves_model=whole), tokens, validation


def is_whole(artefact: Adapter) -> bool:
    """Return whether a training stage left a whole model instead of an adapter."""
    return WHOLE in artefact.manifest.files


def _beginning(
    inputs: TrainInputs, config: TrainerConfig, context: StageContext
) -> tuple[ResolvedModel, Path | None]:
    """Return the model a stage starts from, and the adapter it goes on with, if any."""
    base, start = inputs.base, inputs.start
    if start is None:
        return base, None
    if is_whole(start):
        folder = start.path(WHOLE).parent
        return replace(base, folder=folder, digest=model_digest(folder)), None
    adapter = start.path(f"adapter/{CONFIG}").parent
    if config.adapter == "lora":
        return base, adapter
    folder = merged(base, adapter, context.work, context.progress)
    return replace(base, folder=folder, digest=model_digest(folder)), None


def _settled(
    name: str, base: ResolvedModel, config: TrainerConfig, tokens: TokenRows, context: StageContext
) -> TrainerConfig:
    """Return the config with checkpointing decided, the same on every process."""
    if config.gradient_checkpointing != "auto":
        return config
    try:
        found = settled(
            folder_shape(base.folder), config, step_of(config, tokens, seed=context.seed)
        )
        needed = found.gradient_checkpointing is True
    except TuneloopError:  # no shape that can be estimated
        needed = False
    needed = any(distributed.gather([needed]))
    if needed:
        context.progress.say(f"{name}: gradient checkpointing is on: by the estimate it would "
                             "not fit without")  # fmt: skip
    return config.model_copy(update={"gradient_checkpointing": needed})


def _say(run: Run, tokens: TokenRows, progress: Progress) -> None:
    """Say what of the rows and the settings is not as one might think."""
    if tokens.dropped:
        progress.say(f"{run.name}: of {tokens.n_in:,} rows left out: {tokens.dropped_said()}")
    for note, n in tokens.notes.items():
        if n:
            progress.say(f"{run.name}: {n:,} {note.replace('_', ' ')}: their loss is left out")
    if run.config.optimiser == "paged_adamw_8bit" and device() != "cuda":
        progress.say(f"{run.name}: paged_adamw_8bit needs a GPU; plain AdamW stands in for it")
