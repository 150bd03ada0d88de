"""TRL's trainers, thinned: what is slow on small machines or wrong on resuming is replaced.

What the trainers of `sft.py`, `dpo.py` and `kto.py` share: rows without padding, prompts of pairs
laid once, loss-bearing positions only in the LM head, fused LoRA layers, an exact validation loss
that does not depend on the number of processes, checkpoints that are marked complete, and no
telemetry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from transformers import Trainer

from tuneloop.train import checkpoints, distributed
from tuneloop.train.adapter import keep_in_float32, load_adapter_weights
from tuneloop.train.attention import has_varlen
from tuneloop.train.fused import fuse_lora
from tuneloop.train.guard import Guard
from tuneloop.train.head import add_answer_head, batch_to, mixes_rows, supports_answer_head
from tuneloop.train.meter import Meter
from tuneloop.train.norms import fuse_norms
from tuneloop.train.packing import Batch, pack, pad
from tuneloop.train.rows import IGNORED
from tuneloop.train.sharding import in_step, shard


@dataclass(frozen=True)
class AnswerTokens:
    """Log-probabilities of the N learned tokens of B rows."""

    logps: torch.Tensor
    """(N,), float32."""
    row: torch.Tensor
    """(N,), the row each belongs to."""
    n_rows: int
    router_loss: torch.Tensor | None = None
    """Load balance of a mixture of experts, weighted as the model's config says."""

    def sums(self) -> torch.Tensor:
        """Return the log-probability (B,) of each row's answer."""
        return self.logps.new_zeros(self.n_rows).index_add(0, self.row, self.logps)

    def counts(self) -> torch.Tensor:
        """Return the learned tokens (B,) of each row."""
        return torch.bincount(self.row, minlength=self.n_rows)


