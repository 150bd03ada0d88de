"""TRL's trainers, thinned: what is slow on small machines or wrong on resuming is replaced.

Shared by both (`FastTrainer`): loss-bearing positions only in the LM head, fused LoRA layers,
an exact validation loss that does not depend on the number of processes, checkpoints that are
marked complete, and no telemetry.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from transformers import Trainer
from trl import DPOTrainer, SFTTrainer
from trl.trainer.utils import FusedCausalLMOutput

from tuneloop.artefacts.digest import digest_file
from tuneloop.train import checkpoints, distributed
from tuneloop.train.adapter import WEIGHTS, keep_in_float32, load_adapter_weights
from tuneloop.train.fused import fuse_lora
from tuneloop.train.guard import Guard
from tuneloop.train.head import add_answer_head, supports_answer_head
from tuneloop.train.meter import Meter

# Computed by TRL from logits, which the answer head never makes.
_NEEDS_LOGITS = ("entropy", "mean_token_accuracy", "logits/chosen", "logits/rejected")


@contextlib.contextmanager
def _alone(accelerator: Any) -> Iterator[None]:
    """Keep TRL from gathering its metrics from all processes on every micro-batch.

    Losses are gathered elsewhere; these would cost a dozen exchanges a step, and hang where
    processes hold different numbers of validation batches.
    """
    if "gather" in vars(accelerator):  # within another such block
        yield
        return
    accelerator.gather = accelerator.gather_for_metrics = lambda tensors, *_, **__: tensors
    try:
        yield
    finally:
        del accelerator.gather, accelerator.gather_for_metrics


class FastTrainer(Trainer):  # type: ignore[misc]  # untyped library
    """What the SFT and DPO trainers share; stands before TRL's class."""

    answers_only = False
    guard: Guard | None = None
    meter: Meter | None = None
    fingerprint: Mapping[str, Any] = MappingProxyType({})
    start_digest = ""
    _step_loss: Any = 0.0

    def speed_up(self, *, start: Path | None = None) -> None:
        """Prepare the wrapped model; once, before training.

        Args:
            start: Adapter whose weights training begins from.
        """
        keep_in_float32(self.model)
        if start is not None:
            load_adapter_weights(self.model, start)
            self.start_digest = digest_file(start / WEIGHTS)
        base = self.model.get_base_model()
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        if not sharded and supports_answer_head(base):
            add_answer_head(base)
            self.answers_only = True
        if not sharded:
            fuse_lora(self.model)

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Run one micro-batch; count its positions, and its share of the step's loss."""
        if self.meter and "input_ids" in inputs:
            self.meter.computed(inputs["input_ids"].numel())
        loss = super().training_step(model, inputs, *args, **kwargs)
        self._step_loss = self._step_loss + loss
        return loss

    def _clip_grad_norm(self, model: Any) -> Any:
        """Clip, and stop where the step is not to be learned from: no weight has moved yet."""
        norm = super()._clip_grad_norm(model)
        loss, self._step_loss = self._step_loss, 0.0
        if self.guard:
            step, args = self.state.global_step + 1, self.args
            due = step % args.logging_steps == 0 or step % args.save_steps == 0
            flush = due or step >= self.state.max_steps
            self.guard.watch(step, loss=loss, grad_norm=norm, flush=flush)
        return norm

    def answer_log_probs(self, model: Any, input_ids: Any, labels: Any) -> torch.Tensor:
        """Return log-probabilities (N,) of the labelled tokens, through the wrapped model."""
        logps: torch.Tensor = model(input_ids=input_ids, labels=labels, answers_only=True)
        return logps

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Return the validation loss: the exact mean, on any number of processes."""
        self.model.eval()
        sums: dict[str, float] = {}
        for batch in self.validation_batches():
            inputs = self._prepare_inputs(self.data_collator(batch))
            with torch.no_grad(), _alone(self.accelerator):
                for name, value in self.validation_sums(inputs, len(batch)).items():
                    sums[name] = sums.get(name, 0.0) + value
        parts = distributed.gather([sums])
        total = {name: sum(p.get(name, 0.0) for p in parts) for name in parts[0]}
        n = total.pop("n")
        metrics = {f"eval_{name}": value / n for name, value in total.items()}
        self.log(metrics)
        self.control: Any = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def validation_batches(self) -> list[list[dict[str, Any]]]:
        """Return this process's share of the validation rows, in batches of like length."""
        rows = list(self.eval_dataset)
        size = self.args.per_device_eval_batch_size
        rows.sort(key=lambda row: sum(len(v) for v in row.values() if isinstance(v, list)))
        batches = [rows[i : i + size] for i in range(0, len(rows), size)]
        return batches[distributed.rank() :: distributed.world_size()]

    def validation_sums(self, inputs: dict[str, Any], n_rows: int) -> dict[str, float]:
        """Return summed losses of one batch and `n`, by what they are divided in the end."""
        raise NotImplementedError

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, without TRL's figures that would be made up here."""
        if self.answers_only:
            for metrics in self._metrics.values():
                for name in _NEEDS_LOGITS:
                    metrics.pop(name, None)
        if self.meter and "loss" in logs:
            logs |= self.meter.figures(self.state.global_step)
        super().log(logs, start_time)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        Trainer._save_checkpoint(self, model, trial)  # TRL's writes a model card each time
        distributed.barrier()  # each process saves its own random state
        if distributed.is_main_process():
            folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            recent = list(self.guard.recent) if self.guard else []
            facts = {"fingerprint": dict(self.fingerprint), "recent_losses": recent}
            checkpoints.mark_complete(folder, facts)

    def _send_telemetry(self) -> None:
        """Send nothing."""


