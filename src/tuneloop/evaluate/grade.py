"""Graded metrics against the references."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

MODULES = Path(__file__).parent / "metrics"


def grade(
    metric: str, predictions: Sequence[str], references: Sequence[str], *, work: Path
) -> list[float]:
    """Return one value per answer.

    Args:
        metric: Folder of an `evaluate` module below `metrics/`.
        predictions: Answers.
        references: What they are compared with, one each.
        work: Folder for what the library writes.
    """
    if not predictions:
        return []
    import evaluate

    module = evaluate.load(
        str(MODULES / metric / f"{metric}.py"), cache_dir=str(work), keep_in_memory=True
    )
    scored = module.compute(predictions=list(predictions), references=list(references))
    return [float(value) for value in scored["scores"]]
