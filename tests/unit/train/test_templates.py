"""Masks under the habits of released templates, and templates that do not fit."""

import json

import pytest
import training

from tuneloop.errors import TrainingError
from tuneloop.train.encode import kto_rows, sft_rows
from tuneloop.train.rows import IGNORED, decoded
from tuneloop.train.setup import load_tokenizer
from tuneloop.train.templates import check_template

TURN = "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
ASK = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
# As Qwen3 does: the reasoning of earlier turns is left out, the last turn always thinks.
STRIPS = (
    "{% for m in messages %}{% if m['role'] == 'assistant' and loop.last %}"
    "<|im_start|>assistant\n<think>\n{{ m.get('reasoning_content', '') }}\n</think>\n\n"
    "{{ m['content'] }}<|im_end|>\n{% else %}" + TURN + "{% endif %}{% endfor %}" + ASK
)
# As Gemma 2 does.
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for m in messages %}" + TURN + "{% endfor %}" + ASK
)
# As Llama 3 does: today's date, tools before the first question.
DATED = (
    "<|im_start|>system\nToday: {{ strftime_now('%d %b %Y') }}\n"
    "{% if tools %}{{ tools | tojson }}{% endif %}<|im_end|>\n"
    "{% for m in messages %}" + TURN + "{% endfor %}" + ASK
)


@pytest.fixture
def base(tmp_path):
    return training.tiny_base(tmp_path)


@pytest.fixture
def tokenizer(base):
    return load_tokenizer(base)


def said(role, content, **more):
    return {"role": role, "content": content} | more


def learned(tokenizer, row):
    return tokenizer.decode([x for x in row["labels"] if x != IGNORED])


TALK = {
    "prompt": [said("user", "hello"), said("assistant", "good day", reasoning_content="greet"),
               said("user", "help")],
    "completion": [said("assistant", "of course", reasoning_content="they ask")],
    "loss_on": "all",
}  # fmt: skip


def test_every_turn_is_found_where_the_template_shows_the_last_one_otherwise(tokenizer):
    tokenizer.chat_template = STRIPS
    rows = sft_rows([TALK], tokenizer, max_length=400)
    assert learned(tokenizer, rows.rows[0]) == (
        "good day<|im_end|>\n<think>\nthey ask\n</think>\n\nof course<|im_end|>\n"
    )
    assert not +rows.notes
    pieces = decoded(rows.rows[0], tokenizer)
    assert [part for part, _ in pieces] == ["masked", "learned"] * 2
    assert "".join(text for _, text in pieces) == tokenizer.decode(rows.rows[0]["input_ids"])


def test_masked_reasoning_is_masked_in_every_turn(tokenizer):
    rows = sft_rows([TALK | {"reasoning": "mask"}], tokenizer, max_length=400)
    whole = tokenizer.decode(rows.rows[0]["input_ids"])
    assert "greet" in whole
    assert "they ask" in whole
    assert learned(tokenizer, rows.rows[0]) == "good day<|im_end|>\nof course<|im_end|>\n"


def test_rows_a_template_refuses_are_counted_and_its_words_kept(tokenizer):
    tokenizer.chat_template = NO_SYSTEM
    good = {"prompt": [said("user", "a")], "completion": [said("assistant", "b")]}
    bad = good | {"prompt": [said("system", "be kind"), said("user", "a")]}
    rows = sft_rows([good, bad, good], tokenizer, max_length=100)
    assert len(rows.rows) == 2
    assert rows.dropped == {"refused_by_template": 1}
    assert "System role not supported" in rows.dropped_said()


def test_todays_date_is_no_part_of_a_set(tokenizer):
    tokenizer.chat_template = DATED
    row = {"prompt": [said("user", "a")], "completion": [said("assistant", "b")],
           "tools": '[{"name": "find"}]', "label": True}  # fmt: skip
    (tokens,) = kto_rows([row], tokenizer, max_length=400).rows
    prompt = tokenizer.decode(tokens["prompt_ids"])
    assert "Today: 01 Jan 2026" in prompt
    assert '"find"' in prompt
    assert tokenizer.decode(tokens["completion_ids"]) == "b<|im_end|>\n"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (None, "no chat template"),
        ("{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}", "mask"),
        ("{% for m in messages if m['role'] != 'user' %}{{ m['content'] }}{% endfor %}", "user"),
        ("{% for m in messages %}<|turn|>{{ m['content'] }}<|im_end|>{% endfor %}",
         "cuts into . tokens|another model's"),
        ("{% for m in messages %}<|im_start|>{{ m['content'] }}\n{% endfor %}", "never learn"),
    ],
    ids=["none", "hides answers", "hides questions", "foreign marks", "no end"],
)  # fmt: skip
def test_a_template_that_does_not_fit_is_refused(base, tokenizer, template, reason):
    check_template(tokenizer, base.folder)
    tokenizer.chat_template = template
    with pytest.raises(TrainingError, match=reason) as caught:
        check_template(tokenizer, base.folder)
    assert "model.chat_template" in caught.value.hint


def test_generation_may_stop_where_the_models_config_says(base, tokenizer, tmp_path):
    tokenizer.eos_token = "<|endoftext|>"
    with pytest.raises(TrainingError, match="never learn to end"):
        check_template(tokenizer, tmp_path)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, end]}))
    check_template(tokenizer, tmp_path)
