import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import training

from tuneloop.errors import TrainingError
from tuneloop.train.encode import preference_rows, sft_rows
from tuneloop.train.rows import IGNORED, TokenRows, need_rows, read_rows
from tuneloop.train.setup import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return load_tokenizer(training.tiny_base(tmp_path_factory.mktemp("models")))


def sft_row(prompt, completion):
    return {
        "prompt": training.chat("user", prompt),
        "completion": training.chat("assistant", completion),
    }


def pair(prompt, chosen, rejected):
    return {
        "prompt": training.chat("user", prompt),
        "chosen": training.chat("assistant", chosen),
        "rejected": training.chat("assistant", rejected),
    }


def test_loss_is_on_the_answer_and_its_end_only(tokenizer):
    (row,) = sft_rows([sft_row("where is it?", "on its way")], tokenizer, max_length=100).rows
    learned = [t for t, label in zip(row["input_ids"], row["labels"], strict=True)
               if label != IGNORED]  # fmt: skip
    assert tokenizer.decode(learned) == "on its way<|im_end|>\n"
    assert tokenizer.decode(row["input_ids"]).startswith("<|im_start|>user\nwhere is it?")
    assert tokenizer.decode(row["input_ids"]).count("on its way") == 1


def test_earlier_turns_are_not_learned(tokenizer):
    messages = [*training.chat("user", "hello"), *training.chat("assistant", "good day"),
                *training.chat("user", "help")]  # fmt: skip
    row = {"prompt": messages, "completion": training.chat("assistant", "of course")}
    (tokens,) = sft_rows([row], tokenizer, max_length=100).rows
    learned = tokenizer.decode([x for x in tokens["labels"] if x != IGNORED])
    assert "of course" in learned
    assert "good day" not in learned


def test_long_rows_are_dropped_whole_and_counted(tokenizer):
    rows = [sft_row("a", "b"), sft_row("a", "word " * 50), sft_row("a", "  "), sft_row("a", "")]
    result = sft_rows(rows, tokenizer, max_length=30)
    assert len(result.rows) == 1
    counts = result.counts()
    assert (counts.n_in, counts.n_out) == (4, 1)
    assert counts.dropped == {"empty": 2, "too_long": 1}
    exact = len(result.rows[0]["input_ids"])
    assert len(sft_rows(rows[:1], tokenizer, max_length=exact).rows) == 1
    assert not sft_rows(rows[:1], tokenizer, max_length=exact - 1).rows


def test_pairs_share_their_prompt_and_need_two_answers(tokenizer):
    rows = [pair("q", "yes", "no"), pair("q", "same", "same"), pair("q", "", "no"),
            pair("q", "yes", "no " * 60)]  # fmt: skip
    result = preference_rows(rows, tokenizer, max_length=40)
    (row,) = result.rows
    assert tokenizer.decode(row["prompt_ids"]).endswith("<|im_start|>assistant\n")
    assert tokenizer.decode(row["chosen_ids"]) == "yes<|im_end|>\n"
    assert tokenizer.decode(row["rejected_ids"]) == "no<|im_end|>\n"
    assert result.counts().dropped == {"same_answers": 1, "empty": 1, "too_long": 1}


def test_a_template_that_hides_answers_is_an_error(tokenizer):
    before = tokenizer.chat_template
    tokenizer.chat_template = (
        "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}"
    )
    try:
        with pytest.raises(TrainingError, match="mask"):
            sft_rows([sft_row("question", "answer")], tokenizer, max_length=100)
        with pytest.raises(TrainingError, match="mask"):
            preference_rows([pair("question", "a", "b")], tokenizer, max_length=100)
    finally:
        tokenizer.chat_template = before


def test_nulls_that_arrow_puts_into_messages_are_taken_out(tmp_path):
    rows = [
        {"prompt": [{"role": "user", "content": "a", "name": "Ada"},
                    {"role": "tool", "content": None, "name": None}],
         "completion": [{"role": "assistant", "content": "b", "name": None}]},
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    (row,) = read_rows(tmp_path / "rows.parquet", ["prompt", "completion"])
    assert row["prompt"] == [
        {"role": "user", "content": "a", "name": "Ada"},
        {"role": "tool", "content": ""},
    ]
    assert row["completion"] == [{"role": "assistant", "content": "b"}]


def test_sample_is_seeded_and_in_order(tokenizer):
    rows = sft_rows([sft_row(str(i), str(i)) for i in range(20)], tokenizer, max_length=100)
    some = rows.sample(5, seed=1)
    assert len(some.rows) == 5
    assert [rows.rows.index(row) for row in some.rows] == sorted(map(rows.rows.index, some.rows))
    assert some.rows == rows.sample(5, seed=1).rows != rows.sample(5, seed=2).rows
    assert rows.sample(None, seed=1) is rows
    assert rows.sample(20, seed=1) is rows


# -- conversations, tools, reasoning -------------------------------------------------
TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}"
    "{% for c in m['tool_calls'] or [] %}[{{ c.function.name }} "
    "{{ c.function.arguments | tojson }}]{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CALLS = json.dumps([{"id": "c1", "type": "function",
                     "function": {"name": "find", "arguments": '{"order": 7}'}}])  # fmt: skip


@pytest.fixture
def with_tools(tokenizer):
    before, tokenizer.chat_template = tokenizer.chat_template, TEMPLATE
    yield tokenizer
    tokenizer.chat_template = before


