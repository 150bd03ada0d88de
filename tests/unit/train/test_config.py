import pytest
from pydantic import ValidationError

from tuneloop.config.train import DpoConfig, KtoConfig, SftConfig, TrainConfig


@pytest.mark.parametrize(
    ("section", "values", "reason"),
    [
        (SftConfig, {"quantisation": "nf4", "lora": {"init": "pissa"}}, "moves the base"),
        (SftConfig, {"global_batch_size": 10, "micro_batch_size": 4}, "multiple"),
        (SftConfig, {"early_stopping_patience": 2, "save_steps": 10}, "save_steps"),
        (SftConfig, {"lora": {"use_dora": True}, "merge": False}, "leave merge out"),
        (SftConfig, {"lora": {"modules_to_save": ["norm"]}, "merge": False}, "leave merge out"),
        (SftConfig, {"lora": {"init": "pissa", "use_dora": True}}, "converted to plain LoRA"),
        (SftConfig, {"lora": {"target_modules": ["lm_head"]}}, "never be trained"),
        (SftConfig, {"lora": {"target_modules": ["a"], "modules_to_save": ["a"]}}, "both"),
        (SftConfig, {"lora": {"target_modules": "(q_proj"}}, "no pattern"),
        (SftConfig, {"lora": {"target_modules": []}}, "at least one"),
        (SftConfig, {"adapter": "full", "quantisation": "nf4"}, "freezes"),
        (SftConfig, {"adapter": "full", "lora": {"r": 4}}, "would ignore lora"),
        (SftConfig, {"adapter": "full", "lr_ratio_b": 16}, "would ignore lr_ratio_b"),
        (SftConfig, {"adapter": "full", "merge": True}, "would ignore merge"),
        (DpoConfig, {"loss_type": ["exo_pair"]}, "label_smoothing"),
        (DpoConfig, {"loss_type": ["robust"]}, "is sigmoid"),
        (DpoConfig, {"loss_type": ["sft"], "beta": 0.3}, "would ignore it"),
        (DpoConfig, {"discopop_tau": 0.1}, "would ignore it"),
        (DpoConfig, {"loss_type": ["aot"]}, "use_weights"),
        (DpoConfig, {"loss_type": ["sft", "sft"]}, "twice"),
        (DpoConfig, {"loss_type": []}, "at least 1"),
        (DpoConfig, {"loss_weights": [0.0]}, "above 0"),
        (KtoConfig, {"global_batch_size": 1, "micro_batch_size": 1}, "2 at least"),
        (TrainConfig, {"order": ["sft", "sft", "dpo"]}, "twice"),
        (TrainConfig, {"order": ["sft", "kto"]}, "kto.enabled"),
        (TrainConfig, {"order": ["sft"], "dpo": {"lr": 1e-6}}, "not in order"),
        (TrainConfig, {"dpo": {"lora": {"r": 4}}}, "would ignore its own"),
        (TrainConfig, {"sft": {"adapter": "full"}, "dpo": {"merge": False}}, "leave dpo.merge"),
        (TrainConfig, {"sft": {"lora": {"use_dora": True}}, "dpo": {"merge": False}}, "dpo.merge"),
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
    SftConfig(lora={"use_dora": True})
    SftConfig(lora={"target_modules": r".*mlp.*"})
    SftConfig(adapter="full", merge=False)
    DpoConfig(loss_type=["aot"], use_weights=False, label_smoothing=0.1)
    DpoConfig(loss_type=["discopop"], discopop_tau=0.1)
    TrainConfig(dpo={"lora": {"r": 4}}, sft={"lora": {"r": 4}})
    TrainConfig(sft={"enabled": False}, dpo={"lora": {"r": 4}})


def test_the_chain_is_what_is_enabled_in_the_order_asked_for():
    assert TrainConfig().chain == ["sft", "dpo"]
    assert TrainConfig(kto={"enabled": True}).chain == ["sft", "dpo", "kto"]
    turned = TrainConfig(order=["kto", "dpo", "sft"], kto={"enabled": True})
    assert turned.chain == ["kto", "dpo", "sft"]


def test_what_is_resolved_can_be_read_again():
    config = TrainConfig(kto={"enabled": True}, dpo={"loss_type": ["sft"]})
    assert TrainConfig.model_validate(config.model_dump()) == config
