"""An adapter merged into its base, checked against the two applied side by side."""

from __future__ import annotations

import copy
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


@quiet_libraries()
def merge_adapter(base: ResolvedModel, adapter_folder: Path, target: Path) -> None:
    """Write base plus adapter as one model into `target`, in the base's own 16 or 32 bit type.

    The sum is taken in float32 on the CPU, never in 4 bit, and rounded once.

    Raises:
        TrainingError: if the merged logits do not fit the unmerged ones.
    """
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(
        base.folder, dtype="auto", trust_remote_code=base.trust_remote_code
    )
    stored, generation = model.dtype, copy.deepcopy(model.generation_config)
    model = model.float()
    tokenizer = AutoTokenizer.from_pretrained(base.folder, trust_remote_code=base.trust_remote_code)
    peft_model: Any = PeftModel.from_pretrained(model, str(adapter_folder)).eval()
    expected = probe(peft_model)
    merged = peft_model.merge_and_unload().to(stored)
    check_merge(expected, probe(merged), dtype=stored)
    merged.config.dtype = stored
    merged.generation_config = generation
    merged.save_pretrained(target)
    tokenizer.save_pretrained(target)


def probe(model: Any) -> torch.Tensor:
    """Return log-probabilities (T, V) in float32 on one fixed token sequence."""
    import torch

    vocab = model.config.get_text_config().vocab_size
    tokens = torch.arange(1, 33).mul(7919).remainder(vocab)[None]
    with torch.no_grad():
        return torch.log_softmax(model(input_ids=tokens).logits[0].float(), dim=-1)


def check_merge(expected: torch.Tensor, merged: torch.Tensor, *, dtype: torch.dtype) -> None:
    """Raise TrainingError where the merged model would answer differently.

    Args:
        expected: Log-probabilities (T, V) of base plus adapter.
        merged: The same of the merged model.
        dtype: What the merged weights are rounded to.
    """
    distance = (expected.exp() - merged.exp()).abs().sum(-1).mul(0.5).mean().item()
    if not distance <= (TOLERANCE_FP32 if str(dtype) == "torch.float32" else TOLERANCE):
        raise TrainingError(
            f"the merged model does not fit base plus adapter: next-token distributions are "
            f"{distance:.3f} apart",
            where="merge",
            hint="the adapter may belong to another base; serve it unmerged and report this",
        )
