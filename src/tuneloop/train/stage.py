"""Training: examples and a base model in, an adapter out.

The recipes are `train/sft.py` and `train/dpo.py`; here is what can be checked without torch.
"""

from __future__ import annotations

from tuneloop.artefacts.stage import Adapter, ExampleSet, StageContext, StageOutput
from tuneloop.config.train import DpoConfig, SftConfig, TrackingConfig
from tuneloop.runtime.weights import ResolvedModel
from tuneloop.train import distributed


def sft(
    examples: ExampleSet,
    base: ResolvedModel,
    config: SftConfig,
    tracking: TrackingConfig,
    context: StageContext,
) -> StageOutput:
    """Train an adapter on (prompt, completion) rows, the loss on the answer only.

    Goes on from the newest checkpoint in `context.work`; the weights are the same to the bit
    as if it had never been killed.

    Raises:
        TrainingError: if there are no rows, a mask is empty, or the launch is not as asked.
    """
    distributed.check_launch()
    distributed.accumulation(
        global_batch_size=config.global_batch_size, micro_batch_size=config.micro_batch_size
    )
    from tuneloop.runtime.quiet import quiet_libraries

    with quiet_libraries():
        from tuneloop.train.sft import train_sft

        return train_sft(examples, base, config, tracking, context)


def dpo(
    examples: ExampleSet,
    base: ResolvedModel,
    start: Adapter | None,
    config: DpoConfig,
    tracking: TrackingConfig,
    context: StageContext,
) -> StageOutput:
    """Train an adapter on preference pairs, from `start` and with it as the reference.

    Without `start`, a fresh adapter on the base, which then is the reference.

    Raises:
        TrainingError: as `sft` does.
    """
    distributed.check_launch()
    distributed.accumulation(
        global_batch_size=config.global_batch_size, micro_batch_size=config.micro_batch_size
    )
    from tuneloop.runtime.quiet import quiet_libraries

    with quiet_libraries():
        from tuneloop.train.dpo import train_dpo

        return train_dpo(examples, base, start, config, tracking, context)
