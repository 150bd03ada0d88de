"""Config of training: the methods, their losses, and the order they are chained in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from tuneloop.config.base import Address, Conflict, Section
from tuneloop.config.trainer import HoldoutConfig, LoraConfig, TrainerConfig

__all__ = ["METHODS", "DpoConfig", "KtoConfig", "LoraConfig", "Method", "SftConfig",
           "TrackingConfig", "TrainConfig", "TrainerConfig"]  # fmt: skip

Method = Literal["sft", "dpo", "kto"]
METHODS: tuple[Method, ...] = ("sft", "dpo", "kto")


class SftConfig(TrainerConfig):
    """Supervised fine-tuning, loss on the answer only."""

    lr: float = Field(default=2e-4, gt=0)
    """Peak learning rate; 2e-4 suits LoRA on most models, small ones take 1e-3."""
    loss_type: Literal["nll", "dft"] = "nll"
    """`nll`: negative log-likelihood. `dft`: each token's times its own probability, so that
    what the model finds unlikely pulls less (dynamic fine-tuning)."""
    neftune_alpha: float | None = Field(default=None, gt=0)
    """NEFTune: uniform noise of this size on the embeddings while training (5 in its paper)."""


DpoLoss = Literal[
    "sigmoid", "hinge", "ipo", "robust", "exo_pair", "nca_pair", "bco_pair", "sppo_hard", "aot",
    "aot_unpaired", "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm",
]  # fmt: skip
SMOOTHED = ("robust", "exo_pair", "aot", "aot_unpaired")
"""The losses that read `label_smoothing`; the others would ignore it."""
SORTED = ("aot", "aot_unpaired")
"""The losses that compare the pairs of a batch with each other; no pair has a loss of its own."""


class DpoConfig(TrainerConfig):
    """Direct preference optimisation; its reference is what it starts from."""

    lr: float = Field(default=5e-6, gt=0)
    """Peak learning rate; far below SFT's."""
    beta: float = Field(default=0.1, gt=0)
    """Strength of the pull towards the reference."""
    loss_type: list[DpoLoss] = Field(default_factory=lambda: ["sigmoid"], min_length=1)  # type: ignore[arg-type]
    """Losses to add up; `sft` keeps the chosen answer likely."""
    loss_weights: list[float] | None = None
    """One weight per loss; None: all 1."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of pairs assumed flipped; read by `robust`, `exo_pair`, `aot` and `aot_unpaired`."""
    discopop_tau: float = Field(default=0.05, gt=0)
    """Temperature at which `discopop` goes from one of its two losses to the other."""

    @property
    def weights(self) -> list[float]:
        """One weight per loss."""
        return self.loss_weights or [1.0] * len(self.loss_type)

    def conflicts(self) -> Iterator[Conflict]:
        """Losses and their knobs fit together."""
        yield from super().conflicts()
        if len(set(self.loss_type)) < len(self.loss_type):
            yield Conflict(("loss_type",), "loss_type names a loss twice: give it a weight")
        if self.loss_weights is not None:
            if len(self.loss_weights) != len(self.loss_type):
                yield Conflict(
                    ("loss_weights", "loss_type"), "loss_weights needs one weight per loss_type"
                )
            if min(self.loss_weights, default=1) <= 0:
                yield Conflict(("loss_weights",), "loss_weights must be above 0")
        yield from self._ignored()
        for loss in ("exo_pair", "robust"):
            if loss in self.loss_type and not self.label_smoothing:
                why = "" if loss == "exo_pair" else " (without it, it is sigmoid)"
                yield Conflict(
                    ("label_smoothing", "loss_type"),
                    f"loss_type {loss} needs label_smoothing above 0, such as 1e-3{why}",
                )
        if self.use_weights and set(SORTED) & set(self.loss_type):
            yield Conflict(
                ("use_weights", "loss_type"),
                f"loss_type {' and '.join(SORTED)} sort the pairs of a batch, so that none has a "
                "weight of its own: set use_weights to false",
            )

    def _ignored(self) -> Iterator[Conflict]:
        """Yield the knobs that none of the losses reads."""
        losses, named = set(self.loss_type), ", ".join(self.loss_type)
        readers = {
            "label_smoothing": set(SMOOTHED),
            "discopop_tau": {"discopop"},
            "beta": set(DpoLoss.__args__) - {"sft"},  # type: ignore[attr-defined]
        }
        for knob, read_by in readers.items():
            if self.written(knob) and not losses & read_by:
                some = "every loss but sft" if knob == "beta" else ", ".join(sorted(read_by))
                yield Conflict(
                    (knob, "loss_type"), f"{knob} is read by {some}; {named} would ignore it"
                )


