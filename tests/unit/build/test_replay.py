"""General data: any chat shape, the same sample always, nothing held out."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tuneloop.build.replay import question_key, replay
from tuneloop.config.sets import BuildConfig
from tuneloop.errors import DataError


def say(role, content):
    return {"role": role, "content": content}


def chat(question, answer="an answer"):
    return {"messages": [say("user", question), say("assistant", answer)]}


def mixed(path, n_sft=90, seed=1, golden=None, held_out=(), **config):
    config = BuildConfig.model_validate({"replay": {"path": str(path), "share": 0.1}} | config)
    return replay(config, n_sft, seed=seed, golden=golden, held_out=set(held_out))


def lines(tmp_path, rows, name="general.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_the_share_is_of_the_whole_and_the_sample_of_the_seed(tmp_path):
    path = lines(tmp_path, [chat(f"question {i}") for i in range(200)])
    found = mixed(path)
    assert found.table.num_rows == 10  # of 100
    assert set(found.table.column("rule").to_pylist()) == {"replay"}
    assert found.facts["n_read"] == 200
    reordered = lines(tmp_path, [chat(f"question {i}") for i in reversed(range(200))], "r.jsonl")
    assert mixed(reordered).table.equals(found.table)
    assert not mixed(path, seed=2).table.equals(found.table)


def test_every_chat_shape_is_read(tmp_path):
    rows = [
        chat("one"),
        {"prompt": "two", "completion": "answer"},
        {"prompt": [say("user", "three")], "completion": [say("assistant", "answer")]},
        {"messages": [say("system", "s"), say("user", [{"type": "text", "text": "four"}]),
                      say("assistant", "answer"), say("user", "left open")]},
        {"messages": [say("user", "no answer")]},
        {"text": "none"},
        [1],
    ]  # fmt: skip
    path = lines(tmp_path, rows)
    with path.open("a") as file:
        file.write("{broken\n\n")
    found = mixed(path, n_sft=900)
    asked = {prompt[-1]["content"] for prompt in found.table.column("prompt").to_pylist()}
    assert asked == {"one", "two", "three", "four"}
    assert found.facts["left_out"] == {"no_conversation": 2, "no_json": 1}


def test_parquet_too(tmp_path):
    pq.write_table(pa.Table.from_pylist([chat(f"q{i}") for i in range(5)]), tmp_path / "g.parquet")
    assert mixed(tmp_path / "g.parquet").table.num_rows == 5


def test_what_is_held_out_long_or_repeated_is_left_out(tmp_path):
    rows = [chat("Held   out"), chat("kept"), chat("kept"), chat("long", "x" * 500)]
    path = lines(tmp_path, rows)
    found = mixed(path, held_out={question_key(say("user", "held out"))}, max_answer_tokens=100)
    assert [p[0]["content"] for p in found.table.column("prompt").to_pylist()] == ["kept"]
    assert found.facts["left_out"] == {"held_out_question": 1, "repeated": 1, "too_long": 1}


def test_golden_questions_are_left_out(tmp_path):
    prompt = {"id": "g1", "messages": [say("system", "s"), say("user", "the golden one")]}
    lines(tmp_path, [prompt], "golden.jsonl")
    path = lines(tmp_path, [chat("The  golden one"), chat("another")])
    found = mixed(path, golden=Folder(tmp_path))
    assert [p[0]["content"] for p in found.table.column("prompt").to_pylist()] == ["another"]
    assert mixed(path).table.num_rows == 2


class Folder:
    def __init__(self, folder):
        self.folder = folder

    def path(self, name):
        return self.folder / name


def test_a_file_without_conversations_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no usable conversation"):
        mixed(lines(tmp_path, [{"text": "x"}]))
    with pytest.raises(DataError, match="cannot be read"):
        mixed(tmp_path / "missing.jsonl")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match="cannot be read"):
        mixed(tmp_path / "bad.parquet")
