"""Config that every training stage has: the adapter, the batches, the optimiser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from tuneloop.config.base import Address, Conflict, Section


def _targets(value: str | list[str]) -> str | list[str]:
    if isinstance(value, str) and value != "all-linear":
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"no pattern of layer names: {error}") from error
    if not value:
        raise ValueError("name at least one layer")
    return value


class LoraConfig(Section):
    """The adapter."""

    r: int = Field(default=16, ge=1)
    """Rank."""
    alpha: float = Field(default=32, gt=0)
    """Scale is alpha / r."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the adapter's input."""
    target_modules: Annotated[list[str] | str, AfterValidator(_targets)] = "all-linear"
    """Which layers get an adapter: `all-linear`, a list of their last names (`[q_proj, v_proj]`),
    or a pattern that a layer's whole name matches (`.*self_attn\\.(q|v)_proj`)."""
    modules_to_save: list[str] = Field(default_factory=list)
    """Layers trained whole and kept with the adapter, such as `embed_tokens` for new tokens; vLLM
    serves none, so the adapter is merged."""
    init: Literal["default", "gaussian", "pissa", "olora", "eva"] = "default"
    """Initialisation. `pissa` and `olora` move the base and are converted to a plain LoRA of
    twice the rank on saving; `eva` looks at the inputs of each layer on training rows first."""
    use_rslora: bool = False
    """Scale by alpha / sqrt(r) instead."""
    use_dora: bool = False
    """Weight-decomposed LoRA; vLLM cannot serve it as an adapter, so it is merged."""

    @property
    def moves_base(self) -> bool:
        """Whether the initialisation takes its part out of the base weights."""
        return self.init in ("pissa", "olora")

    @property
    def servable(self) -> bool:
        """Whether vLLM can load what is trained as an adapter."""
        return not (self.use_dora or self.modules_to_save)

    def conflicts(self) -> Iterator[Conflict]:
        """What PEFT refuses late, or takes and gets wrong."""
        named = self.target_modules if isinstance(self.target_modules, list) else []
        both = sorted(set(named) & set(self.modules_to_save))
        if both:
            yield Conflict(
                ("target_modules", "modules_to_save"),
                f"{', '.join(both)} cannot both get an adapter and be trained whole",
            )
        if "lm_head" in named:
            yield Conflict(
                ("target_modules",),
                "the loss reads the weights of lm_head itself, past an adapter: it would never be "
                "trained; put lm_head into modules_to_save",
            )
        if self.moves_base and (self.use_dora or self.modules_to_save):
            yield Conflict(
                ("init", "use_dora", "modules_to_save"),
                f"init {self.init} is converted to plain LoRA on saving, which use_dora and "
                "modules_to_save are not",
            )


class HoldoutConfig(Section):
    """General text that has nothing to do with the feedback: what training may not unlearn."""

    path: Address | None = None
    """JSON lines or Parquet, each row with `text`, or `prompt` and `completion`, or `messages`;
    None: forgetting is not measured."""
    max_rows: int | None = Field(default=200, ge=2)
    """Rows it is measured on, before and after (seeded sample); None: all."""
    max_length: int = Field(default=1024, ge=8)
    """Tokens per row; longer rows are left out and counted."""
    max_perplexity_ratio: float | None = Field(default=None, gt=0)
    """Perplexity after over before that is still fine, such as 1.05. Above it, by the upper end of
    the interval, the training says so and its `forgetting.json` holds it; nothing stops."""


