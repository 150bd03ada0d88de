"""Stopping before a bad batch harms the weights: a loss that is no number, or a spike."""

from __future__ import annotations

import json
import math
import statistics
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tuneloop.errors import TrainingError
from tuneloop.train.rows import TokenRows

# Losses below this are noise: a jump from 0.01 to 0.2 is a hard row, not a divergence.
FLOOR = 1.0
LEAST = 5
"""Steps that must lie behind before a spike can be told from the beginning."""


class BadStep(Exception):
    """The loss or the gradient of one optimiser step cannot be learned from."""

    def __init__(self, step: int, reason: str) -> None:
        self.step = step
        self.reason = reason
        super().__init__(reason)


class Guard:
    """Looks at the loss and the gradient of every optimiser step before the weights move.

    Args:
        factor: A spike is a loss above this times the median of the last steps (at least
            `FLOOR`); None looks for no spikes.
        window: How many steps the median is over.
        later: Look only where `flush` says so, since each look waits for the GPU.
    """

    def __init__(self, *, factor: float | None, window: int, later: bool = False) -> None:
        self.factor = factor
        self.later = later
        self.recent: deque[float] = deque(maxlen=window)
        self._waiting: list[tuple[int, Any, Any]] = []

    def watch(self, step: int, *, loss: Any, grad_norm: Any, flush: bool = True) -> None:
        """Take in one step's loss and gradient norm, numbers or scalar tensors.

        Raises:
            BadStep: for the first step whose loss or gradient is no number, or is a spike.
        """
        self._waiting.append((step, loss, grad_norm))
        if flush or not self.later:
            waiting, self._waiting = self._waiting, []
            for number, value, norm in waiting:
                self._look(number, float(value), float(norm))

    def _look(self, step: int, loss: float, grad_norm: float) -> None:
        if not math.isfinite(loss):
            raise BadStep(step, f"the loss is {loss}")
        if not math.isfinite(grad_norm):
            raise BadStep(step, f"the loss is {loss:.4f} and its gradient is {grad_norm}")
        if self.factor is not None and len(self.recent) >= LEAST:
            usual = max(statistics.median(self.recent), FLOOR)
            if loss > self.factor * usual:
                raise BadStep(
                    step,
                    f"the loss jumped to {loss:.4f}, more than {self.factor:g} times the usual "
                    f"{usual:.4f}",
                )
        self.recent.append(loss)


def stop_with_batch(
    bad: BadStep, tokens: TokenRows, batch: list[int], *, folder: Path, decode: Callable[..., str]
) -> TrainingError:
    """Save the rows of a bad step, and return the error that names them.

    Args:
        bad: What happened.
        tokens: The training rows.
        batch: Numbers of the rows of that step.
        folder: Where to.
        decode: From token ids to text.
    """
    path = folder / f"bad-batch-step-{bad.step}.json"
    rows = [_row(tokens, row, decode) for row in batch]
    partial = path.with_suffix(".partial")
    body = {"step": bad.step, "reason": bad.reason, "rows": rows}
    partial.write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)
    names = ", ".join(str(row["row_id"]) for row in rows[:8]) + (" …" if len(rows) > 8 else "")
    spike = "jumped" in bad.reason
    return TrainingError(
        f"{bad.reason} at step {bad.step}; its {len(rows)} rows ({names}) are in {path}",
        where="train",
        hint=("look at them; lower lr, or raise spike_factor (null: never stop for a spike)"
              if spike else "look at them; lower lr, or set precision to fp32")
        + ". The weights were not moved by them: the last checkpoint is good",
    )  # fmt: skip


def _row(tokens: TokenRows, row: int, decode: Callable[..., str]) -> dict[str, Any]:
    """Return a row for people: its id, its token ids, and each sequence of them as text."""
    ids = tokens.rows[row]
    text = {
        name: decode(values)
        for name, values in ids.items()
        if isinstance(values, list) and name.endswith("ids")
    }
    return {"row_id": tokens.id_of(row), "tokens": ids, "text": text}
