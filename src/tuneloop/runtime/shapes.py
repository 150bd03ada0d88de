"""The shape of a model, from its files' heads or from what was published; no weight is read."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from tuneloop.errors import TuneloopError

# Query and key are normalised per head; the layer has four norms instead of two.
_QK_NORM = ("qwen3", "qwen3_moe", "gemma3", "gemma3_text")
_FOUR_NORMS = ("gemma2", "gemma3", "gemma3_text")


@dataclass(frozen=True)
class Matrix:
    """One kind of linear layer: its whole name in layer 0, its sides, and how many a layer has."""

    name: str
    n_in: int
    n_out: int
    per_layer: int = 1

    @property
    def size(self) -> int:
        """Weights of one."""
        return self.n_in * self.n_out


@dataclass(frozen=True)
class ModelShape:
    """The sides of a decoder's matrices; `other`: parameters beside it, such as a vision tower."""

    kind: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    tied: bool
    experts: int = 0
    experts_per_token: int = 0
    experts_are_linear: bool = True
    other: int = 0

    @property
    def query_width(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.kv_heads * self.head_dim

    @property
    def norms(self) -> int:
        """Norms over the hidden width in a layer."""
        return 4 if self.kind in _FOUR_NORMS else 2

    @property
    def qk_norm(self) -> bool:
        """Whether query and key are normalised per head."""
        return self.kind in _QK_NORM

    @cached_property
    def matrices(self) -> tuple[Matrix, ...]:
        """The linear layers of one decoder layer."""
        attention, mlp = "model.layers.0.self_attn.", "model.layers.0.mlp."
        if self.experts:
            mlp += "experts.0."
        n = self.experts or 1
        h, f = self.hidden, self.intermediate
        return (
            Matrix(f"{attention}q_proj", h, self.query_width),
            Matrix(f"{attention}k_proj", h, self.kv_width),
            Matrix(f"{attention}v_proj", h, self.kv_width),
            Matrix(f"{attention}o_proj", self.query_width, h),
            Matrix(f"{mlp}gate_proj", h, f, n),
            Matrix(f"{mlp}up_proj", h, f, n),
            Matrix(f"{mlp}down_proj", f, h, n),
        )

    @property
    def n_matrix_parameters(self) -> int:
        """Weights in the linear layers of all decoder layers: what nf4 stores in 4 bit."""
        return self.layers * sum(m.size * m.per_layer for m in self.matrices)

    @property
    def n_embedding_parameters(self) -> int:
        """Weights of the embedding and, where it has its own, of the head."""
        return self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def n_parameters(self) -> int:
        """All parameters, short of biases."""
        small = self.layers * (self.norms * self.hidden + self.experts * self.hidden)
        return self.n_matrix_parameters + self.n_embedding_parameters + small + self.other

    def adapted(self, targets: list[str] | str) -> list[Matrix]:
        """Return the linear layers that a LoRA config's `target_modules` names.

        Experts that are kept in one tensor are no linear layers, and get no adapter.
        """
        linear = [
            m
            for m in self.matrices
            if not (m.name.count("experts") and not self.experts_are_linear)
        ]
        if targets == "all-linear":
            return linear
        if isinstance(targets, str):
            return [m for m in linear if re.fullmatch(targets, m.name)]
        return [m for m in linear if any(m.name.endswith(f".{t}") for t in targets)]


def shape_of(config: dict[str, Any], *, other: int = 0) -> ModelShape:
    """Return the shape a model's config.json states.

    Raises:
        TuneloopError: if it is not a decoder whose shape can be read.
    """
    text = config.get("text_config") or config
    try:
        heads, hidden = int(text["num_attention_heads"]), int(text["hidden_size"])
        experts = int(text.get("num_local_experts") or text.get("num_experts") or 0)
        wide = text.get("moe_intermediate_size") if experts else None
        kind = str(text.get("model_type") or config.get("model_type"))
        tied = text.get("tie_word_embeddings", config.get("tie_word_embeddings"))
        return ModelShape(
            kind=kind,
            hidden=hidden,
            layers=int(text["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(text.get("num_key_value_heads") or heads),
            head_dim=int(text.get("head_dim") or hidden // heads),
            intermediate=int(wide or text["intermediate_size"]),
            vocab=int(text["vocab_size"]),
            tied=kind.startswith("gemma") if tied is None else bool(tied),
            experts=experts,
            experts_per_token=int(text.get("num_experts_per_tok") or 0),
            experts_are_linear=not experts,
            other=other,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise TuneloopError(
            f"no shape can be read from this model's config.json ({error!r})",
            where="model.name",
            hint="the memory estimate knows decoders of the Llama kind: measure a few steps",
        ) from error


def folder_shape(folder: Path) -> ModelShape:
    """Return the shape of a model on disk: config.json, and the heads of its safetensors files.

    Raises:
        TuneloopError: if its config.json cannot be read, or is not a decoder's.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TuneloopError(
            "no config.json can be read there", where=str(folder), hint="name a model's folder"
        ) from error
    shape = shape_of(config)
    tensors = tensor_shapes(folder)
    outside = sum(_size(s) for n, s in tensors.items() if "vision" in n or "projector" in n)
    return ModelShape(**{**shape.__dict__, "other": outside}) if outside else shape


def published_shape(name: str) -> ModelShape | None:
    """Return the published shape of a model of the hub, or None where it is not in the table."""
    table = json.loads((files("tuneloop.runtime") / "published_shapes.json").read_text("utf-8"))
    entry = table["models"].get(name)
    if entry is None:
        return None
    return shape_of(
        table["families"].get(entry.get("family"), {}) | entry, other=entry.get("other", 0)
    )


def tensor_shapes(folder: Path) -> dict[str, list[int]]:
    """Return the shape of every tensor in a folder's safetensors files, from their headers."""
    shapes: dict[str, list[int]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        shapes |= {n: t["shape"] for n, t in header.items() if n != "__metadata__"}
    return shapes


def _size(shape: list[int]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size
