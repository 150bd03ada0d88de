"""What the machine and an adapter allow: CUDA or not, LoRA beside the base or merged."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from tuneloop.config.evaluate import EngineConfig

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks a vLLM server can be started for. Source: its `--max-lora-rank`."""


@functools.cache
def has_cuda() -> bool:
    """Whether a CUDA device can be used."""
    import torch

    return bool(torch.cuda.is_available())


def adapter_config(folder: Path) -> dict[str, Any]:
    """Return PEFT's description of an adapter."""
    loaded: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    return loaded


def serves_as_lora(adapter_folder: Path, config: EngineConfig) -> bool:
    """Whether the adapter is served beside its base; otherwise its weights are merged.

    On CPU a LoRA module answers about three times slower than merged weights; vLLM knows no
    DoRA, no trained biases, no fully trained modules and no rank pattern above its maximum.
    """
    if config.backend != "vllm" or not has_cuda():
        return False
    described = adapter_config(adapter_folder)
    return not (
        described.get("use_dora")
        or described.get("modules_to_save")
        or described.get("bias", "none") != "none"
        or adapter_rank(adapter_folder) > LORA_RANKS[-1]
    )


def adapter_rank(folder: Path) -> int:
    """Return the largest rank of any layer in an adapter."""
    described = adapter_config(folder)
    return max([int(described["r"]), *map(int, (described.get("rank_pattern") or {}).values())])


def max_lora_rank(folders: list[Path]) -> int:
    """Return the smallest rank vLLM can be started for that holds all of these adapters."""
    needed = max(adapter_rank(folder) for folder in folders)
    return next(rank for rank in LORA_RANKS if rank >= needed)
