"""A golden set is ours: what is wrong with it is said at reading, with file and line."""

import json

import pytest

from tuneloop.artefacts.golden import read_golden
from tuneloop.errors import DataError

ASKED = {"id": "a", "messages": [{"role": "user", "content": "where is it"}]}


def read(tmp_path, *rows):
    path = tmp_path / "golden.jsonl"
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(text.encode())
    return read_golden(path)


def test_texts_keep_line_ends_that_are_not_new_lines(tmp_path):
    text = "one\u2028two\u0085three\u2029four\x1cfive"
    prompts = read(
        tmp_path, ASKED | {"messages": [{"role": "user", "content": text}]}, ASKED | {"id": "b"}
    )
    assert prompts[0].messages[0]["content"] == text
    assert len(prompts) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"messages": [{"role": "user"}]}, "messages.0: .*lacks content"),
        ({"messages": [{"content": "x"}]}, "messages.0: .*lacks role"),
        ({"messages": [{"role": "usr", "content": "x"}]}, "role must be one of"),
        ({"messages": []}, "messages"),
        ({"checks": [{"name": "pass", "kind": "exact", "value": 1}]}, "'pass' is a built-in"),
        ({"checks": [{"name": "judge", "kind": "exact", "value": 1}]}, "'judge' is a built-in"),
        ({"id": "a"}, "used twice"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, change, said):
    with pytest.raises(DataError, match=said) as caught:
        read(tmp_path, ASKED, ASKED | {"id": "b"} | change)
    assert caught.value.where.endswith("golden.jsonl:2")


def test_only_what_is_in_force_is_read_unless_asked_for(tmp_path):
    rows = [
        ASKED | {"id": status, "status": status} for status in ("active", "candidate", "retired")
    ]
    assert [prompt.id for prompt in read(tmp_path, *rows)] == ["active"]
    path = tmp_path / "golden.jsonl"
    held = read_golden(path, ("active", "candidate"))
    assert [prompt.id for prompt in held] == ["active", "candidate"]
    with pytest.raises(DataError, match="no active prompts"):
        read(tmp_path, *rows[1:])


def test_a_file_from_before_there_were_statuses_is_in_force(tmp_path):
    (prompt,) = read(tmp_path, ASKED)
    assert (prompt.status, prompt.version, prompt.source.interaction_ids) == ("active", 1, [])
