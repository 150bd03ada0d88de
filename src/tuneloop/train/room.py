"""Whether a training fits where it is to run, and which setting to change where it does not."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from tuneloop.config.trainer import TrainerConfig
from tuneloop.runtime.hardware import device, pick_precision
from tuneloop.runtime.shapes import ModelShape
from tuneloop.train.memory import GIB, Machine, MemoryEstimate, estimate
from tuneloop.train.step import Step, packs

C = TypeVar("C", bound=TrainerConfig)

_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Change:
    """One more setting to change, on top of those before it, and what the training then needs."""

    setting: str
    total_gib: float
    costs: str


def room_gib(machine: Machine) -> float | None:
    """Return the memory a training may take on this machine, GiB; None where nothing says so.

    On a CPU what is free, or the control group's limit if that is less; on a GPU all of the
    smallest card, as nvidia-smi states it.
    """
    if machine.device == "cuda":
        return _card_gib()
    import psutil

    room = float(psutil.virtual_memory().available)
    for path in _CGROUPS:
        try:
            limit = Path(path).read_text(encoding="utf-8").strip()
        except OSError:
            continue
        if limit.isdigit():
            room = min(room, float(limit))
    return room / GIB


def changes(
    shape: ModelShape, config: TrainerConfig, step: Step, machine: Machine, room: float
) -> list[Change]:
    """Return the settings to change until the training fits, the cheapest first.

    Each comes on top of those before; the last one fits, or nothing does.
    """
    found: list[Change] = []
    for update, costs in _steps(config, step, machine):
        changed = config.model_copy(update=update)
        total = estimate(shape, changed, _resized(step, config, changed), machine).total_gib
        if found and total >= found[-1].total_gib:
            continue
        said = ", ".join(f"{name}: {_shown(value)}" for name, value in update.items())
        found.append(Change(said, total, costs))
        config, step = changed, _resized(step, config, changed)
        if total <= room:
            return found
    return found


def settled(
    shape: ModelShape, config: C, step: Step, *,
    machine: Machine | None = None, room: float | None = None,
) -> C:  # fmt: skip
    """Return a config whose `gradient_checkpointing: auto` is true or false.

    It is true where the training is known not to fit without. Arguments as of `memory_plan`.
    """
    if config.gradient_checkpointing != "auto":
        return config
    machine = machine or Machine(device(), pick_precision(config.precision))
    without = config.model_copy(update={"gradient_checkpointing": False})
    room = room_gib(machine) if room is None else room
    if room is None or estimate(shape, without, step, machine).total_gib <= room:
        return without
    return config.model_copy(update={"gradient_checkpointing": True})


def verdict(estimated: MemoryEstimate, room: float | None, advice: list[Change]) -> list[str]:
    """Return whether it fits, in lines for people."""
    if room is None:
        return []
    if estimated.total_gib <= room:
        return [f"fits: {room:.1f} GiB are there"]
    lines = [f"does not fit: {room:.1f} GiB are there. Change, one after the other:"]
    for change in advice:
        lines.append(f"  {change.setting} ({change.costs}): then {change.total_gib:.1f} GiB")
    if not advice or advice[-1].total_gib > room:
        lines.append("  and it still does not fit: a smaller model, or a larger machine")
    return lines


def _steps(
    config: TrainerConfig, step: Step, machine: Machine
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield what may be changed, the cheapest first: same result, then same rows, then others."""
    fills = packs(config) and config.fill_tokens and 2 * step.row_tokens <= config.fill_tokens
    kept: dict[str, Any] = {"fill_tokens": None} if fills else {}  # or it would be filled again
    micro, length = config.micro_batch_size, config.max_length
    while micro > 1 and micro % 2 == 0:
        micro //= 2
        yield {"micro_batch_size": micro} | kept, "same result, somewhat slower"
        if micro <= 4 and config.gradient_checkpointing is not True:
            break
    if config.gradient_checkpointing is not True:
        yield {"gradient_checkpointing": True}, "same result, about a third slower"
        while micro > 1 and micro % 2 == 0:
            micro //= 2
            yield {"micro_batch_size": micro} | kept, "same result, somewhat slower"
    on_gpu = machine.device == "cuda"
    if on_gpu and config.optimiser == "adamw":
        yield {"optimiser": "paged_adamw_8bit"}, "moments in 8 bit"
    if config.adapter == "lora" and on_gpu and config.quantisation == "none":
        yield {"quantisation": "nf4"}, "the base in 4 bit, a little less exact"
    if config.adapter == "full":
        yield {"adapter": "lora"}, "an adapter instead of all weights"
    while length > 256:
        length //= 2
        yield {"max_length": length}, "longer rows are dropped"


def _resized(step: Step, before: TrainerConfig, after: TrainerConfig) -> Step:
    """Return a step as it is under another config, its rows as full of loss as they were."""
    row_tokens = min(step.row_tokens, after.max_length)
    share = (after.micro_batch_size / before.micro_batch_size) * (row_tokens / step.row_tokens)
    return replace(
        step,
        rows=max(1, round(step.rows * after.micro_batch_size / before.micro_batch_size)),
        row_tokens=row_tokens,
        tokens=max(row_tokens, round(step.tokens * share)),
        loss_tokens=max(1, round(step.loss_tokens * share)),
        scores=round(step.scores * share * row_tokens / step.row_tokens),
        slots=round(step.slots * share),
    )


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _card_gib() -> float | None:
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    sizes = [float(line) for line in done.stdout.split() if line.replace(".", "").isdigit()]
    return min(sizes) / 1024 if sizes and done.returncode == 0 else None


def memory_plan(
    shape: ModelShape, config: TrainerConfig, step: Step, *,
    machine: Machine | None = None, room: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the estimate by part, the room there is, and what to change if it is less.

    Args:
        shape: The base model's.
        config: The training.
        step: Its largest forward pass.
        machine: Where it runs; None: here.
        room: Memory that is there, GiB; None: what this machine has.
    """
    machine = machine or Machine(device(), pick_precision(config.precision))
    room = room_gib(machine) if room is None else room
    asked, config = config, settled(shape, config, step, machine=machine, room=room)
    found = estimate(shape, config, step, machine)
    advice = []
    if room is not None and found.total_gib > room:
        advice = changes(shape, config, step, machine, room)
    return {
        "device": machine.device,
        "step": asdict(step),
        "parts": {name: round(value, 3) for name, value in asdict(found).items()},
        "total_gib": round(found.total_gib, 3),
        "room_gib": None if room is None else round(room, 3),
        "fits": None if room is None else found.total_gib <= room,
        "lines": [_parts(found), *_decided(asked, config), *verdict(found, room, advice)],
        "changes": [asdict(change) for change in advice],
    }


def _decided(asked: TrainerConfig, config: TrainerConfig) -> list[str]:
    if asked.gradient_checkpointing == "auto" and config.gradient_checkpointing is True:
        return ["gradient checkpointing is on: it would not fit without"]
    return []


def _parts(found: MemoryEstimate) -> str:
    parts = ", ".join(
        f"{name.removesuffix('_gib')} {value:.2f}"
        for name, value in asdict(found).items()
        if value >= 0.005
    )
    return f"memory about {found.total_gib:.2f} GiB: {parts}"
