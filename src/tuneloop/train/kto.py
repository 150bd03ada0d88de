"""The KTO recipe, from top to bottom."""

from __future__ import annotations

from typing import Any

import torch
from trl import KTOConfig, KTOTrainer

from tuneloop.artefacts.stage import StageContext, StageOutput
from tuneloop.config.train import KtoConfig, TrackingConfig
from tuneloop.train import session
from tuneloop.train.inputs import TrainInputs
from tuneloop.train.losses import kto_loss
from tuneloop.train.mismatch import with_mismatches
from tuneloop.train.opening import open_run
from tuneloop.train.reference import add_reference
from tuneloop.train.setup import arguments, dataset, load_base
from tuneloop.train.trainers import ReferenceTrainer


def train_kto(
    inputs: TrainInputs, config: KtoConfig, tracking: TrackingConfig, context: StageContext
) -> StageOutput:
    """Train, save and return; see `tuneloop.train.stage.kto`."""
    run, tokens, validation = open_run("kto", inputs, config, tracking, context)
    with session.tracking(run):
        trainer = KtoTrainer(
            model=load_base(run),
            # TRL's own estimate of the distance, on single micro-batches, is not used.
            args=arguments(run, KTOConfig, loss_type="apo_zero_unpaired"),
            train_dataset=dataset(tokens),
            eval_dataset=dataset(validation),
            processing_class=run.tokenizer,
            peft_config=run.peft_config(),
        )
        trainer.config = config
        begun = session.begin(trainer, run)

        def referenced(part: Any) -> None:
            add_reference(trainer, run, part, context)

        referenced(tokens)
        referenced(validation)
        trainer.use_reference(
            with_mismatches(run, tokens, run.order(tokens), referenced),
            with_mismatches(run, validation, None, referenced),
        )
        watcher = session.fit(trainer, run, tokens, context.progress)
        return session.finish(trainer, run, tokens, watcher, begun)


class KtoTrainer(ReferenceTrainer, KTOTrainer):  # type: ignore[misc]  # untyped library
    """KTO against log-probabilities of the reference that were computed once, up front.

    The distance from the reference is estimated on a whole global batch (TRL: on each
    micro-batch), so that the result does not depend on the micro-batch.
    """

    reference_columns = ("ref_logps",)
    config: KtoConfig
    distance: float = 0.0

    def losses(self, model: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return loss (B,), whether each answer is on its side of the distance (B,), and so on."""
        tokens, config, good = self.answers(model, inputs), self.config, inputs["label"]
        logratio = tokens.sums() - inputs["ref_logps"]
        loss = kto_loss(
            config.loss_type, logratio, good, beta=config.beta, distance=self.distance
        ) * torch.where(good, config.desirable_weight, config.undesirable_weight)
        right = (logratio > self.distance) == good
        return {"loss": loss, "right": right, "router_loss": tokens.router_loss}

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:  # fmt: skip
        """Return the mean loss of the answers."""
        found = self.losses(model, inputs)
        loss: torch.Tensor = (found["loss"] * inputs.get("weight", 1.0)).mean()
        self.note(**{"rewards/accuracies": found["right"].float()})
        return loss if found["router_loss"] is None else loss + found["router_loss"]

    def get_batch_samples(self, *args: Any) -> tuple[list[dict[str, Any]], Any]:
        """Return the micro-batches of one step, having measured the distance on all of them."""
        batches, n_items = super().get_batch_samples(*args)
        if batches and self.config.loss_type == "kto":
            found = [self.moved(self._prepare_inputs(batch)) for batch in batches]
            mean = torch.stack([one["moved"] for one in found]).sum() / sum(f["n"] for f in found)
            self.distance = max(self.accelerator.gather(mean).mean().item(), 0.0)
        return batches, n_items

    def before_validation(self) -> None:
        """Measure the distance on all validation rows."""
        if self.config.loss_type == "kto":
            total = self.sum_over(self.validation_batches(), self.moved)
            self.distance = max(total["moved"] / total["n"], 0.0)

    def moved(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return the summed log-ratio of the batch's mismatched answers, and how many."""
        mismatched = {k.removeprefix("KL_"): v for k, v in inputs.items() if k.startswith("KL_")}
        was_training = self.model.training
        self.model.eval()  # dropout would bias the distance, and draw numbers of the training's
        try:
            with torch.no_grad():
                logps = self.answers(self.model, mismatched).sums()
        finally:
            self.model.train(was_training)
        return {"moved": (logps - inputs["ref_KL_logps"]).sum(), "n": len(logps)}

    def validation_sums(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return the summed loss over answers, how many are on their side, and how many."""
        found = self.losses(self.model, inputs)
        loss, right = found["loss"], found["right"]
        return {"loss": loss.sum(), "accuracy": right.sum(), "n": len(loss)}
