"""Training whose weights are sharded over the processes (FSDP2): when it begins, and its end.

accelerate shards a model when training begins. That is too late for what happens before, such as
the reference's log-probabilities, and what is saved is gathered from all processes.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from tuneloop.errors import TrainingError
from tuneloop.train import distributed

T = TypeVar("T")


def check_sharding(trainer: Any, *, init: Any, compares: bool) -> None:
    """Raise TrainingError where sharding is asked for in a way that does not train right.

    Args:
        trainer: Whose accelerator knows what was asked for.
        init: The adapter's initialisation; None: there is no adapter.
        compares: Whether the method compares with a reference, taken before training.
    """
    if not distributed.shards():
        return
    hint = "configs/accelerate/fsdp2.yaml is a config that works"
    if trainer.is_deepspeed_enabled and compares:
        raise TrainingError(
            "ZeRO 3 has no model to take the reference from before training begins",
            where="accelerate launch",
            hint=hint,
        )
    if trainer.is_fsdp_enabled and trainer.accelerator.state.fsdp_plugin.fsdp_version != 2:
        raise TrainingError(
            "FSDP 1 cannot hold an adapter in float32 beside its base in 16 bit",
            where="accelerate launch",
            hint=hint,
        )
    if init == "eva":
        raise TrainingError(
            "lora.init eva looks at the whole model, which is sharded",
            where="lora.init",
            hint="take another init, or DDP where the model fits one device",
        )


def shard(accelerator: Any, model: Any) -> None:
    """Shard a model in place over all processes, on the device each of them trains on."""
    from accelerate.utils.fsdp_utils import fsdp2_prepare_model

    fsdp2_prepare_model(accelerator, model)
    model.to(accelerator.device)  # buffers, and a base in 4 bit, which is not sharded


def whole_weights(model: Any, *, trained_only: bool) -> dict[str, Any]:
    """Return weights by name on the CPU, gathered; a call of every process, {} on all but rank 0.

    Args:
        model: Sharded.
        trained_only: Leave out what is frozen, which may not fit one machine.
    """
    from torch.distributed.tensor import DTensor

    found: dict[str, Any] = {}
    persistent = set(model.state_dict()) if not trained_only else set()
    buffers = ((n, b) for n, b in model.named_buffers() if n in persistent)
    for name, value in itertools.chain(model.named_parameters(), buffers):
        if trained_only and not value.requires_grad:
            continue
        with _gathered(value):
            whole = value.full_tensor() if isinstance(value, DTensor) else value
            if distributed.is_main_process():
                found[name] = whole.detach().cpu().clone().contiguous()
    return found


@contextlib.contextmanager
def _gathered(value: Any) -> Iterator[None]:
    """Have a weight in full inside the block where ZeRO holds a part of it."""
    if not hasattr(value, "ds_id"):
        yield
        return
    from deepspeed.zero import GatheredParameters

    with GatheredParameters([value], modifier_rank=None):
        yield


def in_step(batches: Sequence[T]) -> Iterator[tuple[T, bool]]:
    """Yield this process's batches, as many on each: (batch, whether it counts).

    A forward pass of a sharded model is one of all processes; one that has fewer batches than the
    others goes along with a batch that does not count.
    """
    if not distributed.shards():
        yield from ((batch, True) for batch in batches)
        return
    n_batches = distributed.gather([len(batches)])
    spare = distributed.gather([*batches[:1]])
    yield from ((batch, True) for batch in batches)
    for _ in range(max(n_batches) - len(batches)):
        yield spare[0], False
