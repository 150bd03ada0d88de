"""The verb `ingest`: what it prints, and that it says the same in JSON."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tuneloop.cli import app
from tuneloop.errors import TuneloopError
from tuneloop.lake.format import formats


def run(*words):
    result = CliRunner().invoke(app, ["ingest", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "pairs.json"
    good = formats()["pandalm"].examples[0]
    path.write_text(json.dumps([good, good | {"response1": True}, good]))
    return path


def test_json_returns_what_is_printed(tmp_path, file):
    said = json.loads(run(file, "--lake", tmp_path / "lake", "--json"))
    counts = [said[name] for name in ("read", "accepted", "rejected", "duplicates")]
    assert counts == [3, 1, 1, 1]
    assert said["by_reason"] == {"not_text": 1}
    assert said["n_events"] == 5
    assert said["files"][0]["format"] == "pandalm"
    (letter,) = map(json.loads, Path(said["dead_letter"]).read_text("utf-8").splitlines())
    assert (letter["source"], letter["line"], letter["reason"]) == ("pairs.json", 2, "not_text")
    text = run(file, "--lake", tmp_path / "other", "--dead-letter", tmp_path / "d" / "x.jsonl")
    assert "read 3, accepted 1, rejected 1, duplicates 1 → 5 events (pandalm)" in text
    assert "1 not_text" in text
    assert (tmp_path / "d" / "x.jsonl").is_file()


def test_twice_adds_nothing(tmp_path, file):
    copy = tmp_path / "copy.json"
    copy.write_bytes(file.read_bytes() + b"\n")
    run(file, "--lake", tmp_path / "lake")
    again = json.loads(run(file, copy, "--lake", tmp_path / "lake", "--json"))
    assert (again["accepted"], again["n_events"], again["duplicates"]) == (0, 0, 4)
    assert [row["seen_before"] for row in again["files"]] == [True, False]


def test_people_are_keyed_or_as_given(tmp_path):
    path = tmp_path / "e.jsonl"
    path.write_text("".join(json.dumps(e) + "\n" for e in formats()["native"].examples))
    for lake, more in (("keyed", ()), ("given", ("--pseudonyms", "as_given"))):
        run(path, "--lake", tmp_path / lake, *more)
        raw = b"".join(p.read_bytes() for p in (tmp_path / lake).rglob("*") if p.is_file())
        assert (b"person-17" in raw) == (lake == "given")
    with pytest.raises(TuneloopError, match="neither keyed nor as_given"):
        run(path, "--lake", tmp_path / "x", "--pseudonyms", "none")


def test_a_missing_file_stops_it_before_anything_is_written(tmp_path, file):
    with pytest.raises(TuneloopError, match="cannot be read"):
        run(file, tmp_path / "missing", "--lake", tmp_path / "lake")
    assert not (tmp_path / "lake").exists()
