"""Perplexity and exact answers on general rows, against other people's implementations."""

import json
import math

import numpy as np
import pytest
import torch
from scipy import stats

from tuneloop.config.trainer import HoldoutConfig
from tuneloop.errors import DataError
from tuneloop.runtime.progress import SilentProgress
from tuneloop.train.forgetting import RowScore, forgetting, holdout_rows, perplexity, score_rows


@pytest.fixture(scope="module")
def model(base):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)


@pytest.fixture(scope="module")
def tokenizer(base):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base.folder)


def write(path, *rows):
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return HoldoutConfig(path=str(path), max_length=64)


ROWS = [
    {"text": "my order is late and the invoice was charged twice"},
    {"messages": [{"role": "user", "content": "help"}, {"role": "assistant", "content": "today"}]},
    {"prompt": "a refund", "completion": "Please send us the number of your order."},
    {"text": "word " * 100},
]


def test_the_loss_is_what_transformers_says(tmp_path, model, tokenizer):
    rows = holdout_rows(write(tmp_path / "h.jsonl", *ROWS), tokenizer, seed=0)
    assert rows.dropped == {"too_long": 1}
    scores = score_rows(model, rows, SilentProgress(), name="x")
    for row, score in zip(rows.rows, scores, strict=True):
        ids, labels = torch.tensor([row["input_ids"]]), torch.tensor([row["labels"]])
        with torch.no_grad():
            loss = model(input_ids=ids, labels=labels).loss
        assert score.nll / score.n == pytest.approx(float(loss), rel=1e-5)
    total = sum(s.nll for s in scores) / sum(s.n for s in scores)
    assert perplexity(scores)["estimate"] == pytest.approx(math.exp(total), rel=1e-5)


def test_exact_means_that_greedy_decoding_gives_it(tmp_path, model, tokenizer):
    prompt = tokenizer("my order", return_tensors="pt").input_ids
    made = model.generate(prompt, max_new_tokens=6, do_sample=False, eos_token_id=None)
    from tuneloop.train.rows import TokenRows

    ids = made[0].tolist()
    labels = [-100] * prompt.shape[1] + ids[prompt.shape[1] :]
    wrong = [*ids[:-1], (ids[-1] + 1) % 500]
    rows = TokenRows(
        rows=[
            {"input_ids": ids, "labels": labels},
            {"input_ids": wrong, "labels": [*labels[:-1], wrong[-1]]},
        ]
    )
    scores = score_rows(model, rows, SilentProgress(), name="x")
    assert [score.exact for score in scores] == [True, False]


def test_equal_lengths_give_the_paired_t_interval():
    draw = np.random.default_rng(0)
    before, after = draw.normal(20, 3, 30), draw.normal(21, 3, 30)
    found = forgetting(
        [RowScore(x, 10, False) for x in before],
        [RowScore(x, 10, False) for x in after],
        _rows(30),
        limit=1.2,
    )["perplexity"]["change"]
    expected = stats.ttest_rel(after / 10, before / 10).confidence_interval(0.95)
    assert math.log(found["ci_low"]) == pytest.approx(expected.low, abs=1e-5)
    assert math.log(found["ci_high"]) == pytest.approx(expected.high, abs=1e-5)


def test_the_gate_asks_the_upper_end():
    scores = [RowScore(10.0 + i % 3, 10, True) for i in range(20)]
    worse = [RowScore(s.nll + 0.3 + 0.1 * (i % 2), 10, i > 3) for i, s in enumerate(scores)]
    found = forgetting(scores, worse, _rows(20), limit=1.03)
    assert found["perplexity"]["change"]["estimate"] == pytest.approx(math.exp(0.035), rel=1e-4)
    assert found["within_limit"] is False
    assert forgetting(scores, worse, _rows(20), limit=1.5)["within_limit"] is True
    assert found["exact"]["lost"] == 4
    assert found["exact"]["after"]["ci_low"] < 0.8 < found["exact"]["after"]["ci_high"]


def test_one_row_has_no_interval_and_passes_no_gate():
    one = [RowScore(10.0, 10, True)]
    found = forgetting(one, one, _rows(1), limit=2.0)
    assert found["perplexity"]["change"]["ci_low"] is None
    assert found["within_limit"] is None


@pytest.mark.parametrize(
    "line",
    ["not json", '{"text": 3}', '{"messages": [{"role": "user", "content": "a"}]}', "[]",
     '{"prompt": "a"}'],
)  # fmt: skip
def test_a_line_that_is_no_row_is_named(tmp_path, tokenizer, line):
    path = tmp_path / "h.jsonl"
    path.write_text('{"text": "my order is late"}\n' + line + "\n")
    with pytest.raises(DataError) as caught:
        holdout_rows(HoldoutConfig(path=str(path)), tokenizer, seed=0)
    assert caught.value.where.endswith("h.jsonl:2")


def _rows(n):
    from tuneloop.train.rows import TokenRows

    return TokenRows(rows=[{}] * n, n_in=n)
