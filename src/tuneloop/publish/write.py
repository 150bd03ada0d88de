"""Writing what training left: merged weights, an adapter's folder, a GGUF file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tuneloop.errors import TuneloopError
from tuneloop.publish.trained import ADAPTER_CONFIG, Trained
from tuneloop.runtime.weights import ResolvedModel, published

CONVERTER = "convert_hf_to_gguf.py"
CONVERTER_VARIABLE = "TUNELOOP_GGUF_CONVERTER"
GGUF_MAGIC = b"GGUF"


def need_free(out: Path) -> None:
    """Raise TuneloopError where something is at `out` already: nothing is ever overwritten."""
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise TuneloopError(
            "there is something already", where=str(out), hint="name another --out, or remove it"
        )
    if out.is_dir():
        out.rmdir()


def write_merged(
    trained: Trained, base: ResolvedModel, out: Path, *, dtype: str | None = None
) -> dict[str, Any]:
    """Write base plus adapter as one safetensors folder; return what the check found.

    Raises:
        TrainingError: if the merged logits do not fit; nothing is left at `out` then, and
            nothing else is touched.
    """
    from tuneloop.runtime.merge import merge_adapter

    if not trained.is_adapter:
        raise TuneloopError(
            "this is a whole model already: there is nothing to merge",
            where=str(trained.folder),
            hint="`tuneloop export` writes it in other formats",
        )
    need_free(out)
    with published(out) as partial:
        check = merge_adapter(base, trained.folder, partial, dtype=dtype)
    return asdict(check)


def write_folder(trained: Trained, base_name: str | None, out: Path) -> None:
    """Copy the adapter or the model into `out`; an adapter's config then names its base."""
    need_free(out)
    with published(out) as partial:
        for path in sorted(p for p in trained.folder.iterdir() if p.is_file()):
            shutil.copyfile(path, partial / path.name)  # a checkout is read-only, a copy is not
        if trained.is_adapter and base_name:
            path = partial / ADAPTER_CONFIG
            config = json.loads(path.read_text(encoding="utf-8"))
            config["base_model_name_or_path"] = base_name
            path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def find_converter() -> list[str]:
    """Return the command of llama.cpp's converter.

    Raises:
        TuneloopError: if it is not installed, saying where it is looked for.
    """
    named = os.environ.get(CONVERTER_VARIABLE)
    places = [named] if named else [shutil.which(n) for n in (CONVERTER, CONVERTER[:-3])]
    for place in places:
        if place and Path(place).expanduser().is_file():
            path = str(Path(place).expanduser())
            return [sys.executable, path] if path.endswith(".py") else [path]
    raise TuneloopError(
        f"{named} is no file" if named else f"llama.cpp's converter {CONVERTER} is not installed",
        where="export --format gguf",
        hint=f"get llama.cpp's source and set {CONVERTER_VARIABLE} to its {CONVERTER}, or put that "
        "on the PATH; or export safetensors, which llama.cpp's own tools convert as well",
    )


def write_gguf(model_folder: Path, out: Path, *, outtype: str) -> None:
    """Let llama.cpp's converter write a model folder as a GGUF file.

    Args:
        model_folder: A whole model: config, tokenizer, safetensors.
        out: The file.
        outtype: What the converter calls the type: f32, f16, bf16, q8_0, auto.

    Raises:
        TuneloopError: if the converter fails or leaves no GGUF file; then nothing is at `out`.
    """
    command = find_converter()
    need_free(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial.gguf")
    command += [str(model_folder), "--outfile", str(partial), "--outtype", outtype]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not partial.is_file() or not _is_gguf(partial):
            last = (done.stderr or done.stdout).strip().splitlines()[-3:]
            raise TuneloopError(
                f"the converter ended with {done.returncode}: {' | '.join(last) or 'no output'}",
                where=command[-6] if len(command) > 6 else command[0],
                hint="it may not know this architecture yet: update llama.cpp",
            )
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def _is_gguf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == GGUF_MAGIC
