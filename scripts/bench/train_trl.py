"""Plain TRL on the rows of `scripts/bench/train.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from tuneloop.runtime.hardware import cpu_has_fast_bf16, device


class TokenDpo(DPOTrainer):  # type: ignore[misc]
    """TRL's, on rows that are tokens already."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset


def trl_trainer(  # noqa: PLR0913  # what TRL is given
    base: Path, rows: list[dict[str, Any]], work: Path, method: str,
    *, batch: int, tuned: bool = False, attention: str | None = None, **settings: Any,
) -> Any:  # fmt: skip
    """Return TRL's trainer for one pass over tokenised rows, in their order.

    Untuned, its own 8 rows at a time make up the global batch, unless
    `per_device_train_batch_size` is given, which takes all at once. `tuned` means: no
    checkpointing, a bf16 base without autocast, rows of like length together, lengths padded to a
    multiple of 32, and in DPO the reference computed once, before.
    """
    bf16 = device() == "cuda" or cpu_has_fast_bf16()
    at_once = batch if tuned or settings.pop("per_device_train_batch_size", None) else min(8, batch)
    args: dict[str, Any] = {
        "output_dir": str(work), "per_device_train_batch_size": at_once, "bf16": bf16,
        "gradient_accumulation_steps": batch // at_once,
        "num_train_epochs": 1, "use_cpu": device() == "cpu", "report_to": [], "seed": 1,
        "save_strategy": "no", "disable_tqdm": True, "max_length": None,
    }  # fmt: skip
    if tuned:
        args |= {"gradient_checkpointing": False, "bf16": False, "pad_to_multiple_of": 32,
                 "train_sampling_strategy": "group_by_length"}  # fmt: skip
    cls, config_cls = (SFTTrainer, SFTConfig) if method == "sft" else (TokenDpo, DPOConfig)
    if settings.get("packing"):  # rows in one line of as many tokens as a batch would hold
        total = sum(len(row["input_ids"]) for row in rows)
        steps = max(1, len(rows) // batch)
        args |= {"max_length": -(-total // steps), "per_device_train_batch_size": 1,
                 "train_sampling_strategy": "random"}  # fmt: skip
        args.pop("pad_to_multiple_of", None)
    if method == "dpo" and tuned:
        args["precompute_ref_log_probs"] = True
        args.pop("pad_to_multiple_of")
        args["train_sampling_strategy"] = "random"  # its rows have no single length
    model = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.bfloat16 if bf16 else torch.float32,
        **({"attn_implementation": attention} if attention else {}),
    )  # fmt: skip
    trainer = cls(
        model=model, args=config_cls(**(args | settings)), train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(base),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear",
                               task_type="CAUSAL_LM"),
    )  # fmt: skip
    trainer.bench_rows, trainer.bench_batch = rows, batch
    return trainer
