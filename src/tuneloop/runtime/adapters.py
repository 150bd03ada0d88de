"""Adapters of other trainers: read only from safetensors, and only where they fit the base."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tuneloop.errors import DataError

CONFIG = "adapter_config.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
PREFIX = "base_model.model."
_LORA = re.compile(r"(?P<module>.+?)\.(?P<part>lora_[a-zA-Z_]+)(?:\.\w+)*")
Shape = tuple[int, ...]


def adapter_files(folder: Path) -> dict[str, Path]:
    """Return what of a trainer's folder makes the adapter: its description and its safetensors.

    Raises:
        DataError: if there are none, the weights are pickles, or a file lies outside the folder.
    """
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickled = [p.name for p in sorted(folder.iterdir()) if p.suffix in PICKLES]
        raise DataError(
            f"weights in pickles are never loaded: {', '.join(pickled)}"
            if pickled
            else "no *.safetensors",
            where=str(folder),
            hint="save the adapter as safetensors: model.save_pretrained(folder)",
        )
    found = {path.name: path for path in (folder / CONFIG, *weights)}
    root = folder.resolve()
    for path in found.values():
        if not path.is_file() or not path.resolve().is_relative_to(root):
            raise DataError("no file of this folder", where=str(path))
    return found


def check_adapter(folder: Path, base: Path) -> dict[str, Any]:
    """Return the description of an adapter whose every tensor fits the base model's.

    Args:
        folder: A PEFT adapter.
        base: The base model's folder.

    Raises:
        DataError: if it is no LoRA, or was made for another base.
    """
    files = adapter_files(folder)
    try:
        described = json.loads(files[CONFIG].read_text("utf-8"))
        kind = described.get("peft_type")
    except (ValueError, AttributeError) as error:
        raise DataError(
            f"no description of an adapter: {error}", where=str(files[CONFIG])
        ) from None
    if kind != "LORA" or not isinstance(described.get("r"), int):
        raise DataError(
            f"an adapter of the kind {kind!r}: only LoRA and what is made like it can be served",
            where=str(files[CONFIG]),
            hint="merge it with its trainer and name the folder of the merged model",
        )
    shapes = dict(_shapes(sorted(base.glob("*.safetensors"))))
    own = dict(_shapes([path for name, path in files.items() if name != CONFIG]))
    wrong = [text for name, shape in own.items() if (text := _misfit(name, shape, shapes))]
    if wrong or not own:
        shown = "; ".join(wrong[:3]) or "it holds no tensor"
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise DataError(
            f"the adapter does not fit the base model: {shown}{more}",
            where=str(folder),
            hint="name the base model that it was trained on",
        )
    return dict(described)


def _misfit(name: str, shape: Shape, base: Mapping[str, Shape]) -> str | None:
    """Return what is wrong with one tensor, or None."""
    if not name.startswith(PREFIX):
        return f"{name} is no tensor of an adapter"
    found = _LORA.fullmatch(name.removeprefix(PREFIX))
    if found is None:  # a module that was trained whole
        whole = _named(name.removeprefix(PREFIX), base)
        fits = whole is None or whole == shape
        return None if fits else f"{name} has the shape {list(shape)}, the base {list(whole or ())}"
    module, part = found["module"], found["part"]
    weight = _named(f"{module}.weight", base)
    if weight is None and module.endswith("lm_head"):  # tied to the embedding
        weight = next((s for n, s in base.items() if n.endswith("embed_tokens.weight")), None)
    if weight is None:
        return f"the base has no {module}"
    if part not in ("lora_A", "lora_B"):
        return None
    side = shape[-1] if part == "lora_A" else shape[0]
    return None if side in weight else f"{name} has {side}, {module} {list(weight)}"


def _named(name: str, base: Mapping[str, Shape]) -> Shape | None:
    """Return a weight's shape; checkpoints may leave out or add what stands before the layers."""
    if name in base:
        return base[name]
    alike = (s for n, s in base.items() if name.endswith(f".{n}") or n.endswith(f".{name}"))
    return next(alike, None)


def _shapes(files: list[Path]) -> Iterator[tuple[str, Shape]]:
    from safetensors import SafetensorError, safe_open

    for path in files:
        try:
            with safe_open(path, framework="numpy") as opened:
                for name in opened.keys():  # noqa: SIM118 - it is no mapping
                    yield name, tuple(opened.get_slice(name).get_shape())
        except (SafetensorError, OSError) as error:
            raise DataError(f"no safetensors: {error}", where=str(path)) from None