class TrainerConfig(Section):
    """What all training stages share."""

    enabled: bool = True
    """Whether the stage runs."""
    adapter: Literal["lora", "full"] = "lora"
    """`lora` trains an adapter; `full` trains every weight and leaves a whole model. Weights and
    optimiser of `full` are in float32: 16 bytes a parameter; its lr is about a tenth of LoRA's."""
    lr: float = Field(gt=0)
    """Peak learning rate."""
    lr_ratio_b: float | None = Field(default=None, ge=1)
    """LoRA+: the B matrices learn at lr times this (16 in its paper); None: at lr."""
    optimiser: Literal["adamw", "paged_adamw_8bit"] = "adamw"
    """`paged_adamw_8bit` (bitsandbytes) takes 2 bytes a trained parameter instead of 8 and moves
    to host memory when the GPU is full; without a GPU, plain AdamW stands in and it says so."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the set."""
    max_steps: int | None = Field(default=None, gt=0)
    """Stop after exactly this many optimiser steps, whatever `epochs` says."""
    global_batch_size: int = Field(default=16, ge=1)
    """Rows per optimiser step, over all devices and accumulation."""
    micro_batch_size: int = Field(default=8, ge=1)
    """Rows per forward pass and device; accumulation follows from it. Long rows need fewer to fit
    in memory."""
    fill_tokens: int | None = Field(default=2048, ge=1)
    """Where packed rows are short, a forward pass takes twice, four times… `micro_batch_size`, as
    long as its longest rows together have no more tokens than this; None: never. On a CPU products
    of 500 to 1,200 rows run at two thirds of the rate of longer ones."""
    packing: bool = True
    """Lay rows end to end instead of padding them, and a prompt with two answers once. Switched
    off, and said so, for models that would mix the rows up."""
    max_length: int = Field(default=1024, ge=8)
    """Tokens per row; longer rows are dropped and counted, never cut inside an answer."""
    use_weights: bool = True
    """A row counts as much as the weight that set building gave it, relative to the mean weight of
    the training rows; false: every row counts the same. Validation rows always do."""
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
    gradient_checkpointing: bool | Literal["auto"] = "auto"
    """Recompute activations: less memory, about a third more time. `auto`: where the memory
    estimate says that it would not fit otherwise; the run says so."""
    deterministic: bool = False
    """On a GPU use deterministic kernels only, so that a resumed run repeats itself; slower. On
    CPU it always does."""
    dataloader_workers: int = Field(default=0, ge=0)
    """Processes that collate batches. Rows are tokenised beforehand, so 0 is as fast almost
    always."""
    spike_factor: float | None = Field(default=10.0, gt=1)
    """Stop, before the weights move, where the loss of a step is above this times the usual one
    (the median of the last `spike_window` steps, at least 1), and save the batch; None: never.
    10 is far outside what hard batches do."""
    spike_window: int = Field(default=50, ge=5)
    """Optimiser steps whose median is the usual loss."""
    holdout: HoldoutConfig | None = None
    """General rows to measure forgetting on, for this stage alone; None: `train.holdout`."""
    merge: bool | None = None
    """Also leave the merged model. None: where vLLM could not serve the adapter; false forbids
    it, and what only a merge can serve is refused before training."""
    lora: LoraConfig = LoraConfig()
    """The adapter. A stage that goes on from another one's adapter has that one's shape."""

    def written(self, name: str) -> bool:
        """Return whether a value was given that is not the default."""
        default = type(self).model_fields[name].get_default(call_default_factory=True)
        return name in self.model_fields_set and getattr(self, name) != default

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
        if self.quantisation == "nf4" and self.lora.moves_base:
            yield Conflict(
                ("lora.init", "quantisation"),
                f"lora.init {self.lora.init} moves the base weights, "
                "which quantisation nf4 freezes",
            )
        if self.merge is False and not self.lora.servable:
            yield Conflict(
                ("merge", "lora.use_dora", "lora.modules_to_save"),
                "vLLM serves no adapter with use_dora or modules_to_save, and merge is false: "
                "leave merge out",
            )
        if self.adapter == "full":
            yield from self._full_conflicts()

    def _full_conflicts(self) -> Iterator[Conflict]:
        if self.quantisation != "none":
            yield Conflict(
                ("adapter", "quantisation"),
                f"quantisation {self.quantisation} freezes the weights that adapter full trains",
            )
        ignored = [n for n in ("lora", "lr_ratio_b") if self.written(n)]
        ignored += ["merge"] if self.merge else []
        for name in ignored:
            yield Conflict(("adapter", name), f"adapter full would ignore {name}")
