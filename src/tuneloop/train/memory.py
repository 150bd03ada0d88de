"""How much memory a training needs, estimated from shapes before anything is loaded."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

from tuneloop.config.trainer import TrainerConfig

GIB = 1024**3
# A trained value in fp32 with its gradient and Adam's two moments.
BYTES_PER_TRAINED = 4 + 4 + 8
BYTES_PER_BASE = {"fp32": 4.0, "bf16": 2.0}
NF4_BYTES = 0.53  # 4 bit and the doubly quantised scales; embeddings stay in 16 bit


@dataclass(frozen=True)
class MemoryEstimate:
    """Parts of a training's peak memory, GiB."""

    weights_gib: float
    adapter_gib: float
    activations_gib: float
    head_gib: float

    @property
    def total_gib(self) -> float:
        """All parts."""
        return self.weights_gib + self.adapter_gib + self.activations_gib + self.head_gib


def tensor_shapes(folder: Path) -> dict[str, list[int]]:
    """Return the shape of every tensor in a folder's safetensors files, from their headers."""
    shapes: dict[str, list[int]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        shapes |= {n: t["shape"] for n, t in header.items() if n != "__metadata__"}
    return shapes


def estimate(
    folder: Path, config: TrainerConfig, *, precision: str, row_tokens: int, loss_tokens: int
) -> MemoryEstimate:
    """Estimate the peak memory of one training step.

    Args:
        folder: The base model.
        config: The training.
        precision: Compute type, `bf16` or `fp32`.
        row_tokens: Longest row, tokens.
        loss_tokens: Tokens of a row that the loss is on.

    Source: 34·T·B·h bytes a layer in 16 bit plus attention's 5·a·T²·B, from Korthikanti et al.
        2022 (arXiv 2205.05198), table 2; with checkpointing 2·T·B·h.
    """
    shapes = tensor_shapes(folder)
    model = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    matrices = [
        s for n, s in shapes.items() if len(s) == 2 and "embed" not in n and "head" not in n
    ]
    n_all = sum(_size(shape) for shape in shapes.values())
    n_matrices = sum(_size(shape) for shape in matrices)
    wide = BYTES_PER_BASE[precision]
    nf4 = config.quantisation == "nf4"
    weights = n_matrices * (NF4_BYTES if nf4 else wide) + (n_all - n_matrices) * wide
    adapter = sum(config.lora.r * sum(shape) for shape in matrices) * BYTES_PER_TRAINED
    tokens = config.micro_batch_size * row_tokens
    hidden, layers = int(model["hidden_size"]), int(model["num_hidden_layers"])
    per_layer = (2 if config.gradient_checkpointing else 34) * tokens * hidden * wide / 2
    if not config.gradient_checkpointing:
        per_layer += 5 * int(model["num_attention_heads"]) * tokens * row_tokens * wide / 2
    head = 3 * config.micro_batch_size * loss_tokens * int(model["vocab_size"]) * 4
    return MemoryEstimate(
        weights_gib=weights / GIB,
        adapter_gib=adapter / GIB,
        activations_gib=per_layer * layers / GIB,
        head_gib=head / GIB,
    )


def _size(shape: list[int]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size
