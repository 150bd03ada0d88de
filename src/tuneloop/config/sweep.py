"""Config of a sweep: which keys are tried, how, and what is looked at."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from tuneloop.config.base import Conflict, Section
from tuneloop.config.train import METHODS, Method, TrainConfig

Value = bool | int | float | str | None

# What decides which validation rows there are; and what the validation loss is measured with.
_ROWS = ("max_length", "max_validation_rows")
_LOSS = ("loss_type", "loss_weights", "label_smoothing", "discopop_tau", "beta",
         "desirable_weight", "undesirable_weight")  # fmt: skip
_NO_TRIAL = ("enabled", "merge", "deterministic", "dataloader_workers")


class Dimension(Section):
    """What one key may be: a list of values, or a range."""

    values: list[Value] | None = Field(default=None, min_length=1)
    """The values to try."""
    low: float | None = None
    """Smallest value of a range."""
    high: float | None = None
    """Largest value of a range."""
    log: bool = False
    """Draw from a range by ratio, as suits learning rates."""
    integer: bool = False
    """Only whole numbers of a range."""

    def conflicts(self) -> Iterator[Conflict]:
        """Values or a range, and one that holds something."""
        ends = (self.low, self.high)
        if (self.values is None) == (ends == (None, None)):
            yield Conflict(("values", "low", "high"), "give values, or low and high")
        elif self.values is not None:
            if self.log or self.integer or ends != (None, None):
                yield Conflict(("values", "log", "integer"), "log and integer are for ranges")
            if len({repr(value) for value in self.values}) < len(self.values):
                yield Conflict(("values",), "values names one twice")
        elif self.low is None or self.high is None:
            yield Conflict(("low", "high"), "a range needs low and high")
        elif self.low >= self.high:
            yield Conflict(("low", "high"), "low must be below high")
        elif self.log and self.low <= 0:
            yield Conflict(("low", "log"), "a range by ratio begins above 0")
        elif self.integer and (self.low % 1 or self.high % 1):
            yield Conflict(("low", "high", "integer"), "whole numbers lie between whole numbers")


class SweepConfig(Section):
    """A sweep: trainings that differ in a few keys, compared on the validation part."""

    method: Literal["tpe", "random", "grid"] = "tpe"
    """`grid`: every combination of `values`. `random`: drawn. `tpe`: drawn where earlier trials
    were good (tree-structured Parzen estimator, Optuna)."""
    trials: int = Field(default=20, ge=1)
    """Trials of `tpe` and `random`; a grid has as many as it has combinations."""
    seed: int = Field(default=0, ge=0)
    """Seed of what is drawn; every trial trains with the run's own seed."""
    stage: Method | None = None
    """The training stage that is looked at; None: the last of the chain."""
    metric: Literal["loss", "accuracy"] = "loss"
    """On the validation part: its loss, or the share of rows whose answers DPO or KTO rank right.
    Never the golden set: what was chosen by it could not be judged by it."""
    space: dict[str, Dimension] = Field(min_length=1)
    """Keys of the run config (`train.sft.lr`), and what each may be."""

    def conflicts(self) -> Iterator[Conflict]:
        """The keys exist, trials can be compared, and a grid is one."""
        for key, dimension in self.space.items():
            where = (("space", key), "space")
            if reason := self._refusal(key):
                yield Conflict(where, f"{key}: {reason}")
            if self.method == "grid" and dimension.values is None:
                yield Conflict(where, f"{key}: a grid takes values, no range")
        if self.metric == "accuracy" and self.stage == "sft":
            yield Conflict(("metric", "stage"), "sft ranks no answers: it has no accuracy")

    def _refusal(self, key: str) -> str | None:
        """Return why a key cannot be swept."""
        parts = key.split(".")
        if parts[0] != "train" or len(parts) < 3 or parts[1] not in METHODS:
            return (
                "only keys of train.sft, train.dpo and train.kto can be swept; with others, "
                "trials would not be measured on the same validation rows"
            )
        if unknown := _unknown(parts):
            return unknown
        if parts[2] in _NO_TRIAL:
            return "changes nothing that the validation part could show"
        looked_at = self.stage is None or parts[1] == self.stage
        if parts[2] in _ROWS and looked_at:
            return "decides which validation rows there are: trials could not be compared"
        if parts[2] in _LOSS and looked_at and self.metric == "loss":
            return "is part of the loss that trials are compared by: take metric accuracy"
        return None


def _unknown(parts: list[str]) -> str | None:
    """Return what is wrong with a key of the run config that does not exist."""
    section: type[Section] = TrainConfig
    for depth, part in enumerate(parts[1:], start=1):
        if part not in section.model_fields:
            near = difflib.get_close_matches(part, section.model_fields, n=1, cutoff=0.6)
            valid = f"valid: {', '.join(section.model_fields)}"
            return f"no such key; {f'did you mean {near[0]!r}?' if near else valid}"
        below = section.model_fields[part].annotation
        if isinstance(below, type) and issubclass(below, Section):
            section = below
        elif depth < len(parts) - 1:
            return f"no such key: {'.'.join(parts[: depth + 1])} is a value"
        else:
            return None
    return "is a section: name its keys"