class KtoConfig(TrainerConfig):
    """Kahneman-Tversky optimisation: single answers called good or bad, without pairs."""

    enabled: bool = False
    """Whether the stage runs; the rules `build.rules.*.makes: [kto]` make its rows."""
    lr: float = Field(default=5e-6, gt=0)
    """Peak learning rate; far below SFT's."""
    global_batch_size: int = Field(default=32, ge=1)
    """Rows per optimiser step; the pull towards the reference is estimated on these, so that
    fewer than 8 make it noise."""
    loss_type: Literal["kto", "apo_zero_unpaired"] = "kto"
    """`apo_zero_unpaired` does without the estimate of the distance from the reference, and
    without the forward pass it costs."""
    beta: float = Field(default=0.1, gt=0)
    """Strength of the pull towards the reference."""
    desirable_weight: float = Field(default=1.0, gt=0)
    """Factor on the loss of good answers; with many fewer good than bad ones raise it, so that
    (weight times rows) of good over bad is between 1 and 4/3."""
    undesirable_weight: float = Field(default=1.0, gt=0)
    """Factor on the loss of bad answers."""

    def conflicts(self) -> Iterator[Conflict]:
        """The estimate needs other answers beside each."""
        yield from super().conflicts()
        if self.loss_type == "kto" and self.global_batch_size < 2:
            yield Conflict(
                ("global_batch_size", "loss_type"),
                "loss_type kto compares the answers of a batch: global_batch_size 2 at least",
            )


Tracker = Literal["wandb", "mlflow", "trackio", "tensorboard"]


class TrackingConfig(Section):
    """Where the loss curve also goes."""

    report_to: list[Tracker] = Field(default_factory=list)
    """Trackers, any number of them; the artefact holds the curve in any case. Beside loss and
    learning rate they get tokens per second, MFU, memory and padding."""
    project: str = Field(default="tuneloop", min_length=1)
    """Project (MLflow: experiment) at the tracker."""
    mode: Literal["offline", "online"] = "offline"
    """`offline` writes files to `folder` and sends nothing; `online` sends to where the tracker's
    own environment variables say (WANDB_API_KEY, MLFLOW_TRACKING_URI, TRACKIO_SPACE_ID)."""
    folder: Address | None = None
    """Where trackers write their files; None: `work/tracking` in the store."""

    def conflicts(self) -> Iterator[Conflict]:
        """A tracker is named once."""
        if len(set(self.report_to)) != len(self.report_to):
            yield Conflict(("report_to",), "report_to names a tracker twice")


class TrainConfig(Section):
    """The training stages; each can be switched off, and each goes on from the one before."""

    order: list[Method] = Field(default_factory=lambda: list(METHODS))
    """In which order the stages come; those that are not enabled are passed over."""
    sft: SftConfig = SftConfig()
    """Supervised fine-tuning."""
    dpo: DpoConfig = DpoConfig()
    """Preference optimisation."""
    kto: KtoConfig = KtoConfig()
    """Optimisation on single answers called good or bad."""
    holdout: HoldoutConfig = HoldoutConfig()
    """General rows that show what each training stage unlearns."""
    tracking: TrackingConfig = TrackingConfig()
    """Trackers."""

    @property
    def chain(self) -> list[Method]:
        """The stages that run, in order."""
        return [name for name in self.order if self.method(name).enabled]

    def method(self, name: Method) -> TrainerConfig:
        """Return a stage's section, with the holdout of all where it has none of its own."""
        section: TrainerConfig = getattr(self, name)
        if section.holdout is None and self.holdout.path is not None:
            return section.model_copy(update={"holdout": self.holdout})
        return section

    def conflicts(self) -> Iterator[Conflict]:
        """A chain is made of different stages, and its links fit."""
        if len(set(self.order)) < len(self.order):
            yield Conflict(("order",), "order names a stage twice")
        for name in METHODS:
            section = self.method(name)
            if name not in self.order and section.enabled and name in self.model_fields_set:
                yield Conflict(("order", f"{name}.enabled"), f"{name} is enabled and not in order")
        unsaid = "kto" in self.order and "enabled" not in self.kto.model_fields_set
        if unsaid and "order" in self.model_fields_set:
            yield Conflict(
                ("order", "kto.enabled"), "order names kto, which runs where kto.enabled is true"
            )
        yield from self._links()

    def _links(self) -> Iterator[Conflict]:
        """Yield what a stage asks for and its start decides already."""
        chain = self.chain
        for n, name in enumerate(chain[1:], start=1):
            here, first = self.method(name), self.method(chain[0])
            before = {self.method(other).adapter for other in chain[:n]}
            if here.adapter == "lora" and here.merge is False and "full" in before:
                yield Conflict(
                    (f"{name}.merge", f"{name}.adapter"),
                    f"{name} trains an adapter on a fully trained model, which only its merge can "
                    f"serve: leave {name}.merge out",
                )
            if before == {"lora"} and here.adapter == "lora":
                if here.written("lora") and here.lora != first.lora:
                    yield Conflict(
                        (f"{name}.lora", f"{chain[0]}.lora"),
                        f"{name} goes on with the adapter of {chain[0]} and would ignore its own "
                        f"{name}.lora: leave it out",
                    )
                if here.merge is False and not first.lora.servable:
                    yield Conflict(
                        (f"{name}.merge", f"{chain[0]}.lora"),
                        f"{name} goes on with the adapter of {chain[0]}, which only a merge can "
                        f"serve: leave {name}.merge out",
                    )
