"""What training leaves: an adapter, its merge where wanted or needed, or a whole model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tuneloop.artefacts.digest import digest_file
from tuneloop.artefacts.stage import Progress
from tuneloop.runtime.merge import RoundedAway
from tuneloop.runtime.weights import ResolvedModel, merged_folder
from tuneloop.train import distributed
from tuneloop.train.adapter import WEIGHTS, save_adapter, servable_as_adapter
from tuneloop.train.setup import Run
from tuneloop.train.sharding import whole_weights


def result_files(trainer: Any, run: Run, begun: Path | None, progress: Progress) -> dict[str, Path]:
    """Write and return the files of the weights by their name in the artefact.

    `adapter/…`, with `merged/…` where the config asks for it or vLLM could not serve the adapter;
    `model/…` after full fine-tuning and on top of it, where no adapter fits the base.

    Args:
        trainer: Trained.
        run: What it trained.
        begun: Folder with the adapter as it began, where its initialisation moved the base.
        progress: Told where a merge takes another type than the base's.
    """
    whole = run.config.adapter == "full"
    # Gathered by all processes together, where each has a part.
    weights = whole_weights(trainer.model, trained_only=not whole) if distributed.shards() else None
    if whole:
        folder = run.work / "model"
        if distributed.is_main_process():
            _save_model(trainer, run, folder, weights)
        distributed.barrier()
        return _files("model", folder)
    adapter = run.work / "adapter"
    if distributed.is_main_process():
        save_adapter(trainer.model, adapter, base=run.base, start=begun, weights=weights)
    distributed.barrier()
    if run.leaves_model:
        return _files("model", merged(run.base, adapter, run.work, progress))
    files = _files("adapter", adapter)
    if run.config.merge or not servable_as_adapter(adapter):
        files |= _files("merged", merged(run.base, adapter, run.work, progress))
    return files


def _save_model(trainer: Any, run: Run, folder: Path, weights: dict[str, Any] | None) -> None:
    """Write the trained model in the type its base is stored in, with its tokenizer."""
    from transformers import AutoConfig

    shutil.rmtree(folder, ignore_errors=True)
    stored = AutoConfig.from_pretrained(
        run.base.folder, trust_remote_code=run.base.trust_remote_code
    ).dtype
    model = trainer.accelerator.unwrap_model(trainer.model)
    dtype = stored or model.dtype
    if weights is None:
        model = model.to(dtype)
    else:
        weights = {n: w.to(dtype) if w.is_floating_point() else w for n, w in weights.items()}
    model.config.dtype = dtype
    model.save_pretrained(folder, state_dict=weights)
    run.tokenizer.save_pretrained(folder)


def merged(base: ResolvedModel, adapter: Path, work: Path, progress: Progress) -> Path:
    """Return the folder of an adapter merged into its base, the same one on every process.

    In the base's own type; in float32 where that would round away what the adapter learned.

    Raises:
        TrainingError: if the merged model's logits do not fit the unmerged model's.
    """
    folder = _merged_here(base, adapter, work, progress) if distributed.is_main_process() else None
    found: Path = distributed.gather([folder])[0]
    return found


def _merged_here(base: ResolvedModel, adapter: Path, work: Path, progress: Progress) -> Path:
    digest = digest_file(adapter / WEIGHTS)
    try:
        return merged_folder(base, adapter, digest, work)
    except RoundedAway as error:
        progress.say(f"{error.what}: merged in float32 instead; serve it with the engine's dtype "
                     "float32, or the same is lost there")  # fmt: skip
        return merged_folder(base, adapter, digest, work, dtype="fp32")


def _files(name: str, folder: Path) -> dict[str, Path]:
    return {f"{name}/{p.name}": p for p in sorted(folder.iterdir()) if p.is_file()}
