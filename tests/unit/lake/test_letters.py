"""The file of dead letters: of all files of a lake, never over anything else; what is no source."""

import gzip
import json
import os
from pathlib import Path

import pytest

from tuneloop.errors import DataError
from tuneloop.lake.erase import Person, erase_rows
from tuneloop.lake.ingest import ingest_files
from tuneloop.lake.letters import default_letters
from tuneloop.lake.pseudonyms import Pseudonyms
from tuneloop.lake.reading import Intake
from tuneloop.runtime.progress import SilentProgress

KEYS = Pseudonyms(b"k" * 32)


def event(id, **more):
    return {"id": id, "event_ts": "2025-03-01T10:00:00Z", "response": {"content": "Yes."},
            "request": {"messages": [{"role": "user", "content": "Open?"}]}, **more}  # fmt: skip


def write(path, *records):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return str(path)


def take(folder, *files, format="native", letters=None):
    lake = str(folder / "lake")
    intake = Intake(lake, SilentProgress(), pseudonyms=KEYS)
    path = letters or default_letters(lake)
    reports = ingest_files([(name, format) for name in files], intake, dead_letter=path)
    return reports, [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_letters_of_other_files_stay_and_those_of_the_same_are_replaced(tmp_path):
    first = write(tmp_path / "a" / "x.jsonl", event("i1"), {"id": "broken"})
    second = write(tmp_path / "b" / "x.jsonl", event("i2"), {"id": "wrong"}, {"id": "bad"})
    _, letters = take(tmp_path, first)
    assert [letter["line"] for letter in letters] == [2]
    _, both = take(tmp_path, second)
    assert [letter["line"] for letter in both] == [2, 2, 3]
    assert take(tmp_path, first)[1] == [*both[1:], both[0]]
    assert len({letter["digest"] for letter in both}) == 2
    assert not [*tmp_path.glob("*.part"), *tmp_path.glob("*scratch*")]


def test_a_file_that_holds_something_else_is_not_overwritten(tmp_path):
    mine = tmp_path / "mine.jsonl"
    for text in ('{"prompt": "q"}\n', "prose\n", "[1]\n"):
        mine.write_text(text)
        with pytest.raises(DataError, match="holds no dead letters"):
            take(tmp_path, write(tmp_path / "x.jsonl", event("i1")), letters=mine)
        assert mine.read_text() == text
    with pytest.raises(DataError, match="cannot be written"):
        take(tmp_path, str(tmp_path / "x.jsonl"), letters=tmp_path)


def test_nothing_is_taken_in_where_one_file_is_unknown(tmp_path):
    good = write(tmp_path / "good.jsonl", event("i1"))
    bad = write(tmp_path / "bad.jsonl", {"foo": 1})
    with pytest.raises(DataError, match="unknown"):
        take(tmp_path, good, bad, format="auto")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.jsonl", "good.jsonl"]


def test_who_is_erased_is_in_no_letter_any_more(tmp_path):
    lost = "I live in the yellow house behind the church of Little Haddam"
    path = write(
        tmp_path / "x.jsonl",
        event("i1", subject_key="alice"),
        {"id": "i2", "subject_key": "alice", "event_ts": "when", "note": lost},
        {"id": "i3", "subject_key": "robert", "event_ts": "when"},
    )
    assert len(take(tmp_path, path)[1]) == 2
    lake = str(tmp_path / "lake")
    key = KEYS("default", "alice")
    erase_rows(lake, Person("default", frozenset([key])))
    (letter,) = map(json.loads, default_letters(lake).read_text("utf-8").splitlines())
    assert letter["line"] == 3
    for found in tmp_path.rglob("*"):
        if found.is_file() and found != Path(path):
            assert key.encode() not in found.read_bytes() or found.name == "erased.json"
            assert lost.encode() not in found.read_bytes()


def test_a_pipe_is_no_source(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe"):
        take(tmp_path, str(tmp_path / "pipe"))


def test_a_lake_that_is_a_file_says_so(tmp_path):
    (tmp_path / "lake").write_text("x")
    with pytest.raises(DataError, match="no lake can be there"):
        take(tmp_path, write(tmp_path / "x.jsonl", event("i1")))


def test_a_packed_file_that_was_cut_off_gives_what_can_be_unpacked(tmp_path):
    lines = "".join(json.dumps(event(f"i{n}")) + "\n" for n in range(50)).encode()
    (tmp_path / "x.gz").write_bytes(gzip.compress(lines)[:-30])
    (report,), (letter,) = take(tmp_path, str(tmp_path / "x.gz"))
    assert report.accepted >= 40
    assert letter["reason"] == "truncated"


@pytest.mark.parametrize(
    ("text", "what"),
    [(gzip.compress(b"{}\n"), "packed twice"), (b"PAR1" + bytes(9), "packed Parquet"),
     (b"x" * 257 + b"ustar" + bytes(9), "tar archive")],
)  # fmt: skip
def test_what_is_packed_in_a_packed_file_is_refused(tmp_path, text, what):
    (tmp_path / "x.gz").write_bytes(gzip.compress(text))
    with pytest.raises(DataError, match=what):
        take(tmp_path, str(tmp_path / "x.gz"))


def test_lines_behind_a_bomb_of_brackets_are_read(tmp_path):
    text = "[" * 100_000 + "\n" + "".join(json.dumps(event(f"i{n}")) + "\n" for n in range(3))
    (tmp_path / "x.jsonl").write_text(text)
    (report,), _ = take(tmp_path, str(tmp_path / "x.jsonl"), format="auto")
    assert (report.accepted, report.by_reason) == (3, {"too_deep": 1})


def test_events_in_a_table_have_their_types(tmp_path):
    (tmp_path / "x.csv").write_text(
        "id,event_ts,target.id,signal,value,comment\n"
        "f1,2025-03-01,i1,stars,4,12\nf2,2025-03-01,i1,thumb,true,\n"
        'f3,2025-03-01,i1,correction,"42",\nf4,2025-03-01,i1,thumb,maybe,\n'
    )
    (report,), (letter,) = take(tmp_path, str(tmp_path / "x.csv"), format="auto")
    assert (report.format, report.accepted) == ("native", 3)
    assert "thumb" in letter["detail"]


@pytest.mark.parametrize("text", ["[]", "prompt,completion\n", "", " \n"])
def test_nothing_is_no_mistake(tmp_path, text):
    (tmp_path / "x").write_text(text)
    (report,), letters = take(tmp_path, str(tmp_path / "x"), format="auto")
    assert (report.read, letters) == (0, [])