class Weighing:
    """A collator that hands on the weights of rows that have one, as `weight` (B,)."""

    def __init__(self, collator: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> None:
        self.collator = collator

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch of the rows."""
        plain = [{k: v for k, v in row.items() if k != "weight"} for row in rows]
        batch = self.collator(plain)
        if "weight" in rows[0]:
            batch["weight"] = torch.tensor([row["weight"] for row in rows])
        return batch


class FastTrainer(Trainer):  # type: ignore[misc]  # untyped library
    """What the trainers share; stands before TRL's class."""

    answers_only = False
    packs = False
    why_padded: str | None = None
    """Why rows are not laid end to end."""
    shares_prompts = False
    """Whether rows n and n + B/2 of a batch answer the same prompt."""
    guard: Guard | None = None
    meter: Meter | None = None
    fingerprint: Mapping[str, Any] = MappingProxyType({})
    _step_loss: Any = 0.0
    lr_ratio_b: float | None = None

    def speed_up(self, *, packing: bool, start: Path | None = None) -> None:
        """Prepare the wrapped model; once, before training.

        Args:
            packing: Whether rows may be laid end to end, where the model keeps them apart.
            start: Adapter whose weights training begins from.
        """
        keep_in_float32(self.model)
        if start is not None:
            load_adapter_weights(self.model, start)
        self.data_collator: Any = Weighing(self.data_collator)
        whole = not hasattr(self.model, "peft_config")
        base = self.model if whole else self.model.get_base_model()
        # ZeRO's weights are not there in full, under autocast they change their type.
        plain = not (self.is_deepspeed_enabled or self.args.bf16)
        if plain and not self.aux_loss_enabled and supports_answer_head(base):
            add_answer_head(base)
            self.answers_only = True
        if plain and not whole:
            fuse_lora(self.model)
            if not self.is_fsdp_enabled:  # a fused norm holds its weight, which is sharded there
                fuse_norms(self.model)
        why_padded = self._why_padded(base) if packing else "packing is off"
        self.why_padded = distributed.gather([why_padded])[0]  # only rank 0 may have weights yet
        self.packs = self.why_padded is None
        if self.is_fsdp_enabled:
            shard(self.accelerator, self.model)
        elif self.is_deepspeed_enabled and not distributed.shards():
            self.model.to(self.args.device)  # the reference is taken before DeepSpeed begins

    def _why_padded(self, base: Any) -> str | None:
        if not self.answers_only:
            return "its loss needs more of the model than the answer head"
        if getattr(self.args, "neftune_noise_alpha", None):
            return "NEFTune's noise goes by the length of a row"
        return mixes_rows(base)

    def _batch(self, inputs: dict[str, Any], labels: Any) -> Batch:
        """Return rows (B, T) as the model is given them."""
        if not self.packs:
            return batch_to(pad(inputs["input_ids"].cpu(), labels.cpu()), labels.device)
        packed = pack(
            inputs["input_ids"].cpu(), inputs["attention_mask"].sum(dim=1), labels.cpu(),
            pairs=self.shares_prompts, varlen=has_varlen(labels.device, self.model.dtype),
        )  # fmt: skip
        if self.meter and self.model.training:
            self.meter.computed(packed["input_ids"].numel())
        return batch_to(packed, labels.device)

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Run one micro-batch; count its positions, and its share of the step's loss."""
        if self.meter and not self.packs and "input_ids" in inputs:
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

    def answer_tokens(self, model: Any, inputs: dict[str, Any], labels: Any) -> AnswerTokens:
        """Return the log-probabilities of the labelled tokens, through the wrapped model.

        Args:
            model: The model, wrapped for several processes or not.
            inputs: `input_ids` and `attention_mask`, (B, T) each.
            labels: (B, T), -100 where nothing is learned.
        """
        wanted = labels[:, 1:] != IGNORED
        rows, n_rows = wanted.nonzero()[:, 0], len(wanted)
        if self.answers_only:
            logps = model(batch=self._batch(inputs, labels))
            return AnswerTokens(logps, rows, n_rows)
        router = {"output_router_logits": True} if self.aux_loss_enabled else {}
        output = model(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], labels=labels,
            use_cache=False, fused_lm_head=True, **router,
        )  # fmt: skip
        router_loss = self.router_aux_loss_coef * output.aux_loss if router else None
        return AnswerTokens(output.log_probs[wanted].float(), rows, n_rows, router_loss)

    def create_optimizer(self, model: Any = None) -> Any:
        """Return the optimiser; for LoRA+ the B matrices learn at a rate of their own."""
        if self.lr_ratio_b is None or self.optimizer is not None:
            return super().create_optimizer(model)
        from peft.optimizers import create_loraplus_optimizer

        cls, kwargs = self.get_optimizer_cls_and_kwargs(self.args, self.model)
        self.optimizer: Any = create_loraplus_optimizer(
            self.model, cls, loraplus_lr_ratio=self.lr_ratio_b,
            loraplus_weight_decay=self.args.weight_decay, **kwargs,
        )  # fmt: skip
        return self.optimizer

    def note(self, **figures: torch.Tensor) -> None:
        """Keep figures of a training step for the trackers; they are read when it is logged."""
        if self.model.training:
            for name, value in figures.items():
                self._metrics["train"][name].append(value.detach())

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Return the validation loss: the exact mean, on any number of processes."""
        self.model.eval()
        self.before_validation()
        total = self.sum_over(self.validation_batches(), self.validation_sums)
        n = total.pop("n")
        metrics = {f"eval_{name}": value / n for name, value in total.items()}
        self.log(metrics)
        self.control: Any = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def sum_over(
        self, batches: list[list[dict[str, Any]]], sums_of: Callable[[dict[str, Any]], Any]
    ) -> dict[str, float]:
        """Return figures of this process's batches, summed over those of all processes."""
        sums: dict[str, float] = {}
        for batch, counts in in_step(batches):
            with torch.no_grad():
                found = sums_of(self._prepare_inputs(self.data_collator(batch)))
            for name, value in found.items() if counts else ():
                sums[name] = sums.get(name, 0.0) + float(value)
        parts = distributed.gather([sums])
        return {
            name: sum(part.get(name, 0.0) for part in parts)
            for name in sorted({name for part in parts for name in part})
        }

    def before_validation(self) -> None:
        """Find out what the validation loss of a row takes from the other rows."""

    def validation_batches(self) -> list[list[dict[str, Any]]]:
        """Return this process's share of the validation rows, in batches of like length."""
        rows = list(self.eval_dataset)
        size = self.args.per_device_eval_batch_size
        rows.sort(key=lambda row: sum(len(v) for v in row.values() if isinstance(v, list)))
        batches = [rows[i : i + size] for i in range(0, len(rows), size)]
        return batches[distributed.rank() :: distributed.world_size()]

    def validation_sums(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return summed losses of one batch and `n`, by what they are divided in the end."""
        raise NotImplementedError

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the mean of each figure noted since the last time."""
        noted = self._metrics["train"]
        for name in list(noted):
            noted[name] = [float(torch.stack(noted[name]).mean())]
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

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset  # tokenised already


class ReferenceTrainer(FastTrainer):
    """What the trainers share whose loss looks at how far answers moved from a reference."""

    reference_columns: tuple[str, ...] = ()
    """The reference's log-probabilities of a row's answers."""

    def use_reference(self, train: Any, validation: Any) -> None:
        """Train on rows that carry the reference's log-probabilities."""
        self.train_dataset, self.eval_dataset = train, validation

    def answers(self, model: Any, inputs: dict[str, Any]) -> AnswerTokens:
        """Return the log-probabilities of a batch's answers, all of whose tokens are learned."""
        labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, IGNORED)
        return self.answer_tokens(model, inputs, labels)

    def reference_log_probs(self, inputs: dict[str, Any]) -> torch.Tensor:
        """Return log-probabilities (rows, columns) of answers, the policy standing as reference."""
        with self.accelerator.autocast():  # as in training, for which nothing is prepared yet
            sums = self.answers(self.model, inputs).sums()
        return torch.stack(sums.chunk(len(self.reference_columns)), dim=1)

    def _precompute_ref_logps(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset  # `tuneloop.train.reference` does it
