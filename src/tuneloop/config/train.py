"""Config of training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from tuneloop.config.base import Conflict, Section


class LoraConfig(Section):
    """The adapter."""

    r: int = Field(default=16, ge=1)
    """Rank."""
    alpha: float = Field(default=32, gt=0)
    """Scale is alpha / r."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the adapter's input."""
    target_modules: list[str] | Literal["all-linear"] = "all-linear"
    """Which layers get an adapter."""
    init: Literal["default", "gaussian", "pissa", "olora"] = "default"
    """Initialisation; pissa and olora move the base and are converted to plain LoRA on saving."""
    use_rslora: bool = False
    """Scale by alpha / sqrt(r) instead."""
    use_dora: bool = False
    """Weight-decomposed LoRA; vLLM cannot serve it as an adapter, so it is merged."""


class TrainerConfig(Section):
    """What SFT and DPO share."""

    enabled: bool = True
    """Whether the stage runs."""
    lr: float = Field(gt=0)
    """Peak learning rate."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the set."""
    max_steps: int | None = Field(default=None, gt=0)
    """Stop after exactly this many optimiser steps, whatever `epochs` says."""
    global_batch_size: int = Field(default=16, ge=1)
    """Rows per optimiser step, over all devices and accumulation."""
    micro_batch_size: int = Field(default=8, ge=1)
    """Rows per forward pass and device; accumulation follows from it. Short rows (60 tokens) go
    faster 16 at a time, long ones need fewer to fit in memory."""
    max_length: int = Field(default=1024, ge=8)
    """Tokens per row; longer rows are dropped and counted, never cut inside an answer."""
    scheduler: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    """Learning-rate schedule."""
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Share of steps that warm up."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradient clipping."""
    logging_steps: int = Field(default=5, ge=1)
    """Optimiser steps between two points of the loss curve."""
    eval_steps: int = Field(default=50, ge=1)
    """Optimiser steps between two validation losses."""
    max_validation_rows: int | None = Field(default=200, ge=1)
    """Validation rows the loss is taken on (seeded sample), so that validating stays cheap on
    large sets; None: all."""
    save_steps: int = Field(default=50, ge=1)
    """Optimiser steps between two checkpoints."""
    early_stopping_patience: int | None = Field(default=None, ge=1)
    """Stop after this many validation losses without a better one, and keep the best adapter;
    None: never, and keep the last."""
    quantisation: Literal["none", "nf4"] = "none"
    """`nf4`: QLoRA, base in 4 bit with double quantisation (bitsandbytes)."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Compute type; `auto` probes the hardware."""
    gradient_checkpointing: bool = False
    """Recompute activations: less memory, about a third more time."""
    merge: bool = False
    """Also leave the merged model."""
    lora: LoraConfig = LoraConfig()
    """The adapter. DPO on an SFT adapter goes on with that one and does not read this."""

    def conflicts(self) -> Iterator[Conflict]:
        """What no trainer could do."""
        if self.global_batch_size % self.micro_batch_size:
            yield Conflict(
                ("global_batch_size", "micro_batch_size"),
                f"global_batch_size {self.global_batch_size} is not a multiple of "
                f"micro_batch_size {self.micro_batch_size}",
            )
        if self.early_stopping_patience and self.save_steps != self.eval_steps:
            yield Conflict(
                ("early_stopping_patience", "save_steps", "eval_steps"),
                "early_stopping_patience needs save_steps equal to eval_steps",
            )
        if self.quantisation == "nf4" and self.lora.init in ("pissa", "olora"):
            yield Conflict(
                ("lora.init", "quantisation"),
                f"lora.init {self.lora.init} moves the base weights, "
                "which quantisation nf4 freezes",
            )


class SftConfig(TrainerConfig):
    """Supervised fine-tuning, loss on the answer only."""

    lr: float = Field(default=2e-4, gt=0)
    """Peak learning rate; 2e-4 suits LoRA on most models, small ones take 1e-3."""


DpoLoss = Literal["sigmoid", "hinge", "ipo", "robust", "exo_pair", "apo_zero", "apo_down", "sft"]


class DpoConfig(TrainerConfig):
    """Direct preference optimisation on top of the SFT adapter, which is its reference."""

    lr: float = Field(default=5e-6, gt=0)
    """Peak learning rate; far below SFT's."""
    beta: float = Field(default=0.1, gt=0)
    """Strength of the pull towards the reference."""
    loss_type: list[DpoLoss] = Field(default_factory=lambda: ["sigmoid"])  # type: ignore[arg-type]
    """Losses to add up; `sft` keeps the chosen answer likely."""
    loss_weights: list[float] | None = None
    """One weight per loss; None: all 1."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of pairs assumed flipped; read by `robust` and `exo_pair` only."""

    def conflicts(self) -> Iterator[Conflict]:
        """Losses and their knobs fit together."""
        yield from super().conflicts()
        if self.loss_weights is not None and len(self.loss_weights) != len(self.loss_type):
            yield Conflict(
                ("loss_weights", "loss_type"), "loss_weights needs one weight per loss_type"
            )
        smoothing = ("label_smoothing", "loss_type")
        if self.label_smoothing and not {"robust", "exo_pair"} & set(self.loss_type):
            yield Conflict(
                smoothing,
                "label_smoothing is read by loss_type robust and exo_pair only; "
                f"{', '.join(self.loss_type)} would ignore it",
            )
        if "exo_pair" in self.loss_type and not self.label_smoothing:
            yield Conflict(
                smoothing, "loss_type exo_pair needs label_smoothing above 0, such as 1e-3"
            )


class TrackingConfig(Section):
    """Where the loss curve also goes."""

    report_to: list[Literal["wandb"]] = Field(default_factory=list)
    """Trackers; the artefact holds the curve in any case."""
    project: str = "tuneloop"
    """Project name at the tracker."""
    mode: Literal["offline", "online"] = "offline"
    """`offline` writes to the work folder and sends nothing."""


class TrainConfig(Section):
    """The two training stages; either can be switched off."""

    sft: SftConfig = SftConfig()
    """Supervised fine-tuning."""
    dpo: DpoConfig = DpoConfig()
    """Preference optimisation."""
    tracking: TrackingConfig = TrackingConfig()
    """Trackers."""
