"""The reference's log-probabilities, computed once before training and kept across runs."""

from __future__ import annotations

import hashlib
import uuid
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tuneloop.artefacts.digest import digest_json
from tuneloop.runtime.hardware import device
from tuneloop.train import distributed
from tuneloop.train.sharding import in_step

if TYPE_CHECKING:
    from tuneloop.artefacts.stage import Progress, StageContext
    from tuneloop.train.rows import TokenRows
    from tuneloop.train.setup import Run
    from tuneloop.train.trainers import ReferenceTrainer


def add_reference(
    trainer: ReferenceTrainer, run: Run, tokens: TokenRows, context: StageContext
) -> None:
    """Give each row the reference's log-probabilities of its answers.

    Before its first step the policy is the reference: the adapter or model it starts from, or
    the base under a fresh adapter. So no second model and no second adapter is needed, and none can
    be mixed up on resuming. They are kept across runs, by data, weights and all that their
    rounding depends on, so that a run gives the same whether it finds them or not.

    Args:
        trainer: Prepared, not yet trained nor resumed.
        run: The training.
        tokens: Gets the trainer's `reference_columns`.
        context: Has the cache, and shows how far it is.
    """
    path = _path(run, tokens, context.cache or run.work)
    # The first process looks, for all: another run may write the file just now.
    kept = distributed.gather([_load(path, len(tokens.rows)) if distributed.rank() == 0 else None])
    logps = kept[0]
    if logps is None:
        logps = np.asarray(_log_probs(trainer, tokens, context.progress), dtype=np.float32)
        if distributed.is_main_process():
            _save(path, logps)
    for row, values in zip(tokens.rows, logps, strict=True):
        row.update(zip(trainer.reference_columns, map(float, values), strict=True))


def _path(run: Run, tokens: TokenRows, folder: Path) -> Path:
    config = run.config
    rounding = [run.precision, device(), config.quantisation, config.packing,
                config.micro_batch_size, config.adapter, run.seed,
                config.lora.model_dump(mode="json"),
                *map(version, ("torch", "transformers", "peft"))]  # fmt: skip
    name = digest_json([run.start_digest, rounding, tokens.rows])[:32]
    return folder / f"reference-{name}.safetensors"


def _load(path: Path, n_rows: int) -> Any:
    """Return log-probabilities (rows, columns) that were kept whole, None otherwise."""
    try:
        with safe_open(path, framework="numpy") as file:
            logps, said = file.get_tensor("logps"), (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        return None
    return logps if said == _digest(logps) and len(logps) == n_rows else None


def _save(path: Path, logps: Any) -> None:
    """Write them whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    save_file({"logps": logps}, partial, metadata={"sha256": _digest(logps)})
    partial.replace(path)


def _digest(logps: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(logps).tobytes()).hexdigest()


def _log_probs(trainer: ReferenceTrainer, tokens: TokenRows, progress: Progress) -> list[Any]:
    """Return the log-probabilities of every row's answers, by row."""
    import torch

    size = trainer.args.per_device_eval_batch_size
    order = sorted(range(len(tokens.rows)), key=tokens.lengths.__getitem__)
    batches = [order[i : i + size] for i in range(0, len(order), size)]
    mine = batches[distributed.rank() :: distributed.world_size()]
    progress.start("reference log-probabilities", total=len(mine))
    trainer.model.eval()
    found: list[tuple[int, list[float]]] = []
    for batch, counts in in_step(mine):
        inputs = trainer._prepare_inputs(trainer.data_collator([tokens.rows[i] for i in batch]))
        with torch.no_grad():
            log_probs = trainer.reference_log_probs(inputs).tolist()
        found += zip(batch, log_probs, strict=True) if counts else ()
        progress.advance()
    progress.done()
    return [values for _, values in sorted(distributed.gather(found))]
