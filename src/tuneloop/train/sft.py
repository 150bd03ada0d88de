"""The SFT recipe, from top to bottom."""

from __future__ import annotations

from trl import SFTConfig

from tuneloop.artefacts.stage import StageContext, StageOutput
from tuneloop.config.train import SftConfig, TrackingConfig
from tuneloop.train import distributed, session
from tuneloop.train.adapter import peft_config
from tuneloop.train.inputs import TrainInputs
from tuneloop.train.rows import need_rows, read_rows, sft_rows
from tuneloop.train.setup import arguments, dataset, load_base, load_tokenizer, make_run, ordered
from tuneloop.train.trainers import SftTrainer

COLUMNS = ["prompt", "completion"]


def train_sft(
    inputs: TrainInputs, config: SftConfig, tracking: TrackingConfig, context: StageContext
) -> StageOutput:
    """Train, save and return; see `tuneloop.train.stage.sft`."""
    examples, base = inputs.examples, inputs.base
    distributed.join()
    tokenizer = load_tokenizer(base)
    rows = read_rows(examples.path("sft_train.parquet"), COLUMNS)
    tokens = sft_rows(rows, tokenizer, max_length=config.max_length)
    need_rows(tokens, where="sft", max_length=config.max_length)
    rows = read_rows(examples.path("sft_validation.parquet"), COLUMNS)
    validation = sft_rows(rows, tokenizer, max_length=config.max_length)
    validation = validation.sample(config.max_validation_rows, seed=context.seed)
    run = make_run("sft", base, config, tracking, context, (tokens, validation))

    with session.tracking(run):
        trainer = SftTrainer(
            model=load_base(run),
            args=arguments(run, SFTConfig),
            train_dataset=ordered(run, tokens),
            eval_dataset=dataset(validation),
            processing_class=tokenizer,
            peft_config=peft_config(config.lora),
        )
        begun = session.keep_beginning(trainer, run)
        trainer.speed_up()
        watcher = session.fit(trainer, run, tokens, context.progress)
        return session.finish(trainer, run, tokens, watcher, begun)
