"""Every method against plain TRL on the same batch: the loss and each gradient."""

import json

import pytest
import torch
import training
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer

from tuneloop.config.train import SMOOTHED, DpoLoss
from tuneloop.train.setup import load_tokenizer

B = 8
QUIET = {
    "per_device_train_batch_size": B, "use_cpu": True, "bf16": False, "report_to": [], "seed": 5,
    "gradient_checkpointing": False, "disable_tqdm": True, "max_length": None,
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return training.write_examples(tmp_path_factory.mktemp("examples"), n_train=B, n_validation=2)


class Ours:
    """A trainer of ours, stopped before it trains, moved away from its reference."""

    def __init__(self, monkeypatch, kind, examples, base, work, **config):
        from tuneloop.train import session

        def stop(trainer, *args):
            self.trainer, self.rows = trainer, list(trainer.train_dataset)
            raise StopIteration

        monkeypatch.setattr(session, "fit", stop)
        sizes = {"global_batch_size": B, "micro_batch_size": B, "max_steps": 1}
        with pytest.raises(StopIteration):
            training.train(kind, examples, work, base, **sizes | config)
        move(self.trainer.model)

    def step(self):
        """Return the loss of the one batch and the gradients by name."""
        batch = self.trainer.data_collator(self.rows)
        batches, n = self.trainer.get_batch_samples(iter([batch]), 1, torch.device("cpu"))
        self.trainer.model.train()
        self.trainer.model.zero_grad()
        self.trainer.current_gradient_accumulation_steps = 1
        loss = self.trainer.compute_loss(self.trainer.model, batches[0], num_items_in_batch=n)
        loss.backward()
        return loss.item(), grads(self.trainer.model)


def move(model):
    """Give an adapter the same random weights wherever it is."""
    torch.manual_seed(3)
    for name, parameter in sorted(model.named_parameters()):
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)


def grads(model):
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def plain(trainer_class, args, base, rows, tmp_path):
    """TRL's own trainer with the same weights on the same token ids; its loss and gradients."""

    class Plain(trainer_class):
        def _prepare_dataset(self, dataset, *_, **__):
            return dataset

    model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
    lora = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = Plain(
        model=get_peft_model(model, lora) if trainer_class is SFTTrainer else model,
        peft_config=None if trainer_class is SFTTrainer else lora,
        args=args, processing_class=load_tokenizer(base), train_dataset=Dataset.from_list(rows),
    )  # fmt: skip
    move(trainer.model)
    trainer.model.train()
    batch = trainer.data_collator(rows)
    n = (batch["labels"][:, 1:] != -100).sum() if "labels" in batch else None
    loss = trainer.compute_loss(trainer.model, batch, num_items_in_batch=n)
    loss.backward()
    return loss.item(), grads(trainer.model)


