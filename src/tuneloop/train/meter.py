"""How fast a training goes, live: tokens, share of the machine, memory and padding."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from tuneloop.train.rows import TokenRows, n_learned

# A token costs two FLOP a weight forward and two for the gradient by the activations; the
# gradient by the weights costs two more, for those that are trained.
FLOP_FROZEN, FLOP_TRAINED = 4, 6
# So long a training must have run before the machine is measured for it.
WORTH_MEASURING_S = 10.0


class Meter:
    """Counts what passes between two points of the loss curve.

    Args:
        tokens: (real, loss-bearing) tokens of each row, in the order of training.
        batch: Rows per optimiser step.
        flop_per_token: 4N for adapters on N frozen weights, 6N for full fine-tuning.
        roofline: Returns the machine's rate of matrix products, FLOP/s.
        processes: How many share the work.
    """

    def __init__(
        self,
        tokens: tuple[Sequence[int], Sequence[int]],
        *,
        batch: int,
        flop_per_token: float,
        roofline: Callable[[], float],
        processes: int = 1,
    ) -> None:
        self._real, self._loss = ([0, *accumulate(part)] for part in tokens)
        self._batch = batch
        self._flop_per_token = flop_per_token
        self._roofline = roofline
        self._processes = processes
        self._positions = 0
        self.last: dict[str, float] = {}
        self.start(0)

    def start(self, step: int) -> None:
        """Begin to count at a step."""
        self._begun = self._since = time.monotonic()
        self._step = step
        self._positions = 0

    def computed(self, positions: int) -> None:
        """Count positions the model was run on, padding included, in this process."""
        self._positions += positions

    def figures(self, step: int) -> dict[str, float]:
        """Return what happened since the last call; empty where no step was done.

        Returns:
            `tokens_per_s` (real ones), `loss_tokens_per_s`, `padding_fraction`, `memory_gib`, and
            `mfu` (of the measured rate) once the training is worth measuring for.
        """
        seconds = time.monotonic() - self._since
        real = self._between(self._real, step)
        if step <= self._step or seconds <= 0 or not real:
            return {}
        found = {
            "tokens_per_s": real / seconds,
            "loss_tokens_per_s": self._between(self._loss, step) / seconds,
            "memory_gib": memory_gib(),
        }
        positions = self._positions * self._processes
        if positions:
            found["padding_fraction"] = max(0.0, 1 - real / positions)
        if time.monotonic() - self._begun >= WORTH_MEASURING_S:
            found["mfu"] = found["tokens_per_s"] * self._flop_per_token / self._roofline()
        self._since, self._step, self._positions = time.monotonic(), step, 0
        self.last = found
        return found

    def line(self) -> str:
        """Return the newest figures for people, empty before there are any."""
        if not self.last:
            return ""
        said = [f"{self.last['tokens_per_s']:,.0f} tokens/s "
                f"({self.last['loss_tokens_per_s']:,.0f} bear loss)"]  # fmt: skip
        if "mfu" in self.last:
            said.append(f"MFU {self.last['mfu']:.0%}")
        said.append(f"{self.last['memory_gib']:.1f} GiB")
        if "padding_fraction" in self.last:
            said.append(f"padding {self.last['padding_fraction']:.0%}")
        return ", ".join(said)

    def _between(self, sums: Sequence[int], step: int) -> int:
        last = len(sums) - 1
        return sums[min(step * self._batch, last)] - sums[min(self._step * self._batch, last)]


def token_counts(tokens: TokenRows, order: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the (real, loss-bearing) tokens of rows in an order."""
    lengths, bearing = tokens.lengths, [n_learned(row) for row in tokens.rows]
    return [lengths[row] for row in order], [bearing[row] for row in order]


def flop_per_token(model: Any) -> float:
    """Return the FLOP a token costs in a model, by how many of its weights are trained.

    Source: the usual 2N forward and 2N or 4N backward, attention's own products left out.
    """
    n, n_trained = 0, 0
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            continue
        size = _weights_of(parameter)
        n += size
        n_trained += size if parameter.requires_grad else 0
    return float(FLOP_FROZEN * n + (FLOP_TRAINED - FLOP_FROZEN) * n_trained)


def memory_gib() -> float:
    """Return the peak memory so far, GiB: of the GPU where there is one, else resident."""
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated() / 1024**3)
    from tuneloop.runtime.environment import peak_memory_gib

    return peak_memory_gib()


def _weights_of(parameter: Any) -> int:
    """Return how many weights a parameter holds; packed 4-bit ones hold two a byte."""
    state = getattr(parameter, "quant_state", None)
    shape = getattr(state, "shape", None)
    return int(shape.numel()) if shape is not None else int(parameter.numel())
