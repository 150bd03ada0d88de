"""The KTO recipe, from top to bottom."""

from __future__ import annotations

from tuneloop.artefacts.stage import StageContext, StageOutput
from tuneloop.config.train import KtoConfig, TrackingConfig
from tuneloop.errors import TrainingError
from tuneloop.train.inputs import TrainInputs


def train_kto(
    inputs: TrainInputs, config: KtoConfig, tracking: TrackingConfig, context: StageContext
) -> StageOutput:
    """Train, save and return; see `tuneloop.train.stage.kto`."""
    raise TrainingError("KTO cannot be trained yet", where="kto")