def assert_same(ours, theirs):
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5, abs=1e-7)
    assert ours[1].keys() == theirs[1].keys()
    assert len(ours[1]) == 28
    assert max(g.abs().max() for g in theirs[1].values()) > 1e-6
    for name, gradient in theirs[1].items():
        assert (ours[1][name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-8, name


def without(rows, *names):
    return [{k: v for k, v in row.items() if k not in names} for row in rows]


@pytest.mark.parametrize("loss", ["nll", "dft"])
def test_sft_loss_and_gradients_are_trls(monkeypatch, base, examples, tmp_path, loss):
    ours = Ours(monkeypatch, "sft", examples, base, tmp_path, loss_type=loss)
    found = ours.step()
    args = SFTConfig(output_dir=str(tmp_path / "trl"), loss_type=loss, **QUIET)
    assert_same(found, plain(SFTTrainer, args, base, ours.rows, tmp_path))


MIXTURES = [[loss] for loss in DpoLoss.__args__] + [["sigmoid", "sft"], ["apo_zero", "ipo", "sft"]]


@pytest.mark.parametrize("losses", MIXTURES, ids="+".join)
def test_dpo_loss_and_gradients_are_trls(monkeypatch, base, examples, tmp_path, losses):
    knobs = {"loss_type": losses, "loss_weights": [1.0, 0.3, 0.7][: len(losses)]}
    knobs |= {} if losses == ["sft"] else {"beta": 0.3}
    knobs |= {"label_smoothing": 0.15} if set(losses) & set(SMOOTHED) else {}
    knobs |= {"discopop_tau": 0.1} if losses == ["discopop"] else {}
    ours = Ours(monkeypatch, "dpo", examples, base, tmp_path, use_weights=False, **knobs)
    found = ours.step()
    args = DPOConfig(output_dir=str(tmp_path / "trl"), **knobs, **QUIET)
    rows = without(ours.rows, "ref_chosen_logps", "ref_rejected_logps")
    assert_same(found, plain(DPOTrainer, args, base, rows, tmp_path))


@pytest.mark.parametrize("loss", ["kto", "apo_zero_unpaired"])
def test_kto_loss_and_gradients_are_trls(monkeypatch, base, examples, tmp_path, loss):
    knobs = {"loss_type": loss, "beta": 0.2, "desirable_weight": 1.5, "undesirable_weight": 0.8}
    ours = Ours(monkeypatch, "kto", examples, base, tmp_path, **knobs)
    found = ours.step()
    assert (ours.trainer.distance > 0.01) is (loss == "kto")  # else the comparison says little
    args = KTOConfig(output_dir=str(tmp_path / "trl"), **knobs, **QUIET)
    rows = without(ours.rows, "ref_logps", "ref_KL_logps")
    assert {row["label"] for row in rows} == {True, False}
    assert_same(found, plain(KTOTrainer, args, base, rows, tmp_path))


def test_the_kto_distance_is_measured_without_dropout(monkeypatch, base, examples, tmp_path):
    ours = Ours(monkeypatch, "kto", examples, base, tmp_path,
                lora={"r": 4, "alpha": 8, "dropout": 0.5})  # fmt: skip
    trainer = ours.trainer
    batch = trainer._prepare_inputs(trainer.data_collator(ours.rows))
    trainer.model.eval()
    expected = trainer.moved(batch)["moved"].item()
    trainer.model.train()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert trainer.moved(batch)["moved"].item() == expected
    assert torch.equal(torch.get_rng_state(), before)
    assert trainer.model.training


# -- weights -------------------------------------------------------------------------
def with_weights(examples, folder, weights):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    for path in examples.folder.glob("*.parquet"):
        table = pq.read_table(path)
        if path.stem.endswith("_train"):
            table = table.drop_columns([c for c in ("weight",) if c in table.column_names])
            table = table.append_column("weight", pa.array(weights))
        pq.write_table(table, folder / path.name)
    return training.Folder(folder)


@pytest.mark.parametrize("kind", ["sft", "dpo", "kto"])
def test_equal_weights_give_exactly_the_unweighted_loss(
    monkeypatch, base, examples, tmp_path, kind
):
    third = with_weights(examples, tmp_path / "third", [0.3] * B)
    weighted = Ours(monkeypatch, kind, third, base, tmp_path / "a").step()
    bare = Ours(monkeypatch, kind, examples, base, tmp_path / "b", use_weights=False).step()
    assert weighted[0] == bare[0]
    assert all(torch.equal(weighted[1][name], bare[1][name]) for name in bare[1])


@pytest.mark.parametrize("kind", ["sft", "dpo", "kto"])
def test_a_row_of_double_weight_counts_like_two_rows(monkeypatch, base, examples, tmp_path, kind):
    """Weights 2 and 1 must give what the heavy rows twice and the light ones once give."""
    import pyarrow.parquet as pq

    weights = [2.0 if i < 3 else 1.0 for i in range(B)]
    heavy = with_weights(examples, tmp_path / "heavy", weights)
    twice = with_weights(examples, tmp_path / "twice", [1.0] * B)
    for path in twice.folder.glob("*_train.parquet"):
        pq.write_table(pq.read_table(path).take([*range(B), 0, 1, 2]), path)
    config = {"loss_type": "apo_zero_unpaired"} if kind == "kto" else {}
    found = Ours(monkeypatch, kind, heavy, base, tmp_path / "a", **config).step()
    sizes = {"global_batch_size": B + 3, "micro_batch_size": B + 3}
    wanted = Ours(monkeypatch, kind, twice, base, tmp_path / "b", **sizes, **config).step()
    assert found[0] == pytest.approx(wanted[0], rel=1e-5)
    for name, gradient in wanted[1].items():
        assert torch.allclose(found[1][name], gradient, rtol=1e-3, atol=2e-6), name


def test_the_kto_loss_does_not_depend_on_the_micro_batch(base, examples, tmp_path):
    curves = []
    for micro in (B, 2, 1):
        output = training.train(
            "kto", examples, tmp_path / str(micro), base, max_steps=4, global_batch_size=B,
            micro_batch_size=micro, logging_steps=1, lr=3e-2,
        )  # fmt: skip
        curves.append(json.loads(output.files["history.json"].read_text()))
    for curve in curves[1:]:
        for part in ("train", "validation"):
            losses = [p["loss"] for p in curve[part]]
            assert losses == pytest.approx([p["loss"] for p in curves[0][part]], abs=2e-4)
    assert abs(curves[0]["train"][-1]["loss"] - 0.5) > 1e-3
