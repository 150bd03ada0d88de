"""What replaces PyTorch, PEFT and TRL code must compute the same."""

import copy

import pytest
import torch
import training
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from tuneloop.train.fused import fuse_lora
from tuneloop.train.head import AnswerLogProbs, supports_answer_head

pytestmark = pytest.mark.usefixtures("one_thread")


def tiny(**kwargs):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, **kwargs,
    )  # fmt: skip
    return LlamaForCausalLM(config).requires_grad_(False)


def adapted(model=None, **kwargs):
    model = get_peft_model(
        model or tiny(),
        LoraConfig(r=4, lora_alpha=12, target_modules="all-linear", task_type="CAUSAL_LM",
                   **kwargs),
    )  # fmt: skip
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


@pytest.mark.parametrize("bias", [True, False])
def test_answer_log_probs_equal_log_softmax(monkeypatch, bias):
    monkeypatch.setattr("tuneloop.train.head._CHUNK_LOGITS", 97 * 64)  # several chunks
    torch.manual_seed(0)
    hidden = torch.randn(200, 16, dtype=torch.float64, requires_grad=True)
    weight, targets = torch.randn(97, 16, dtype=torch.float64), torch.randint(97, (200,))
    offset = torch.randn(97, dtype=torch.float64) if bias else None
    scale = torch.randn(200)
    ours = AnswerLogProbs.apply(hidden, weight, offset, targets)
    (ours * scale).sum().backward()
    gradient, hidden.grad = hidden.grad, None
    logits = torch.nn.functional.linear(hidden, weight, offset)
    theirs = torch.log_softmax(logits, -1)[torch.arange(200), targets]
    (theirs * scale).sum().backward()
    assert torch.allclose(ours.double(), theirs, atol=1e-5)
    assert torch.allclose(gradient, hidden.grad, atol=1e-5)


def test_heads_that_do_more_are_left_to_trl():
    assert supports_answer_head(tiny())
    assert not supports_answer_head(adapted(tiny(), modules_to_save=["lm_head"]).get_base_model())
    scaled = tiny()
    scaled.config.logits_scaling = 8.0
    assert not supports_answer_head(scaled)


def gradients(model, tokens):
    model.zero_grad()
    loss = model(input_ids=tokens, labels=tokens).loss
    loss.backward()
    return loss.detach(), {n: p.grad.clone() for n, p in model.named_parameters()
                           if p.grad is not None}  # fmt: skip


@pytest.mark.parametrize("kwargs", [{}, {"use_rslora": True}])
def test_fused_lora_equals_peft(kwargs):
    model = adapted(**kwargs)
    tokens = torch.randint(97, (2, 15))
    loss, expected = gradients(model, tokens)
    assert fuse_lora(model) == 14
    fused_loss, found = gradients(model, tokens)
    assert fused_loss == pytest.approx(loss.item(), abs=1e-6)
    assert found.keys() == expected.keys()
    assert len(found) == 28
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, atol=1e-6), name


def test_fused_layers_step_aside_for_disabled_and_merged_adapters():
    model = adapted()
    tokens = torch.randint(97, (1, 9))
    with torch.no_grad():
        with model.disable_adapter():
            base = model(input_ids=tokens).logits
        expected = model(input_ids=tokens).logits
        fuse_lora(model)
        with model.disable_adapter():
            assert torch.equal(model(input_ids=tokens).logits, base)
        merged = copy.deepcopy(model)
        merged.merge_adapter()
        assert torch.allclose(merged(input_ids=tokens).logits, expected, atol=1e-4)
        assert torch.allclose(model(input_ids=tokens).logits, expected, atol=1e-5)


def test_only_plain_layers_are_fused():
    assert fuse_lora(adapted(lora_dropout=0.1)) == 0
    assert fuse_lora(adapted(use_dora=True)) == 0


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return training.write_examples(tmp_path_factory.mktemp("examples"), n_train=16)


