"""Files of judgments: each row once, every mistake with its line."""

import gzip
import io
import json
import sys

import pytest
from judged import read, single

from tuneloop.compare.reading import read_judgments, select
from tuneloop.errors import DataError


def write(path, rows):
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def test_plain_zipped_and_standard_input_are_the_same(tmp_path, monkeypatch):
    rows = single([1, 0, 0.5, None])
    plain, zipped = write(tmp_path / "a.jsonl", rows), write(tmp_path / "a.jsonl.gz", rows)
    data = b"\xef\xbb\xbf" + (tmp_path / "a.jsonl").read_bytes() + b"\n  \n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert read_judgments(plain) == read_judgments(zipped) == read_judgments("-") == read(rows)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"preference": 1}, "prompt_id"),
        ({"prompt_id": "a", "preference": 1.2}, "outside 0 to 1"),
        ({"prompt_id": "a", "preference": "high"}, "preference"),
        ({"prompt_id": "a", "preference": True}, "preference"),
        ({"prompt_id": "a", "preference": 1, "candidate_position": "third"}, "candidate_position"),
        ({"prompt_id": "a", "preference": 1, "human": -1}, "human is -1"),
        ({"prompt_id": "a", "preference": 1, "slice": "de"}, "slice"),
        ({"prompt_id": "a", "preference": 1, "candidate_chars": -3}, "below 0"),
        ({"prompt_id": "a", "preference": 1, "label_probability": 0}, "label_probability"),
        ({"prompt_id": "", "preference": 1}, "empty"),
        ({"prompt_id": "a", "preference": float("nan")}, "malformed"),
        ([1, 2], "object"),
    ],
)
def test_a_line_that_is_no_judgment_is_named_with_its_reason(row, said):
    with pytest.raises(DataError) as error:
        read([{"prompt_id": "fine", "preference": 0}, row])
    assert "line 2: " in error.value.what
    assert said in error.value.what


def test_all_bad_lines_are_told_together():
    with pytest.raises(DataError) as error:
        read([{"preference": 1}] * 30)
    assert "30 lines" in error.value.what
    assert "and 20 more" in error.value.what


def test_rows_that_are_alike_are_one_and_a_contradiction_names_both_lines():
    row = {"prompt_id": "a", "preference": 1, "judge": "j", "candidate_position": "first"}
    assert len(read([row, row, row | {"sample": 1}, row | {"judge": "k"}])) == 3
    assert len(read([row, row | {"note": "other fields are left aside"}])) == 1
    with pytest.raises(DataError, match="lines 1 and 3") as error:
        read([row, row | {"sample": 1}, row | {"preference": 0}])
    assert "differ in preference" in error.value.what
    with pytest.raises(DataError, match="differ in status"):
        read([row, row | {"status": "timeout"}])


@pytest.mark.parametrize("field", [{"cluster": "x"}, {"slice": {"language": "de"}}])
def test_a_prompt_lies_in_one_cluster_and_one_slice(field):
    row = {"prompt_id": "a", "preference": 1}
    with pytest.raises(DataError, match="lines 1 and 2 give prompt 'a' two values"):
        read([row, row | {"sample": 1} | field])


def test_numbers_and_texts_are_one_prompt():
    assert len(read([{"prompt_id": 7, "preference": 1}, {"prompt_id": "7", "preference": 1}])) == 1


def test_one_of_several_comparisons_is_chosen_by_name():
    row = {"prompt_id": "a", "preference": 1}
    rows = read([row | {"comparison": "one"}, row | {"comparison": "two", "preference": 0}])
    assert [j.preference for j in select(rows, "two", source="f")] == [0]
    with pytest.raises(DataError, match="2 comparisons: 'one', 'two'"):
        select(rows, None, source="f")
    with pytest.raises(DataError, match="no row has"):
        select(rows, "three", source="f")


@pytest.mark.parametrize("content", [None, b"\x1f\x8b broken"])
def test_a_file_that_cannot_be_read_is_said_so(tmp_path, content):
    path = tmp_path / "j.jsonl"
    if content:
        path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read_judgments(str(path))
    assert error.value.where == str(path)
