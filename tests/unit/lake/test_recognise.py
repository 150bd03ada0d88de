"""What a file is taken for, and where it is not guessed at."""

import json
import sys
import types

import pytest

from tuneloop.errors import DataError
from tuneloop.lake.format import formats
from tuneloop.lake.ingest import ingest_file, ingest_files
from tuneloop.lake.parsing import Item
from tuneloop.lake.reading import Intake
from tuneloop.lake.recognise import named, recognise
from tuneloop.runtime.progress import SilentProgress


def items(*records):
    return [Item(n, record, b"") for n, record in enumerate(records, start=1)]


class Said(SilentProgress):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@pytest.mark.parametrize("records", [[{"a": 1}], [{"text": "x", "category": "y"}], [{}]])
def test_an_unknown_format_lists_the_names(records):
    with pytest.raises(DataError, match="unknown") as caught:
        recognise(items(*records), where="x.jsonl")
    assert "hh_rlhf" in caught.value.hint
    assert "native" in caught.value.hint


def test_nothing_readable_says_why():
    from tuneloop.lake.format import UnfitError

    broken = Item(1, None, b"{", UnfitError("bad_json", "EOF"))
    with pytest.raises(DataError, match="bad_json: EOF"):
        recognise([broken] * 300, where="x")


def test_as_likely_as_another_is_ambiguous():
    pair = formats()["pandalm"].examples[0]
    other = formats()["hh_rlhf"].examples[0]
    with pytest.raises(DataError, match="fits hh_rlhf and pandalm") as caught:
        recognise(items(pair | other), where="x")
    assert "--format hh_rlhf" in caught.value.hint


def test_a_close_second_is_named():
    chat = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    note = recognise(items(chat), where="x").note
    assert note.startswith("taken for openai_sft")
    assert "not for trl" in note


def test_a_few_broken_or_foreign_records_do_not_matter():
    good = list(formats()["pandalm"].examples) * 19
    assert recognise(items(*good, {"a": 1}), where="x").format.name == "pandalm"
    with pytest.raises(DataError, match="unknown"):
        recognise(items(*good[:5], *({"a": 1} for _ in range(15))), where="x")


def test_a_name_that_is_none():
    with pytest.raises(DataError, match="'hh' is no format"):
        named("hh")


def test_what_it_was_taken_for_is_said(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(formats()["pandalm"].examples))
    said = Said()
    ingest_file(str(path), Intake(str(tmp_path / "lake"), said), dead_letter=tmp_path / "dead")
    assert said.lines == ["x.json is taken for pandalm (PandaLM test set): 100% of its fields"]


def test_a_missing_file_fails_before_any_is_read(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(formats()["native"].examples[0]))
    files = [(str(path), "auto"), (str(tmp_path / "missing"), "auto")]
    with pytest.raises(DataError, match="cannot be read"):
        ingest_files(
            files, Intake(str(tmp_path / "lake"), SilentProgress()), dead_letter=tmp_path / "d"
        )
    assert not (tmp_path / "lake").exists()


def test_the_hub_is_streamed_and_its_absence_said(tmp_path, monkeypatch):
    asked = []
    example = formats()["hh_rlhf"].examples[0]

    def load_dataset(name, config, *, split, streaming):
        asked.append((name, config, split, streaming))
        if name == "gone/set":
            raise ConnectionError("no way to the hub")
        return iter([example, example])

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    intake = Intake(str(tmp_path / "lake"), SilentProgress())
    for address in ("hf:org/set", "hf:org/set:helpful-base:test", "hf:org/set:validation"):
        report = ingest_file(address, intake, dead_letter=tmp_path / "dead")
    assert set(asked) == {
        ("org/set", None, "train", True), ("org/set", "helpful-base", "test", True),
        ("org/set", None, "validation", True)}  # fmt: skip
    assert (report.read, report.duplicates, report.n_events) == (2, 2, 0)
    with pytest.raises(DataError, match="no way to the hub"):
        ingest_file("hf:gone/set", intake, dead_letter=tmp_path / "dead")
