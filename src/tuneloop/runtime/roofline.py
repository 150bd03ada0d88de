"""How fast this machine multiplies matrices: what a training's speed is held against."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
import uuid
from pathlib import Path

SIZE = 2048
REPEATS = 5


def gemm_flops_per_s(precision: str, *, remembered: Path | None = None) -> float:
    """Return the rate of large matrix products, FLOP/s; measured once a machine, in a second.

    Args:
        precision: `bf16` or `fp32`.
        remembered: File the rates are kept in; default ~/.cache/tuneloop/roofline.json.
    """
    import torch

    cuda = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if cuda else f"{_cpu()} x {torch.get_num_threads()}"
    key = f"{name} {precision} torch {torch.__version__}"
    path = remembered or Path("~/.cache/tuneloop/roofline.json").expanduser()
    known: dict[str, float] = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(path.read_text(encoding="utf-8"))
    if key not in known:
        known[key] = measure(precision, "cuda" if cuda else "cpu")
        with contextlib.suppress(OSError):  # a read-only home costs a second each time
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{uuid.uuid4().hex}")
            partial.write_text(json.dumps(known, indent=1), encoding="utf-8")
            partial.replace(path)
    return float(known[key])


def measure(precision: str, device: str, *, size: int = 0) -> float:
    """Return the best of a few products of square matrices, FLOP/s.

    No random number is drawn: a training in the middle of which this runs stays the same.
    """
    import torch

    n = size or (SIZE if device == "cpu" else 4 * SIZE)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left = torch.ones(n, n, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(REPEATS + 1):  # the first warms up
        begun = time.perf_counter()
        left @ left
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begun)
    return 2.0 * n**3 / best


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return f"{platform.machine()} {os.cpu_count()}"
