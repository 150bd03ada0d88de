"""Exact match: answer and reference are the same text, surrounding space aside."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate


class ExactMatch(evaluate.Metric):  # type: ignore[misc]
    """1 where the texts are equal, else 0; case counts."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            inputs_description="predictions and references: texts, one each per prompt",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, Any]:
        pairs = zip(predictions, references, strict=True)
        scores = [float(p.strip() == r.strip()) for p, r in pairs]
        return {"exact_match": sum(scores) / len(scores), "scores": scores}
