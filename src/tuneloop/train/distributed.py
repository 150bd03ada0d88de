"""Who am I among the training processes; torch is touched only when there are several."""

from __future__ import annotations

import datetime as dt
import os
import re
from pathlib import Path
from typing import Any

from tuneloop.errors import TrainingError

# Rank 0 may do hours of other work (judging, serving) between two barriers.
TIMEOUT = dt.timedelta(days=2)
_LAUNCHER = re.compile(
    r"(accelerate launch|accelerate-launch|accelerate[./]commands[./]launch\S*)$"
)


def rank() -> int:
    """Return this process's number among all training processes; 0 where there is one."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Return how many training processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Return whether this process writes files and talks."""
    return rank() == 0


def join() -> None:
    """Meet the other processes: gloo on CPU, NCCL on GPUs. Does nothing where there is one."""
    if world_size() > 1:
        _state()


def barrier() -> None:
    """Wait until every training process has come here; returns at once where there is one."""
    if world_size() > 1:
        _state().wait_for_everyone()


def gather(items: list[Any]) -> list[Any]:
    """Return the items of all processes on each of them, by rank; `items` where there is one."""
    if world_size() == 1:
        return items
    from accelerate.utils import gather_object

    return list(gather_object(items))


def shard_where_asked(state: Any) -> None:
    """Let FSDP shard on CPU too, where the launcher asks for it; on GPUs it does by itself.

    accelerate takes FSDP from the launcher for several accelerators only: processes on CPU would
    train as DDP in silence, and a test on two of them would test nothing.

    Args:
        state: accelerate's `PartialState`, before an `Accelerator` is made of it.
    """
    from accelerate.utils import DistributedType

    if _said("ACCELERATE_USE_FSDP") and state.distributed_type == DistributedType.MULTI_CPU:
        state._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def shards() -> bool:
    """Return whether the weights are sharded over the processes: FSDP, or ZeRO of stage 3."""
    zero_3 = zero() and os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3"
    return world_size() > 1 and (_said("ACCELERATE_USE_FSDP") or zero_3)


def zero() -> bool:
    """Return whether the launcher asks for DeepSpeed."""
    return _said("ACCELERATE_USE_DEEPSPEED")


def _said(name: str) -> bool:
    return os.environ.get(name, "").lower() == "true"


def accumulation(*, global_batch_size: int, micro_batch_size: int) -> int:
    """Return the micro-batches each process adds up per optimiser step.

    Raises:
        TrainingError: if the global batch cannot be shared out evenly.
    """
    rows = micro_batch_size * world_size()
    if global_batch_size % rows:
        raise TrainingError(
            f"global_batch_size {global_batch_size} is no multiple of micro_batch_size "
            f"{micro_batch_size} x {world_size()} processes",
            where="train",
            hint="choose a micro_batch_size that divides global_batch_size / processes",
        )
    return global_batch_size // rows


def check_launch() -> None:
    """Refuse to train otherwise than the launcher was asked to.

    `accelerate launch --cpu --num_processes 2`, and a MULTI_CPU config without MPI, start one
    process in silence: half the global batch and another loss curve.

    Raises:
        TrainingError: saying how to start them all.
    """
    asked = _asked_processes()
    if asked > world_size():
        raise TrainingError(
            f"accelerate was asked for {asked} processes and started {world_size()}",
            where="accelerate launch",
            hint="on CPU use a config file with distributed_type: MULTI_GPU, use_cpu: true and "
            f"num_processes: {asked} (it starts gloo processes), or torchrun",
        )
    if zero() and _said("ACCELERATE_USE_CPU"):
        raise TrainingError(
            "accelerate leaves DeepSpeed out on CPU, in silence",
            where="accelerate launch",
            hint="configs/accelerate/cpu_fsdp2.yaml shards on CPU",
        )


def _state() -> Any:
    from accelerate import PartialState

    from tuneloop.runtime.hardware import device

    return PartialState(cpu=device() == "cpu", timeout=TIMEOUT)


def _asked_processes() -> int:
    """Return how many processes the `accelerate launch` above this process was asked for."""
    if "ACCELERATE_MIXED_PRECISION" not in os.environ:  # not below accelerate launch
        return 1
    import psutil

    for parent in psutil.Process().parents()[:3]:
        try:
            command = parent.cmdline()
        except psutil.Error:
            break
        for position in range(min(4, len(command))):
            if _LAUNCHER.search(" ".join(command[max(0, position - 1) : position + 1])):
                return asked_by(command[position + 1 :])
    return 1


def asked_by(arguments: list[str]) -> int:
    """Return the number of processes that the arguments of `accelerate launch` ask for."""
    options = _options(arguments)
    if "num-processes" in options:
        return _number(options["num-processes"])
    if config := options.get("config-file"):
        import yaml

        content = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
        return _number(content.get("num_processes"))
    return 1


def _number(asked: Any) -> int:
    """Return a number of processes; 1 for `gpu`, as many as there are, which torchrun starts."""
    return int(asked) if str(asked).isdigit() else 1


def _options(arguments: list[str]) -> dict[str, str]:
    """Return `--name value` and `--name=value` pairs, names with hyphens."""
    found: dict[str, str] = {}
    for position, argument in enumerate(arguments):
        if argument.startswith("--"):
            name, _, value = argument[2:].partition("=")
            following = arguments[position + 1 : position + 2]
            found[name.replace("_", "-")] = value or (following[0] if following else "")
        elif argument.endswith(".py"):  # the script's own arguments begin
            break
    return found
