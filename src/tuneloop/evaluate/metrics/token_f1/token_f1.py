"""Token F1: how many words answer and reference share, order aside."""

from __future__ import annotations

from collections import Counter
from typing import Any

import datasets
import evaluate


class TokenF1(evaluate.Metric):  # type: ignore[misc]
    """F1 over lower-cased words; 1 for the same words, 0 for none shared."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            inputs_description="predictions and references: texts, one each per prompt",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, Any]:
        scores = [f1(p, r) for p, r in zip(predictions, references, strict=True)]
        return {"token_f1": sum(scores) / len(scores), "scores": scores}


def f1(prediction: str, reference: str) -> float:
    """Return the F1 of shared words, counted with repetition; 1 where both are empty."""
    said, wanted = prediction.lower().split(), reference.lower().split()
    if not said or not wanted:
        return float(said == wanted)
    shared = sum((Counter(said) & Counter(wanted)).values())
    return 2 * shared / (len(said) + len(wanted))
