"""Training: examples and a base model in, an adapter or a whole model out.

The recipes are `train/sft.py`, `train/dpo.py` and `train/kto.py`, their losses `train/losses.py`;
here is what can be checked without torch.
"""

from __future__ import annotations

from tuneloop.artefacts.stage import Adapter, ExampleSet, StageContext, StageOutput
from tuneloop.config.train import DpoConfig, KtoConfig, SftConfig, TrackingConfig
from tuneloop.config.trainer import TrainerConfig
from tuneloop.runtime.weights import ResolvedModel
from tuneloop.train import distributed
from tuneloop.train.inputs import TrainInputs
from tuneloop.train.retry import train_within_memory
from tuneloop.train.tracking import check_trackers


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
    _check(config, tracking)
    from tuneloop.runtime.quiet import quiet_libraries

    with quiet_libraries():
        from tuneloop.train.sft import train_sft

        inputs = TrainInputs(examples, base, start)
        return train_within_memory(
            lambda smaller: train_sft(inputs, smaller, tracking, context),
            config,
            context.progress,
            where="sft",
        )


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
    _check(config, tracking)
    from tuneloop.runtime.quiet import quiet_libraries

    with quiet_libraries():
        from tuneloop.train.dpo import train_dpo

        inputs = TrainInputs(examples, base, start)
        return train_within_memory(
            lambda smaller: train_dpo(inputs, smaller, tracking, context),
            config,
            context.progress,
            where="dpo",
        )


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
    _check(config, tracking)
    from tuneloop.runtime.quiet import quiet_libraries

    with quiet_libraries():
        from tuneloop.train.kto import train_kto

        inputs = TrainInputs(examples, base, start)
        return train_within_memory(
            lambda smaller: train_kto(inputs, smaller, tracking, context),
            config,
            context.progress,
            where="kto",
        )


def _check(config: TrainerConfig, tracking: TrackingConfig) -> None:
    """Raise TrainingError where what is installed and started cannot train as asked."""
    distributed.check_launch()
    check_trackers(tracking)
    distributed.accumulation(
        global_batch_size=config.global_batch_size, micro_batch_size=config.micro_batch_size
    )
