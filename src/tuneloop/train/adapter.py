"""Adapters: made fresh or taken from SFT, kept in float32, saved so that they can be served."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from tuneloop.config.trainer import LoraConfig
from tuneloop.errors import TrainingError
from tuneloop.runtime.weights import ResolvedModel

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
# These move the base weights, so they are saved as the difference from where they began.
MOVES_BASE = ("pissa", "olora")


def peft_config(config: LoraConfig, start: Path | None = None) -> Any:
    """Return the PEFT config of a fresh adapter, or of the one saved in `start`."""
    from peft import EvaConfig, PeftConfig
    from peft import LoraConfig as PeftLoraConfig

    if start is not None:
        saved = PeftConfig.from_pretrained(str(start))
        saved.inference_mode = False
        saved.base_model_name_or_path = None
        return saved
    return PeftLoraConfig(
        task_type="CAUSAL_LM",
        r=config.r,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=config.target_modules,
        modules_to_save=config.modules_to_save or None,
        init_lora_weights=True if config.init == "default" else config.init,
        # Ranks as asked for: with rho above 1 EVA moves them between layers.
        eva_config=EvaConfig(rho=1.0) if config.init == "eva" else None,
        use_rslora=config.use_rslora,
        use_dora=config.use_dora,
    )


def check_targets(model: Any, config: LoraConfig) -> None:
    """Raise TrainingError where layers are named that the model lacks or PEFT cannot adapt."""
    import torch
    from transformers.pytorch_utils import Conv1D

    layers = dict(model.named_modules())
    targets, places = config.target_modules, "lora.target_modules"
    if isinstance(targets, str) and targets != "all-linear":
        found = {name: layer for name, layer in layers.items() if re.fullmatch(targets, name)}
        kinds = (torch.nn.Linear, torch.nn.Embedding, Conv1D)
        wrong = [name for name, layer in found.items() if not isinstance(layer, kinds)]
        if not found:
            raise _no_such_layer(places, targets, layers)
        if wrong:
            raise TrainingError(
                f"the pattern {targets!r} matches {wrong[0]}, which is no linear layer",
                where=places,
                hint=r"let it end in a layer's own name, as in .*mlp\.(up|down)_proj",
            )
    elif isinstance(targets, list):
        for target in targets:
            if not any(f".{name}".endswith(f".{target}") for name in layers):
                raise _no_such_layer(places, target, layers)
    for target in config.modules_to_save:
        if not any(f".{name}".endswith(f".{target}") for name in layers):
            raise _no_such_layer("lora.modules_to_save", target, layers)


def _no_such_layer(where: str, wanted: str, layers: dict[str, Any]) -> TrainingError:
    last = sorted({name.rpartition(".")[2] for name in layers if name})
    names = [name for name in last if not name.isdigit()]
    return TrainingError(
        f"the model has no layer {wanted!r}", where=where, hint=f"its layers: {', '.join(names)}"
    )


def keep_in_float32(model: Any) -> None:
    """Cast trainable weights to float32: at DPO's learning rates bf16 rounds updates away."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def load_adapter_weights(model: Any, folder: Path) -> None:
    """Put saved adapter weights into the model's one adapter, which must have their shape."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    result = set_peft_model_state_dict(model, load_file(folder / WEIGHTS))
    missing = [key for key in result.missing_keys if "lora_" in key]
    if missing or result.unexpected_keys:
        raise ValueError(f"adapter does not fit: missing {missing}, {result.unexpected_keys}")


def init_by_data(model: Any, batches: list[dict[str, Any]]) -> None:
    """Initialise an EVA adapter: each layer's A by what comes into it on these batches.

    B is zero, so the model answers as before.
    """
    from peft import initialize_lora_eva_weights

    inputs = [{k: batch[k] for k in ("input_ids", "attention_mask")} for batch in batches]
    initialize_lora_eva_weights(
        model, dataloader=inputs, gather_distributed_inputs=False, show_progress_bar=False
    )


def save_start(model: Any, folder: Path) -> None:
    """Keep a PiSSA or OLoRA adapter as it began, which its conversion to plain LoRA needs."""
    if folder.is_dir():
        return
    partial = folder.with_name(f".{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    partial.rename(folder)


def save_adapter(
    model: Any, folder: Path, *, base: ResolvedModel, start: Path | None,
    weights: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Write the adapter: equal weights give equal bytes, and no path of this machine is in it.

    Args:
        model: The PeftModel.
        folder: Where to; what is there is replaced.
        base: The base it belongs to; its digest stands in the config.
        start: For PiSSA and OLoRA the folder of `save_start`: the adapter is converted to a
            plain LoRA of twice the rank that fits the original base.
        weights: Gathered from all processes; None: the model has them all.
    """
    shutil.rmtree(folder, ignore_errors=True)
    conversion = {} if start is None else {"path_initial_model_for_weight_conversion": str(start)}
    model.save_pretrained(folder, selected_adapters=["default"], state_dict=weights, **conversion)
    path = folder / CONFIG
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = f"sha256:{base.digest}"
    config["revision"] = None
    config["init_lora_weights"] = True  # it is made; nothing that loads it should make it again
    config["eva_config"] = None
    for key in ("target_modules", "modules_to_save", "exclude_modules"):
        if isinstance(config.get(key), list):  # sets in memory: their order is by chance
            config[key] = sorted(config[key])
    path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "README.md").unlink(missing_ok=True)


def servable_as_adapter(folder: Path) -> bool:
    """Return whether vLLM can load a saved adapter: it refuses DoRA and `modules_to_save`."""
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return not config.get("use_dora") and not config.get("modules_to_save")
