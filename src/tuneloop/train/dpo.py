"""The DPO recipe, from top to bottom."""

from __future__ import annotations

from typing import Any

import torch
from trl import DPOConfig, DPOTrainer

from tuneloop.artefacts.stage import StageContext, StageOutput
from tuneloop.config.train import DpoConfig, TrackingConfig
from tuneloop.train import session
from tuneloop.train.inputs import TrainInputs
from tuneloop.train.losses import Knobs, Pairs, preference_loss
from tuneloop.train.opening import open_run
from tuneloop.train.reference import add_reference
from tuneloop.train.setup import arguments, dataset, load_base, ordered
from tuneloop.train.trainers import ReferenceTrainer


def train_dpo(
    inputs: TrainInputs, config: DpoConfig, tracking: TrackingConfig, context: StageContext
) -> StageOutput:
    """Train, save and return; see `tuneloop.train.stage.dpo`."""
    run, tokens, validation = open_run("dpo", inputs, config, tracking, context)
    with session.tracking(run):
        trainer = DpoTrainer(
            model=load_base(run),
            args=arguments(run, DPOConfig),
            train_dataset=dataset(tokens),
            eval_dataset=dataset(validation),
            processing_class=run.tokenizer,
            # The base with an adapter of the right shape, not a loaded PeftModel: TRL would add
            # a second adapter `ref`, which its resume then mistakes for the policy.
            peft_config=run.peft_config(),
        )
        trainer.losses = dict(zip(config.loss_type, config.weights, strict=True))
        trainer.knobs = Knobs(config.beta, config.label_smoothing, config.discopop_tau)
        begun = session.begin(trainer, run)
        for part in (tokens, validation):
            add_reference(trainer, run, part, context)
        trainer.use_reference(ordered(run, tokens), dataset(validation))
        watcher = session.fit(trainer, run, tokens, context.progress)
        return session.finish(trainer, run, tokens, watcher, begun)


class DpoTrainer(ReferenceTrainer, DPOTrainer):  # type: ignore[misc]  # untyped library
    """DPO against log-probabilities of the reference that were computed once, up front."""

    reference_columns = ("ref_chosen_logps", "ref_rejected_logps")
    losses: dict[str, float]
    knobs: Knobs

    shares_prompts = True

    def pairs(self, model: Any, inputs: dict[str, Any]) -> tuple[Pairs, torch.Tensor | None]:
        """Return the pairs of a batch, chosen answers in its first half, and the router's loss."""
        tokens = self.answers(model, inputs)
        chosen, rejected = tokens.sums().chunk(2)
        n_chosen, n_rejected = tokens.counts().chunk(2)
        pairs = Pairs(
            chosen=chosen, rejected=rejected,
            ref_chosen=inputs["ref_chosen_logps"], ref_rejected=inputs["ref_rejected_logps"],
            n_chosen=n_chosen, n_rejected=n_rejected, weights=inputs.get("weight"),
        )  # fmt: skip
        return pairs, tokens.router_loss

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:  # fmt: skip
        """Return the mean loss of the pairs."""
        pairs, router_loss = self.pairs(model, inputs)
        loss = preference_loss(pairs, self.losses, self.knobs)
        margin = self.knobs.beta * pairs.margin
        self.note(**{"rewards/margins": margin, "rewards/accuracies": (margin > 0).float()})
        return loss if router_loss is None else loss + router_loss

    def validation_sums(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return the summed loss over pairs, how many rank their answers right, and how many."""
        pairs, _ = self.pairs(self.model, inputs)
        loss, n = preference_loss(pairs, self.losses, self.knobs), len(pairs.chosen)
        return {"loss": loss * n, "accuracy": (pairs.margin > 0).sum(), "n": n}
