"""The DPO recipe, from top to bottom."""

from __future__ import annotations

from trl import DPOConfig

from tuneloop.artefacts.digest import digest_file
from tuneloop.artefacts.stage import StageContext, StageOutput
from tuneloop.config.train import DpoConfig, TrackingConfig
from tuneloop.train import distributed, session
from tuneloop.train.adapter import WEIGHTS, peft_config
from tuneloop.train.inputs import TrainInputs
from tuneloop.train.reference import add_reference
from tuneloop.train.rows import need_rows, preference_rows, read_rows
from tuneloop.train.setup import arguments, dataset, load_base, load_tokenizer, make_run, ordered
from tuneloop.train.trainers import DpoTrainer

COLUMNS = ["prompt", "chosen", "rejected"]


def train_dpo(
    inputs: TrainInputs, config: DpoConfig, tracking: TrackingConfig, context: StageContext
) -> StageOutput:
    """Train, save and return; see `tuneloop.train.stage.dpo`."""
    examples, base, start = inputs.examples, inputs.base, inputs.start
    distributed.join()
    tokenizer = load_tokenizer(base)
    rows = read_rows(examples.path("preference_train.parquet"), COLUMNS)
    tokens = preference_rows(rows, tokenizer, max_length=config.max_length)
    need_rows(tokens, where="dpo", max_length=config.max_length)
    rows = read_rows(examples.path("preference_validation.parquet"), COLUMNS)
    validation = preference_rows(rows, tokenizer, max_length=config.max_length)
    validation = validation.sample(config.max_validation_rows, seed=context.seed)
    run = make_run("dpo", base, config, tracking, context, (tokens, validation))
    from_folder = start.path(f"adapter/{WEIGHTS}").parent if start else None

    with session.tracking(run):
        trainer = DpoTrainer(
            model=load_base(run),
            args=arguments(
                run,
                DPOConfig,
                beta=config.beta,
                loss_type=list(config.loss_type),
                loss_weights=config.loss_weights,
                label_smoothing=config.label_smoothing,
            ),
            train_dataset=dataset(tokens),
            eval_dataset=dataset(validation),
            processing_class=tokenizer,
            # The base with an adapter of the right shape, not a loaded PeftModel: TRL would add
            # a second adapter `ref`, which its resume then mistakes for the policy.
            peft_config=peft_config(config.lora, from_folder),
        )
        begun = session.keep_beginning(trainer, run)
        trainer.speed_up(start=from_folder)
        weights = base.digest + (digest_file(from_folder / WEIGHTS) if from_folder else "")
        for part in (tokens, validation):
            add_reference(
                trainer, part, weights=weights, work=context.work, progress=context.progress
            )
        trainer.use_reference(ordered(run, tokens), dataset(validation))
        watcher = session.fit(trainer, run, tokens, context.progress)
        return session.finish(trainer, run, tokens, watcher, begun)