class Spy:
    """Runs a stage and keeps its trainer's rows and log."""

    def __init__(self, monkeypatch, kind):
        from tuneloop.train import session

        plain = session.fit

        def fit(trainer, *args):
            self.trainer, self.rows = trainer, list(trainer.train_dataset)
            watcher = plain(trainer, *args)
            self.log = trainer.state.log_history
            return watcher

        monkeypatch.setattr(session, "fit", fit)

    def losses(self):
        return [entry["loss"] for entry in self.log if "loss" in entry]


def trl_losses(trainer):
    trainer.train()
    return [e["loss"] for e in trainer.state.log_history if "loss" in e]


TRL_ARGUMENTS = {
    "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "learning_rate": 3e-3,
    "lr_scheduler_type": "cosine", "warmup_steps": 0, "logging_steps": 1, "seed": 5,
    "train_sampling_strategy": "sequential", "use_cpu": True, "bf16": False, "report_to": [],
    "gradient_checkpointing": False, "save_strategy": "no", "disable_tqdm": True, "max_steps": 4,
}  # fmt: skip
CONFIG = {"max_steps": 4, "logging_steps": 1, "warmup_fraction": 0.0, "lora": {"r": 4, "alpha": 8}}


def load(base):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)


def lora():
    return LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")


def test_sft_curve_equals_plain_trl(monkeypatch, base, examples, tmp_path):
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from tuneloop.train.setup import load_tokenizer

    spy = Spy(monkeypatch, "sft")
    training.train("sft", examples, tmp_path / "ours", base, **CONFIG)
    assert spy.trainer.answers_only
    assert spy.trainer.packs
    plain = SFTTrainer(
        model=load(base), processing_class=load_tokenizer(base), peft_config=lora(),
        args=SFTConfig(output_dir=str(tmp_path / "trl"), max_length=None, **TRL_ARGUMENTS),
        train_dataset=Dataset.from_list(spy.rows),
    )  # fmt: skip
    assert spy.losses() == pytest.approx(trl_losses(plain), abs=1e-4)
    assert spy.losses()[0] != pytest.approx(spy.losses()[-1], abs=1e-2)


@pytest.mark.parametrize("from_adapter", [False, True])
@pytest.mark.parametrize("loss", [["sigmoid"], ["apo_zero", "sft"]])
def test_dpo_curve_equals_plain_trl(monkeypatch, base, examples, tmp_path, loss, from_adapter):
    from datasets import Dataset
    from peft import PeftModel
    from trl import DPOConfig, DPOTrainer

    from tuneloop.train.setup import load_tokenizer

    start = None
    if from_adapter:
        output = training.train("sft", examples, tmp_path / "sft", base, **CONFIG)
        start = training.Folder(output.files["history.json"].parent)
    spy = Spy(monkeypatch, "dpo")
    training.train("dpo", examples, tmp_path / "ours", base, start=start, loss_type=loss, **CONFIG)
    tokenizer = load_tokenizer(base)
    rows = [
        {"prompt": tokenizer.decode(r["prompt_ids"]), "chosen": tokenizer.decode(r["chosen_ids"]),
         "rejected": tokenizer.decode(r["rejected_ids"])} for r in spy.rows
    ]  # fmt: skip

    class Plain(DPOTrainer):
        """TRL's, on the same tokens."""

        def _prepare_dataset(self, dataset, *args, **kwargs):
            return Dataset.from_list(
                [{k: r[k] for k in ("prompt_ids", "chosen_ids", "rejected_ids")} for r in spy.rows]
            )

    model = load(base)
    if start:
        model = PeftModel.from_pretrained(model, str(start.path("adapter")), is_trainable=True)
    plain = Plain(
        model=model, processing_class=tokenizer, peft_config=None if start else lora(),
        args=DPOConfig(output_dir=str(tmp_path / "trl"), loss_type=loss, **TRL_ARGUMENTS),
        train_dataset=Dataset.from_list(rows),
    )  # fmt: skip
    assert spy.losses() == pytest.approx(trl_losses(plain), abs=1e-4)
    assert abs(spy.losses()[0] - spy.losses()[-1]) > 1e-3
