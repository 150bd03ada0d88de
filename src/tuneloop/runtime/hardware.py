"""What the machine can do: device and compute type, probed and never assumed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from tuneloop.errors import TrainingError

Precision = Literal["bf16", "fp32"]

_TRUE = {"1", "true", "yes", "y", "t", "on"}


def device() -> Literal["cuda", "cpu"]:
    """Return where models run: a GPU where PyTorch sees one and the launcher did not say CPU."""
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() in _TRUE:
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def cpu_has_fast_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether bf16 matrix products pay on this CPU: it needs AVX-512 BF16 or AMX.

    Without them PyTorch emulates bf16, slower than fp32.
    """
    try:
        flags = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(), re.MULTILINE)
    except OSError:
        return False
    return flags is not None and bool({"avx512_bf16", "amx_bf16"} & set(flags.group(1).split()))


def pick_precision(wanted: Literal["auto", "bf16", "fp32"]) -> Precision:
    """Return the compute type: as wanted, or the fastest safe one where `auto`.

    Raises:
        TrainingError: if bf16 is asked of a GPU that lacks it.
    """
    if wanted == "fp32":
        return "fp32"
    if device() == "cpu":
        return "bf16" if wanted == "bf16" or cpu_has_fast_bf16() else "fp32"
    import torch

    if torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16"
    if wanted == "bf16":
        raise TrainingError(
            f"{torch.cuda.get_device_name()} has no bfloat16",
            where="precision",
            hint="set precision to auto or fp32",
        )
    return "fp32"
