"""GGUF files made into safetensors folders."""

from __future__ import annotations

from pathlib import Path

from tuneloop.errors import TuneloopError
from tuneloop.runtime.quiet import quiet_libraries


@quiet_libraries()
def convert_gguf(path: Path, folder: Path) -> None:
    """Write a GGUF file's model and tokenizer into `folder` as bf16 safetensors.

    Raises:
        TuneloopError: if transformers cannot read the file.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        model = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.bfloat16
        )
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    except (ValueError, KeyError, OSError, ImportError, NotImplementedError) as error:
        raise TuneloopError(
            f"cannot read this GGUF file: {error}",
            where=str(path),
            hint="use the model's safetensors instead",
        ) from error
    # The tensors are dequantised by now; with the marks left on, saving refuses or lies.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
