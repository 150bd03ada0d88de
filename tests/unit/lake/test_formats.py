"""Every format that is found: recognised by its fields, read, read again, carried on as native."""

import json
from pathlib import Path

import pytest
from deltalake import DeltaTable

from tuneloop.lake.format import formats
from tuneloop.lake.ingest import ingest_file
from tuneloop.lake.parsing import Item
from tuneloop.lake.reading import Intake
from tuneloop.lake.recognise import recognise
from tuneloop.lake.rows import Reader
from tuneloop.lake.table import open_table, summarise
from tuneloop.runtime.progress import SilentProgress

FORMATS = list(formats().values())
EXPECTED = {
    "native", "otel", "litellm", "nvidia_flywheel", "tensorzero", "langfuse", "langsmith",
    "mlflow", "phoenix", "weave", "argilla", "label_studio", "open_webui", "openai_sft",
    "openai_preference", "openpipe", "trl", "hh_rlhf", "ultrafeedback",
    "ultrafeedback_binarized", "ultrafeedback_argilla", "helpsteer2", "helpsteer3", "shp",
    "oasst", "lmsys_arena", "arena_55k", "arena_140k", "pandalm", "pairwise",
}  # fmt: skip
each = pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)


def take(folder, records, *, name="sample.jsonl", lake="lake", format="auto", **more):
    path = folder / name
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    intake = Intake(str(folder / lake), SilentProgress(), **more)
    return ingest_file(str(path), intake, dead_letter=folder / "dead.jsonl", format=format)


def held(folder, lake="lake"):
    return DeltaTable(str(folder / lake)).to_pyarrow_table().to_pylist()


def test_every_format_that_is_promised_is_found():
    assert set(formats()) >= EXPECTED


@each
def test_it_is_its_file(one):
    assert Path(recognise.__code__.co_filename).parent.joinpath(f"formats/{one.name}.py").is_file()
    assert one.title
    assert one.fields
    assert one.examples
    assert all(len(row) == 3 for row in one.fields)


@each
def test_each_example_is_recognised_as_nothing_else(one):
    for example in one.examples:
        assert recognise([Item(1, example, b"")], where="here").format is one
        scores = {other.name: other.recognise(example) for other in FORMATS}
        best = scores.pop(one.name)
        assert 0.5 <= best <= 1
        assert all(0 <= score < best for score in scores.values()), scores


@each
def test_it_recognises_any_record_without_failing(one):
    odd = [{}, {"id": None}, {"messages": 5}, {"request": []}, {"prompt": {"a": 1}}, {"a.b": [1]}]
    for record in [*odd, *(dict.fromkeys(example) for example in one.examples)]:
        assert 0 <= one.recognise(record) <= 1


@each
def test_examples_are_read_once_and_the_same_as_native_events(tmp_path, one):
    first = take(tmp_path, one.examples)
    assert first.format == one.name
    assert first.rejected == 0, (tmp_path / "dead.jsonl").read_text()
    assert first.read == first.accepted + first.duplicates
    assert first.n_events > 0
    rows = held(tmp_path)
    payloads = [json.loads(row["payload"]) for row in rows]
    for event in payloads:
        Reader(one.name).row(event)
        assert event["type"] == "feedback" or event["source"] == one.name
    # Again under another name, the ledger gone: nothing is added.
    for entry in (tmp_path / "lake" / "_ingested").iterdir():
        entry.unlink()
    again = take(tmp_path, [*one.examples, {}], name="again.jsonl", format=one.name)
    assert again.n_events == 0
    assert again.duplicates + again.accepted + again.rejected == again.read
    assert len(held(tmp_path)) == len(rows)
    # Carried on as native events into another lake: the same rows, whatever their order.
    native = take(tmp_path, reversed(payloads), name="native.jsonl", lake="other")
    assert native.format == "native"
    assert native.n_events == len(rows)
    lakes = [summarise(uri, open_table(uri)) for uri in
             (str(tmp_path / "lake"), str(tmp_path / "other"))]  # fmt: skip
    assert lakes[0] == lakes[1]


@each
def test_whatever_is_missing_is_a_dead_letter_or_an_event(tmp_path, one):
    records = []
    for example in one.examples:
        records += [{k: v for k, v in example.items() if k != gone} for gone in example]
        for odd in (None, "", 5, -1.5, [], {}, [None], "\u2028 text", [[]], {"a": None}, True):
            records += [example | {name: odd} for name in example]
    report = take(tmp_path, [one.examples[0], *records], format=one.name)
    assert report.read >= len(records)
    assert report.read == report.accepted + report.rejected + report.duplicates
    letters = [json.loads(t) for t in (tmp_path / "dead.jsonl").read_text().split("\n")[:-1]]
    assert [x for x in letters if x["reason"] == "unexpected"] == []
