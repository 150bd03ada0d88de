import pytest
from pydantic import ValidationError

from tuneloop.config.train import DpoConfig, SftConfig


@pytest.mark.parametrize(
    ("section", "values", "reason"),
    [
        (SftConfig, {"quantisation": "nf4", "lora": {"init": "pissa"}}, "moves the base"),
        (SftConfig, {"global_batch_size": 10, "micro_batch_size": 4}, "multiple"),
        (SftConfig, {"early_stopping_patience": 2, "save_steps": 10}, "save_steps"),
        (DpoConfig, {"loss_type": ["exo_pair"]}, "label_smoothing"),
        (DpoConfig, {"label_smoothing": 0.1}, "would ignore it"),
        (DpoConfig, {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0]}, "one weight"),
    ],
)
def test_combinations_that_cannot_be_are_refused(section, values, reason):
    with pytest.raises(ValidationError, match=reason):
        section(**values)


def test_combinations_that_can_be_are_taken():
    DpoConfig(loss_type=["robust"], label_smoothing=0.1)
    DpoConfig(loss_type=["exo_pair"], label_smoothing=1e-3)
    DpoConfig(loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.2])
    SftConfig(quantisation="nf4", lora={"init": "gaussian"})