class SftTrainer(FastTrainer, SFTTrainer):  # type: ignore[misc]  # untyped library
    """SFT on the answer's tokens; the loss is the mean over all of a global batch's."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:  # fmt: skip
        """Return the negative log-likelihood of the answers' tokens."""
        if not self.answers_only or return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        logps = self.answer_log_probs(model, inputs["input_ids"], inputs["labels"])
        n_tokens = len(logps) if num_items_in_batch is None else num_items_in_batch
        loss = -logps.sum() / n_tokens
        if num_items_in_batch is not None:  # of all processes; DDP takes the mean over them
            loss = loss * self.accelerator.num_processes
        return loss

    def validation_sums(self, inputs: dict[str, Any], n_rows: int) -> dict[str, float]:
        """Return the summed loss over the answer's tokens, and their number."""
        n = float((inputs["labels"][:, 1:] != -100).sum())
        return {"loss": float(self.compute_loss(self.model, inputs)) * n, "n": n}


class _AnswersOnly:
    """A model as TRL's DPO loss calls it, with zeros for what needs whole logits."""

    def __init__(self, trainer: FastTrainer, model: Any) -> None:
        self.trainer = trainer
        self.model = model

    def __call__(self, *, input_ids: Any, labels: Any, **_: Any) -> FusedCausalLMOutput:
        flat = self.trainer.answer_log_probs(self.model, input_ids, labels)
        mask = labels[:, 1:] != -100
        nothing = flat.new_zeros(mask.shape)
        return FusedCausalLMOutput(
            log_probs=nothing.masked_scatter(mask, flat),
            entropy=nothing,
            mean_logits=nothing,
            is_top1=torch.zeros_like(mask),
            label_mask=mask,
        )


class DpoTrainer(FastTrainer, DPOTrainer):  # type: ignore[misc]  # untyped library
    """DPO against log-probabilities of the reference that were computed once, up front."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset  # tokenised already

    def use_reference(self, train: Any, validation: Any) -> None:
        """Train on rows that carry the reference's log-probabilities."""
        self.train_dataset, self.eval_dataset = train, validation
        self.precompute_ref_logps = True

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        if self.answers_only and not return_outputs:
            model = _AnswersOnly(self, model)
        with _alone(self.accelerator):
            return super()._compute_loss(model, inputs, return_outputs)

    def validation_sums(self, inputs: dict[str, Any], n_rows: int) -> dict[str, float]:
        """Return the summed loss over pairs, how many rank their answers right, and how many."""
        loss = float(self.compute_loss(self.model, inputs)) * n_rows
        right = self._metrics["eval"]["rewards/accuracies"][-1] * n_rows
        self._metrics["eval"].clear()
        return {"loss": loss, "accuracy": right, "n": float(n_rows)}

    def reference_log_probs(self, inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return summed log-probabilities (B,), (B,) of chosen and rejected under the policy."""
        labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
        if self.answers_only:
            output = _AnswersOnly(self, self.model)(input_ids=inputs["input_ids"], labels=labels)
        else:
            output = self.model(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"],
                labels=labels, use_cache=False, fused_lm_head=True,
            )  # fmt: skip
        chosen, rejected = output.log_probs.sum(dim=1).chunk(2)
        return chosen, rejected
