"""What a training stage starts from."""

from __future__ import annotations

from dataclasses import dataclass

from tuneloop.artefacts.stage import Adapter, ExampleSet
from tuneloop.runtime.weights import ResolvedModel


@dataclass(frozen=True)
class TrainInputs:
    """The rows, the base model, and what an earlier training stage left on top of it."""

    examples: ExampleSet
    base: ResolvedModel
    start: Adapter | None = None
