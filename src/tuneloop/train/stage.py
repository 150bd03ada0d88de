"""Training: examples and a base model in, an adapter or a whole model out.

The recipes are `train/sft.py`, `train/dpo.py` and `train/kto.py`, their losses `train/losses.py`;
here is what can be checked without torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tuneloop.artefacts.stage import Adapter, ExampleSet, StageContext, StageOutput
from tuneloop.config.train import DpoConfig, KtoConfig, SftConfig, TrackingConfig
from tuneloop.config.trainer import TrainerConfig
from tuneloop.runtime.weights import ResolvedModel
from tuneloop.train import distributed
from tuneloop.train.inputs import TrainInputs
from tuneloop.train.retry import train_within_memory
from tuneloop.train.tracking import check_trackers

Recipe = Callable[[TrainInputs, Any, TrackingConfig, StageContext], StageOutput]


def sft(
    examples: ExampleSet,
    base: ResolvedModel,
    start: Adapter | None,
    config: SftConfig,
    tracking: TrackingConfig,
    context: StageContext,
) -> StageOutput:
    """Train on (prompt, completion) rows, the loss on the answer only.

    Goes on from the newest checkpoint in `context.work`; the weights are the same to the bit
    as if it had never been killed.

    Args:
        examples: The rows.
        base: The base model.
        start: What an earlier training stage left, and this one goes on from; None: the base.
        config: How to train.
        tracking: Where the curve also goes.
        context: Work folder, seed and progress.

    Raises:
        TrainingError: if there are no rows, a mask is empty, or the launch is not as asked.
    """

    def load() -> Recipe:
        from tuneloop.train.sft import train_sft

        return train_sft

    return _train("sft", load, TrainInputs(examples, base, start), config, tracking, context)


def dpo(
    examples: ExampleSet,
    base: ResolvedModel,
    start: Adapter | None,
    config: DpoConfig,
    tracking: TrackingConfig,
    context: StageContext,
) -> StageOutput:
    """Train on preference pairs, from `start` (or the base) and with it as the reference.

    Arguments and errors are those of `sft`.
    """

    def load() -> Recipe:
        from tuneloop.train.dpo import train_dpo

        return train_dpo

    return _train("dpo", load, TrainInputs(examples, base, start), config, tracking, context)


def kto(
    examples: ExampleSet,
    base: ResolvedModel,
    start: Adapter | None,
    config: KtoConfig,
    tracking: TrackingConfig,
    context: StageContext,
) -> StageOutput:
    """Train on answers called good or bad, from `start` (or the base) and with it as the reference.

    Arguments and errors are those of `sft`.
    """

    def load() -> Recipe:
        from tuneloop.train.kto import train_kto

        return train_kto

    return _train("kto", load, TrainInputs(examples, base, start), config, tracking, context)


def _train(
    name: str,
    load: Callable[[], Recipe],
    inputs: TrainInputs,
    config: TrainerConfig,
    tracking: TrackingConfig,
    context: StageContext,
) -> StageOutput:
    """Check what needs no torch, then load the recipe and run it within this machine's memory."""
    distributed.check_launch()
    check_trackers(tracking)
    distributed.accumulation(
        global_batch_size=config.global_batch_size, micro_batch_size=config.micro_batch_size
    )
    from tuneloop.runtime.quiet import quiet_libraries

    with quiet_libraries():
        recipe = load()
        return train_within_memory(
            lambda smaller: recipe(inputs, smaller, tracking, context),
            config,
            context.progress,
            where=name,
        )
