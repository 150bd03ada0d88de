"""What happens between steps: progress, when to log and evaluate, and the loss curve."""

from __future__ import annotations

import math
import time
from typing import Any

from transformers import TrainerCallback

from tuneloop.artefacts.stage import Progress
from tuneloop.errors import TrainingError
from tuneloop.train.meter import Meter


class Watcher(TrainerCallback):  # type: ignore[misc]  # untyped library
    """Drives the progress bar, and keeps the curve the same however often a run was resumed."""

    def __init__(self, progress: Progress, *, name: str, meter: Meter | None = None) -> None:
        self.progress = progress
        self.name = name
        self.meter = meter
        self.started = 0.0
        self.seconds = 0.0
        self.first_step = 0
        self.loss = math.nan
        self.said_at = -1

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the bar where training stands."""
        self.progress.start(self.name, total=state.max_steps)
        self.first_step = self.said_at = state.global_step
        if state.global_step:
            self.progress.say(f"{self.name}: resumed at step {state.global_step}")
            self.progress.advance(state.global_step)
        self.started = time.monotonic()
        if self.meter:
            self.meter.start(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count the step; log wherever a checkpoint is saved.

        The trainer's running loss is not in its checkpoints. A point of the curve at each of
        them means that nothing is lost.
        """
        self.progress.advance()
        if state.global_step >= state.max_steps and args.eval_strategy != "no":
            control.should_evaluate = True  # of what is kept there is a validation loss
        if control.should_save or control.should_evaluate:
            control.should_log = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Say, ten times a run, how far it is and how fast it goes."""
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        self.loss = loss
        if state.global_step - self.said_at >= max(1, state.max_steps // 10):
            self.said_at = state.global_step
            speed = self.meter.line() if self.meter else ""
            self.progress.say(
                f"{self.name} step {state.global_step}/{state.max_steps}: loss {loss:.4f}, "
                f"{speed}{', ' if speed else ''}{self._left(state)} left"
            )

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any
    ) -> None:
        """Say the validation loss.

        Raises:
            TrainingError: if it is no number.
        """
        loss, at = metrics["eval_loss"], f"step {state.global_step}/{state.max_steps}"
        if not math.isfinite(loss):
            raise TrainingError(
                f"the validation loss is {loss} at {at}",
                where=self.name,
                hint="lower lr, or set precision to fp32; the checkpoints before are good",
            )
        self.progress.say(f"{self.name} {at}: validation loss {loss:.4f}")

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """End the bar."""
        self.seconds = time.monotonic() - self.started
        self.progress.done(f"{state.global_step} steps, loss {self.loss:.4f}")

    def _left(self, state: Any) -> str:
        per_step = (time.monotonic() - self.started) / (state.global_step - self.first_step)
        seconds = per_step * (state.max_steps - state.global_step)
        return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def history(log: list[dict[str, Any]]) -> dict[str, list[dict[str, float]]]:
    """Return the loss curves of a trainer's log, without anything that measures time."""
    train, validation = [], []
    for entry in log:
        if "loss" in entry:
            train.append(
                {"step": entry["step"], "loss": entry["loss"], "lr": entry["learning_rate"]}
                | {k: entry[k] for k in ("grad_norm",) if k in entry}
            )
        elif "eval_loss" in entry:
            point = {"step": entry["step"], "loss": entry["eval_loss"]}
            if "eval_accuracy" in entry:
                point["accuracy"] = entry["eval_accuracy"]
            validation.append(point)
    return {"train": train, "validation": validation}
