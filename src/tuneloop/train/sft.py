"""The SFT recipe, from top to bottom."""

from __future__ import annotations

from typing import Any

import torch
from trl import SFTConfig, SFTTrainer

from tuneloop.artefacts.stage import StageContext, StageOutput
from tuneloop.config.train import SftConfig, TrackingConfig
from tuneloop.train import session
from tuneloop.train.inputs import TrainInputs
from tuneloop.train.losses import sft_loss
from tuneloop.train.opening import open_run
from tuneloop.train.setup import arguments, dataset, load_base, ordered
from tuneloop.train.trainers import FastTrainer


def train_sft(
    inputs: TrainInputs, config: SftConfig, tracking: TrackingConfig, context: StageContext
) -> StageOutput:
    """Train, save and return; see `tuneloop.train.stage.sft`."""
    run, tokens, validation = open_run("sft", inputs, config, tracking, context)
    with session.tracking(run):
        trainer = SftTrainer(
            model=load_base(run),
            args=arguments(
                run,
                SFTConfig,
                loss_type=config.loss_type,
                neftune_noise_alpha=config.neftune_alpha,
            ),
            train_dataset=ordered(run, tokens),
            eval_dataset=dataset(validation),
            processing_class=run.tokenizer,
            peft_config=run.peft_config(),
        )
        begun = session.begin(trainer, run)
        watcher = session.fit(trainer, run, tokens, context.progress)
        return session.finish(trainer, run, tokens, watcher, begun)


class SftTrainer(FastTrainer, SFTTrainer):  # type: ignore[misc]  # untyped library
    """SFT on the answer's tokens; the loss is the mean over all of a global batch's."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:  # fmt: skip
        """Return the loss of the answers' tokens, those of a row as heavy as the row."""
        tokens = self.answer_tokens(model, inputs, inputs["labels"])
        losses = sft_loss(self.args.loss_type, tokens.logps)
        if "weight" in inputs:
            losses = losses * inputs["weight"][tokens.row]
        if num_items_in_batch is None:
            return _plus(losses.mean(), tokens.router_loss)
        # They are counted over all processes and micro-batches; DDP takes the mean over processes.
        loss = losses.sum() / num_items_in_batch * self.accelerator.num_processes
        steps = self.current_gradient_accumulation_steps
        return _plus(loss, None if tokens.router_loss is None else tokens.router_loss / steps)

    def validation_sums(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return the summed loss over the answer's tokens, and their number."""
        tokens = self.answer_tokens(self.model, inputs, inputs["labels"])
        loss = sft_loss(self.args.loss_type, tokens.logps).sum()
        return {"loss": loss, "n": len(tokens.logps)}


def _plus(loss: torch.Tensor, router_loss: torch.Tensor | None) -> torch.Tensor:
    return loss if router_loss is None else loss + router_loss
