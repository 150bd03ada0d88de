"""An adapter merged into its base, checked against the two applied side by side."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneloop.errors import TrainingError
from tuneloop.runtime.quiet import quiet_libraries

if TYPE_CHECKING:
    import torch

    from tuneloop.runtime.weights import ResolvedModel

# Largest distance between next-token distributions (total variation, mean over positions):
# rounding to 16 bit moves them by a percent or so, a merge into the wrong base by tens.
TOLERANCE = 0.05
TOLERANCE_FP32 = 0.001
# Of what the adapter does to the logits, so much at least must be left after rounding.
LEAST_KEPT = 0.5
REPORT = "merge.json"


class RoundedAway(TrainingError):
    """A merge in a type whose steps are larger than what the adapter changes."""


@dataclass(frozen=True)
class MergeCheck:
    """How far the merged model, as it lies on the disk, is from base plus adapter.

    `distance` is the mean over `n_positions` of the total variation between next-token
    distributions, `effect` the same between base alone and base plus adapter. `kept` is how much
    of the adapter's change of the logits is in the merged ones (1: all; None: it changes none).
    """

    dtype: str
    distance: float
    tolerance: float
    effect: float
    kept: float | None
    max_logit_difference: float
    n_positions: int


@quiet_libraries()
def merge_adapter(
    base: ResolvedModel, adapter_folder: Path, target: Path, *, dtype: str | None = None
) -> MergeCheck:
    """Write base plus adapter as one model into `target`, in the base's own 16 or 32 bit type.

    The sum is taken in float32 on the CPU, never in 4 bit, and rounded once. What was written is
    read back and compared with base and adapter side by side, both in float32.

    Args:
        base: The base in 16 or 32 bit, also where the adapter was trained on it in 4 bit.
        adapter_folder: PEFT's folder of the adapter.
        target: Where to; `merge.json` there says what was compared.
        dtype: Another type for the merged weights: bf16, fp16 or fp32.

    Raises:
        RoundedAway: if the merged model would answer as if there were no adapter.
        TrainingError: if the adapter does not fit the base, or the merged logits do not fit the
            unmerged ones.
    """
    from transformers import AutoTokenizer

    model = _load(base.folder, base)
    stored = _torch_dtype(dtype) if dtype else model.dtype
    generation = copy.deepcopy(model.generation_config)
    peft_model = _with_adapter(model.float(), adapter_folder)
    with peft_model.disable_adapter():
        alone = probe(peft_model)
    expected = probe(peft_model)
    merged = peft_model.merge_and_unload().to(stored)
    merged.config.dtype = stored
    merged.generation_config = generation
    merged.save_pretrained(target)
    AutoTokenizer.from_pretrained(
        base.folder, trust_remote_code=base.trust_remote_code
    ).save_pretrained(target)
    del model, peft_model, merged
    check = compare(alone, expected, probe(_load(target, base)), dtype=stored)
    text = json.dumps(asdict(check) | {"base": base.digest}, indent=1)
    (target / REPORT).write_text(text + "\n", encoding="utf-8")
    return check


def probe(model: Any) -> torch.Tensor:
    """Return logits (T, V) in float32 on one fixed token sequence."""
    import torch

    vocab = model.config.get_text_config().vocab_size
    tokens = torch.arange(1, 33).mul(7919).remainder(vocab)[None]
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=tokens).logits[0].float()
    return logits


def compare(
    alone: torch.Tensor, expected: torch.Tensor, merged: torch.Tensor, *, dtype: torch.dtype
) -> MergeCheck:
    """Return how far a merged model is from what it should be.

    Args:
        alone: Logits (T, V) of the base.
        expected: The same of base plus adapter.
        merged: The same of the merged model.
        dtype: What the merged weights are rounded to.

    Raises:
        RoundedAway: if it would answer as if there were no adapter.
        TrainingError: if it would answer differently.
    """
    name = str(dtype).removeprefix("torch.")
    # A softmax ignores a shift of all logits, and so does this.
    change, left = (_centred(t - alone) for t in (expected, merged))
    size = float((change * change).sum())
    check = MergeCheck(
        dtype=name,
        distance=round(_distance(expected, merged), 6),
        tolerance=TOLERANCE_FP32 if name == "float32" else TOLERANCE,
        effect=round(_distance(expected, alone), 6),
        kept=round(float((left * change).sum()) / size, 4) if size > 0 else None,
        max_logit_difference=round(float((expected - merged).abs().max()), 6),
        n_positions=len(expected),
    )
    if not check.distance <= check.tolerance:
        raise TrainingError(
            f"the merged model does not fit base plus adapter: next-token distributions are "
            f"{check.distance:.3f} apart, {check.tolerance:g} is allowed",
            where="merge",
            hint="the adapter may belong to another base; serve it unmerged and report this",
        )
    if check.kept is not None and not abs(check.kept - 1) <= 1 - LEAST_KEPT:
        raise RoundedAway(
            f"rounding to {name} leaves {check.kept:.0%} of what the adapter does: its change is "
            "smaller than the steps of that type",
            where="merge",
            hint="serve the adapter unmerged, merge with --dtype fp32, or, where it is served "
            "merged, set the engine's dtype to float32",
        )
    return check


def _distance(left: torch.Tensor, right: torch.Tensor) -> float:
    difference = left.softmax(-1) - right.softmax(-1)
    return float(difference.abs().sum(-1).mul(0.5).mean())


def _centred(logits: torch.Tensor) -> torch.Tensor:
    return logits - logits.mean(-1, keepdim=True)


def _load(folder: Path, base: ResolvedModel) -> Any:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype="auto", trust_remote_code=base.trust_remote_code
    )
    return model.float().eval() if folder != base.folder else model.eval()


def _with_adapter(model: Any, folder: Path) -> Any:
    """Return the model with the adapter beside it.

    Raises:
        TrainingError: if the adapter has other layers or shapes, which PEFT reports in part only
            by a warning.
    """
    from peft import PeftModel
    from safetensors import safe_open

    try:
        peft_model: Any = PeftModel.from_pretrained(model, str(folder)).eval()
    except (ValueError, RuntimeError, KeyError) as error:
        raise TrainingError(
            f"the adapter does not fit this base: {str(error).splitlines()[0]}",
            where=str(folder),
            hint="name the base it was trained on",
        ) from error
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        saved = set(file.keys())
    held = {_plain(name) for name, _ in peft_model.named_parameters()}
    held |= {_plain(name) for name, _ in peft_model.named_buffers()}
    strangers = sorted(name for name in saved if _plain(name) not in held)
    if strangers:
        raise TrainingError(
            f"the base has no place for {len(strangers)} of the adapter's {len(saved)} tensors, "
            f"such as {strangers[0]}",
            where=str(folder),
            hint="name the base it was trained on",
        )
    return peft_model


def _plain(name: str) -> str:
    """Return a tensor's name without what PEFT puts in between, on one side or the other."""
    for part in (".default", ".modules_to_save", ".original_module"):
        name = name.replace(part, "")
    return name.removesuffix(".weight")


def _torch_dtype(name: str) -> torch.dtype:
    import torch

    found: torch.dtype = {
        "bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32,
    }[name]  # fmt: skip
    return found
