"""The reference's log-probabilities, computed once before training and kept on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneloop.artefacts.digest import digest_json
from tuneloop.train import distributed

if TYPE_CHECKING:
    from tuneloop.artefacts.stage import Progress
    from tuneloop.train.rows import TokenRows
    from tuneloop.train.trainers import ReferenceTrainer


def add_reference(
    trainer: ReferenceTrainer, tokens: TokenRows, *, weights: str, work: Path, progress: Progress
) -> None:
    """Give each row the reference's log-probabilities of its answers.

    Before its first step the policy is the reference: the adapter or model it starts from, or
    the base under a fresh adapter. So no second model and no second adapter is needed, and none can
    be mixed up on resuming.

    Args:
        trainer: Prepared, not yet trained nor resumed.
        tokens: Gets the trainer's `reference_columns`.
        weights: Digest of what the reference is.
        work: Where they are kept, by data and weights, so that a killed run finds them again.
        progress: Shows how far it is.
    """
    import numpy as np
    from safetensors.numpy import load_file, save_file

    path = work / f"reference-{digest_json([weights, tokens.rows])[:24]}.safetensors"
    if path.is_file():
        logps = load_file(path)["logps"]
    else:
        logps = np.asarray(_log_probs(trainer, tokens, progress), dtype=np.float32)
        distributed.barrier()  # every process has looked for the file before it appears
        if distributed.is_main_process():
            partial = path.with_name(f".{path.name}")
            save_file({"logps": logps}, partial)
            partial.replace(path)
    for row, values in zip(tokens.rows, logps, strict=True):
        row.update(zip(trainer.reference_columns, map(float, values), strict=True))


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
    for batch in mine:
        inputs = trainer._prepare_inputs(trainer.data_collator([tokens.rows[i] for i in batch]))
        with torch.no_grad():
            found += zip(batch, trainer.reference_log_probs(inputs).tolist(), strict=True)
        progress.advance()
    progress.done()
    return [values for _, values in sorted(distributed.gather(found))]