def stored(tmp_path, *rows):
    pq.write_table(pa.Table.from_pylist(list(rows)), tmp_path / "rows.parquet")
    return read_rows(tmp_path / "rows.parquet", ["prompt", "completion"])


def learned(tokenizer, row):
    return tokenizer.decode([t for t in row["labels"] if t != IGNORED])


def message(role, content="", **more):
    return {"role": role, "content": content, "tool_calls": None, "tool_call_id": None,
            "reasoning": None} | more  # fmt: skip


def test_tool_calls_and_results_reach_the_template(with_tools, tmp_path):
    prompt = [message("user", "order 7?"), message("assistant", tool_calls=CALLS),
              message("tool", "sent", tool_call_id="c1")]  # fmt: skip
    tools = json.dumps([{"type": "function", "function": {"name": "find"}}])
    rows = stored(
        tmp_path,
        {"prompt": prompt, "completion": [message("assistant", "on its way")], "tools": tools},
        {"prompt": prompt[:1], "completion": [message("assistant", tool_calls=CALLS)],
         "tools": None},
    )  # fmt: skip
    answer, call = sft_rows(rows, with_tools, max_length=400).rows
    text = with_tools.decode(answer["input_ids"])
    assert '[find {"order": 7}]' in text
    assert "<|im_start|>tool\nsent" in text
    assert text.startswith('<|im_start|>system\n[{"type": "function"')
    assert learned(with_tools, answer) == "on its way<|im_end|>\n"
    assert learned(with_tools, call) == '[find {"order": 7}]<|im_end|>\n'
    assert "system" not in with_tools.decode(call["input_ids"])


def test_calls_that_a_template_leaves_out_teach_nothing(tokenizer, tmp_path):
    call = {"prompt": [message("user", "order 7?")],
            "completion": [message("assistant", tool_calls=CALLS)]}  # fmt: skip
    result = sft_rows(stored(tmp_path, call), tokenizer, max_length=400)
    assert not result.rows
    assert result.dropped == {"tool_calls_not_rendered": 1}


@pytest.mark.parametrize("how", ["keep", "mask"])
def test_reasoning_is_learned_or_only_seen(tokenizer, tmp_path, how):
    row = {
        "prompt": [message("user", "when?")],
        "completion": [message("assistant", "on monday", reasoning="on monday or so")],
        "reasoning": how,
    }
    (tokens,) = sft_rows(stored(tmp_path, row), tokenizer, max_length=400).rows
    assert "or so" in tokenizer.decode(tokens["input_ids"])
    assert ("or so" in learned(tokenizer, tokens)) is (how == "keep")
    assert learned(tokenizer, tokens).strip().endswith("on monday<|im_end|>")


@pytest.mark.parametrize("loss_on", ["last", "all"])
def test_every_turn_is_learned_only_on_request(tokenizer, tmp_path, loss_on):
    row = {
        "prompt": [message("user", "hello"), message("assistant", "good day"),
                   message("user", "help")],
        "completion": [message("assistant", "of course")],
        "loss_on": loss_on,
    }  # fmt: skip
    (tokens,) = sft_rows(stored(tmp_path, row), tokenizer, max_length=400).rows
    said = learned(tokenizer, tokens)
    assert "of course" in said
    assert ("good day" in said) is (loss_on == "all")
    assert "hello" not in said
    assert "help" not in said


def test_weights_stay_with_their_rows(tokenizer):
    rows = [sft_row("a", "b") | {"weight": 0.25}, sft_row("a", "word " * 50) | {"weight": 0.5},
            sft_row("c", "d")]  # fmt: skip
    result = sft_rows(rows, tokenizer, max_length=30)
    assert result.weights == [0.25, 1.0]
    assert result.sample(1, seed=1).weights in ([0.25], [1.0])


def test_a_released_template_masks_what_is_not_the_answer(tmp_path):
    model = Path("~/.cache/tuneloop/models/HuggingFaceTB/SmolLM2-135M-Instruct").expanduser()
    if not model.is_dir():
        pytest.skip("SmolLM2-135M-Instruct is not at hand")
    from transformers import AutoTokenizer

    released = AutoTokenizer.from_pretrained(model)
    row = {
        "prompt": [message("system", "Be short."), message("user", "hello"),
                   message("assistant", "good day"), message("user", "help")],
        "completion": [message("assistant", "of course", reasoning="they need help")],
        "reasoning": "mask",
        "loss_on": "all",
    }  # fmt: skip
    (tokens,) = sft_rows(stored(tmp_path, row), released, max_length=400).rows
    assert learned(released, tokens) == "good day<|im_end|>\nof course<|im_end|>\n"
    assert "they need help" in released.decode(tokens["input_ids"])


@pytest.mark.parametrize(
    ("label", "says", "hint"), [(True, "are good", "label: false"), (False, "are bad", "on pairs")]
)
def test_answers_that_are_all_good_or_all_bad_are_refused_with_what_to_do(label, says, hint):
    rows = [{"prompt_ids": [1], "completion_ids": [2], "label": label} for _ in range(3)]
    with pytest.raises(TrainingError, match=f"all 3 answers {says}") as caught:
        need_rows(TokenRows(rows=rows), where="kto", max_length=9)
    assert hint in caught.value.hint
    both = [*rows, rows[0] | {"label": not label}]
    need_rows(TokenRows(rows=both), where="kto", max_length=9)
