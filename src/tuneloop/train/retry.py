"""Out of memory: once more with half the rows in a forward pass, the rest as it was."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from tuneloop.artefacts.stage import Progress, StageOutput
from tuneloop.config.trainer import TrainerConfig
from tuneloop.errors import TrainingError
from tuneloop.train import distributed

C = TypeVar("C", bound=TrainerConfig)

# What PyTorch, oneDNN and the C++ library say on a CPU; all of them are plain RuntimeErrors.
_SAYS = ("can't allocate memory", "not enough memory", "could not create a memory",
         "could not create a primitive", "bad_alloc", "out of memory")  # fmt: skip
_HINT = (
    "lower max_length, set gradient_checkpointing to true, or on a GPU quantisation to nf4; "
    "`tuneloop plan` says what each of them would take"
)


def train_within_memory(
    train: Callable[[C], StageOutput], config: C, progress: Progress, *, where: str
) -> StageOutput:
    """Return what `train` gives; where memory runs out, with half the micro-batch, and so on.

    Twice as many forward passes make up the same global batch, so rows, their order and the
    loss curve stay as they are, but for the rounding of sums. Training goes on from its newest
    checkpoint, or begins again. With several processes nothing is tried again: the others would
    wait for the one that failed.

    Args:
        train: Trains under a config.
        config: As it was asked for.
        progress: Told about every retry.
        where: The stage's name.

    Raises:
        TrainingError: if a single row is too much, or there are several processes.
    """
    asked = config.micro_batch_size
    while True:
        try:
            output = train(config)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
        else:
            return _noted(output, asked, config.micro_batch_size)
        smaller = _halved(config)
        if smaller is None or distributed.world_size() > 1:
            raise TrainingError(
                f"out of memory with micro_batch_size {config.micro_batch_size} ({said[:200]})",
                where=where,
                hint=_HINT if smaller is None else f"set micro_batch_size lower; or {_HINT}",
            )
        progress.say(
            f"{where}: out of memory with micro_batch_size {config.micro_batch_size}; again with "
            f"{smaller.micro_batch_size} and twice as many forward passes, the global batch stays "
            f"{config.global_batch_size}"
        )
        config = smaller
        _release()


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on a GPU or on a CPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _SAYS)


def _halved(config: C) -> C | None:
    """Return the config with the largest smaller micro-batch that shares out the global batch."""
    micro = config.micro_batch_size // 2
    while micro > 0 and config.global_batch_size % micro:
        micro -= 1
    if micro < 1:
        return None
    return config.model_copy(update={"micro_batch_size": micro, "fill_tokens": None})


def _noted(output: StageOutput, asked: int, used: int) -> StageOutput:
    """Return the output with the micro-batch that fitted among its details, not in its files."""
    if used == asked:
        return output
    return replace(output, details={**output.details, "micro_batch_size": used})


def _release() -> None:
    """Give back what the failed try held."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
