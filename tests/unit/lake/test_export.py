"""What is written for another trainer is what was stated, in the trainer's shape."""

import json
import os
import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from tuneloop.artefacts.manifest import Manifest
from tuneloop.artefacts.store import Store
from tuneloop.artefacts.tables import MESSAGES
from tuneloop.cli_export import export
from tuneloop.errors import DataError, TuneloopError
from tuneloop.lake.examples import Example, InexpressibleError, targets
from tuneloop.lake.export import export_lake, export_set
from tuneloop.lake.format import formats
from tuneloop.lake.ingest import Intake, ingest_file
from tuneloop.runtime.progress import SilentProgress

DAY = "2025-03-01T10:00:0{}Z"
CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"q": "hat"}'}}
TOOLS = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]


def answer(id, text="Yes.", *, prompt="Open?", second=0, **more):
    return {
        "id": id, "event_ts": DAY.format(second), "response": {"content": text},
        "request": {"messages": [{"role": "user", "content": prompt}]}, **more,
    }  # fmt: skip


def said(id, target, signal, value, *, by="user", who=None, second=5, kind="interaction", **more):
    return {
        "id": id, "event_ts": DAY.format(second), "target": {"kind": kind, "id": target},
        "signal": signal, "value": value, "actor": {"kind": by, "id": who}, **more,
    }  # fmt: skip


def versus(id, winner, loser, outcome="better", **more):
    value = {"winner": winner, "loser": loser, "outcome": outcome}
    return said(id, winner, "preference", value, **more)


def take_in(folder, events, *, name="events", format="native"):
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events), "utf-8")
    lake = str(folder / f"lake-{name}")
    intake = Intake(lake, SilentProgress())
    report = ingest_file(str(path), intake, dead_letter=folder / "dead", format=format)
    assert report.rejected == 0, (folder / "dead").read_text("utf-8")
    return lake


def written(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def rows_of(folder, events, kind, format="trl", **more):
    out = folder / "out.jsonl"
    report = export_lake(take_in(folder, events), kind=kind, format=format, out=out, **more)
    return written(out), report


def texts(rows, *names):
    return [tuple(row[name][-1]["content"] for name in names) for row in rows]


# -- what was stated ---------------------------------------------------------------------
def test_liked_and_corrected_answers_are_to_be_learned(tmp_path):
    events = [
        *(answer(f"a{n}", f"answer {n}", second=n) for n in range(8)),
        said("f0", "a0", "thumb", True),
        said("f1", "a1", "thumb", False),
        said("f2", "a2", "stars", 4),
        said("f3", "a3", "stars", 3),
        said("f4", "a4", "score", 9, scale=[0, 10]),
        said("f5", "a5", "correction", "better"),
        said("f5r", "a5", "correction", "best", by="reviewer", second=3),
        said("f5t", "a5", "thumb", True),
        said("f6", "a6", "copy", True),
        said("f7", "gone", "thumb", True),
    ]
    rows, report = rows_of(tmp_path, events, "sft")
    assert texts(rows, "prompt", "completion") == [
        ("Open?", text) for text in ("answer 0", "answer 2", "answer 4", "best")
    ]
    assert report.left_out == {"answer_missing": 1, "disliked": 1, "undecided": 1}
    rows, report = rows_of(tmp_path, events, "kto")
    labels = [(row["completion"][0]["content"], row["label"]) for row in rows]
    assert labels == [("answer 0", True), ("answer 1", False), ("answer 2", True),
                      ("answer 4", True), ("answer 5", True)]  # fmt: skip
    rows, report = rows_of(tmp_path, events, "preference")
    assert texts(rows, "chosen", "rejected") == [("best", "answer 5")]


def test_whose_word_counts(tmp_path):
    events = [
        *(answer(f"a{n}", f"answer {n}", second=n) for n in range(5)),
        said("judge", "a0", "thumb", False, by="judge"),
        said("person", "a0", "thumb", True, who="u1"),
        said("first", "a1", "thumb", False, who="u1", second=1),
        said("second", "a1", "thumb", True, who="u1", second=2),
        said("one", "a2", "thumb", True, who="u1"),
        said("two", "a2", "thumb", False, who="u2"),
        said("old", "a3", "thumb", False),
        said("old", "a3", "thumb", True, revision=1),
        said("back", "a4", "thumb", True),
        {**said("back", "a4", "thumb", None, revision=1), "op": "retract"},
    ]
    rows, report = rows_of(tmp_path, events, "kto")
    assert [(row["completion"][0]["content"], row["label"]) for row in rows] == [
        ("answer 0", True), ("answer 1", True), ("answer 3", True),
    ]  # fmt: skip
    assert report.left_out == {"undecided": 1}


@pytest.mark.parametrize("kind", ["episode", "session"])
def test_what_is_said_of_the_whole_is_said_of_its_last_answer(tmp_path, kind):
    events = [answer(f"a{n}", f"answer {n}", second=n, **{f"{kind}_id": "whole"}) for n in range(3)]
    rows, _ = rows_of(tmp_path, [*events, said("f", "whole", "thumb", True, kind=kind)], "sft")
    assert texts(rows, "completion") == [("answer 2",)]


def test_ties_are_no_pairs_and_both_bad_are_two_negatives(tmp_path):
    events = [
        *(answer(f"a{n}", f"answer {n}", second=n) for n in range(6)),
        versus("p0", "a1", "a0"),
        versus("p1", "a2", "a3", "tie"),
        versus("p2", "a4", "a5", "both_bad"),
    ]
    rows, report = rows_of(tmp_path, events, "preference")
    assert texts(rows, "prompt", "chosen", "rejected") == [("Open?", "answer 1", "answer 0")]
    assert report.left_out == {"both_bad": 1, "tie": 1}
    rows, _ = rows_of(tmp_path, events, "kto")
    assert [(row["completion"][0]["content"], row["label"]) for row in rows] == [
        ("answer 4", False), ("answer 5", False),
    ]  # fmt: skip


def test_several_votes_are_one_pair_by_majority_or_one_each(tmp_path):
    events = [
        answer("a", "A"), answer("b", "B"), answer("c", "C"), answer("d", "D"),
        *(versus(f"v{n}", *pair, by="reviewer", who=f"r{n}")
          for n, pair in enumerate([("a", "b"), ("b", "a"), ("a", "b")])),
        versus("w1", "c", "d", by="reviewer", who="r1"),
        versus("w2", "d", "c", by="reviewer", who="r2"),
    ]  # fmt: skip
    rows, report = rows_of(tmp_path, events, "preference")
    assert texts(rows, "chosen", "rejected") == [("A", "B")]
    assert report.left_out == {"tie": 1}
    rows, report = rows_of(tmp_path, events, "preference", each_vote=True)
    assert Counter(texts(rows, "chosen", "rejected")) == {
        ("A", "B"): 2, ("B", "A"): 1, ("C", "D"): 1, ("D", "C"): 1,
    }  # fmt: skip


def test_conversations_that_part_later_keep_what_they_share(tmp_path):
    def chat(id, *turns):
        messages = [{"role": r, "content": c} for r, c in zip("uau", turns, strict=False)]
        names = {"u": "user", "a": "assistant"}
        messages = [m | {"role": names[m["role"]]} for m in messages]
        return answer(id, turns[-1]) | {"request": {"messages": messages[: len(turns) - 1]}}

    events = [
        chat("a", "Hi", "Hello", "More?", "A"), chat("b", "Hi", "Hey", "More?", "B"),
        chat("c", "Hi", "x"), chat("d", "Ho", "y"), versus("p", "b", "a"), versus("q", "c", "d"),
    ]  # fmt: skip
    rows, report = rows_of(tmp_path, events, "preference")
    (row,) = rows
    assert [m["content"] for m in row["prompt"]] == ["Hi"]
    assert [m["content"] for m in row["chosen"]] == ["Hey", "More?", "B"]
    assert [m["content"] for m in row["rejected"]] == ["Hello", "More?", "A"]
    assert report.left_out == {"prompts_differ": 1}
    _, report = rows_of(tmp_path, events, "preference", "openai")
    assert report.left_out == {"prompts_differ": 1, "several_turns": 1}


def test_the_order_of_arrival_does_not_matter(tmp_path):
    rng = random.Random(3)
    events = [answer(f"a{n}", f"answer {n}", second=n % 3) for n in range(40)]
    events += [said(f"f{n}", f"a{n}", "thumb", n % 2 == 0) for n in range(20)]
    events += [versus(f"p{n}", f"a{n}", f"a{n + 1}") for n in range(20, 39)]
    written_bytes = set()
    for n in range(3):
        rng.shuffle(events)
        lake = take_in(tmp_path, events, name=f"n{n}")
        for kind in ("sft", "preference", "kto"):
            export_lake(lake, kind=kind, format="trl", out=tmp_path / f"{kind}.jsonl")
        written_bytes.add(
            b"".join((tmp_path / f"{k}.jsonl").read_bytes() for k in ("sft", "kto", "preference"))
        )
    assert len(written_bytes) == 1


# -- the shapes of the trainers ------------------------------------------------------------
PROMPT = [
    {"role": "system", "content": "Sell hats."},
    {"role": "user", "content": "A hat?"},
    {"role": "assistant", "tool_calls": [CALL]},
    {"role": "tool", "content": "3 hats", "tool_call_id": "c1"},
]
GOOD = [{"role": "assistant", "content": "We have 3.", "reasoning": "count"}]
BAD = [{"role": "assistant", "content": "No."}]
PICTURE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x.png"}}]}
PLAIN = [{"role": "user", "content": "A hat?"}]


def express(format, kind, prompt=PROMPT, tools=TOOLS, good=GOOD):
    answers = (good, BAD) if kind == "preference" else (good,)
    label = True if kind == "kto" else None
    return targets()[format].express(Example(kind, prompt, answers, tools=tools, label=label))


def test_trl_has_arguments_as_objects_and_reasoning():
    row = express("trl", "preference")
    assert row["prompt"][2]["tool_calls"][0]["function"] == {
        "name": "find",
        "arguments": {"q": "hat"},
    }
    assert row["prompt"][2]["content"] == ""
    assert row["chosen"] == [
        {"role": "assistant", "content": "We have 3.", "reasoning_content": "count"}
    ]
    assert row["tools"] == TOOLS
    assert express("trl", "kto")["label"] is True
    text = Example("sft", [{"role": "user"}], ([{"role": "assistant", "content": "Once."}],))
    assert targets()["trl"].express(text) == {"text": "Once."}


def test_openai_learns_the_last_answer_only():
    row = express("openai", "sft")
    assert [m.get("weight") for m in row["messages"]] == [None, None, 0, None, None]
    assert row["messages"][2] == {"role": "assistant", "tool_calls": [CALL], "weight": 0}
    assert row["messages"][-1] == {"role": "assistant", "content": "We have 3."}
    row = express("openai", "preference")
    assert row.keys() == {"input", "preferred_output", "non_preferred_output"}
    assert row["input"]["tools"] == TOOLS
    assert row["non_preferred_output"] == [{"role": "assistant", "content": "No."}]


def test_axolotl():
    row = express("axolotl", "sft")
    assert [m["train"] for m in row["messages"]] == [False, False, False, False, True]
    row = express("axolotl", "preference", PLAIN, None)
    assert row == {
        "messages": PLAIN,
        "chosen": {"role": "assistant", "content": "We have 3.", "reasoning_content": "count"},
        "rejected": {"role": "assistant", "content": "No."},
    }
    system = PROMPT[:2]
    assert express("axolotl", "kto", system, None) == {
        "system": "Sell hats.", "prompt": "A hat?", "completion": "We have 3.", "label": True,
    }  # fmt: skip


def test_llamafactory():
    row = express("llamafactory", "sft")
    assert [turn["from"] for turn in row["conversations"]] == [
        "human", "function_call", "observation", "gpt",
    ]  # fmt: skip
    assert json.loads(row["conversations"][1]["value"]) == {
        "name": "find",
        "arguments": {"q": "hat"},
    }
    assert row["system"] == "Sell hats."
    assert json.loads(row["tools"]) == [TOOLS[0]["function"]]
    row = express("llamafactory", "preference", PLAIN, None)
    assert row == {
        "conversations": [{"from": "human", "value": "A hat?"}],
        "system": "",
        "tools": "",
        "chosen": {"from": "gpt", "value": "We have 3."},
        "rejected": {"from": "gpt", "value": "No."},
    }
    assert express("llamafactory", "kto", PLAIN, None)["kto_tag"] is True


def test_ms_swift():
    row = express("ms-swift", "sft")
    assert [m["role"] for m in row["messages"]] == [
        "system", "user", "tool_call", "tool_response", "assistant",
    ]  # fmt: skip
    assert json.loads(row["tools"]) == TOOLS
    assert express("ms-swift", "preference")["rejected_response"] == "No."
    assert express("ms-swift", "kto")["label"] is True
    parted = [*GOOD, *PLAIN, *GOOD]
    assert "rejected_messages" not in express("ms-swift", "preference", good=parted)


@pytest.mark.parametrize(
    ("format", "kind", "changes", "reason"),
    [
        ("axolotl", "kto", {}, "tools"),
        ("axolotl", "kto", {"prompt": [*PLAIN, *BAD, *PLAIN], "tools": None}, "several_turns"),
        ("axolotl", "preference", {}, "tools"),
        ("openai", "preference", {"good": [*GOOD, *PLAIN, *GOOD]}, "several_turns"),
        ("openai", "sft", {"prompt": [{"role": "user", "content": ""}]}, "no_prompt"),
        ("llamafactory", "sft", {"prompt": [*PLAIN, *PLAIN], "tools": None}, "turns_out_of_order"),
        ("llamafactory", "sft", {"prompt": [*PLAIN, PROMPT[0]], "tools": None}, "system_prompt"),
        ("ms-swift", "sft", {"prompt": [PICTURE]}, "media"),
    ],
)  # fmt: skip
def test_rows_a_format_has_no_place_for_are_counted_by_reason(format, kind, changes, reason):
    with pytest.raises(InexpressibleError, match=reason):
        express(format, kind, **changes)


def test_llamafactory_is_told_of_the_file(tmp_path):
    (tmp_path / "dataset_info.json").write_text('{"other": {"file_name": "x.json"}}', "utf-8")
    lake = take_in(tmp_path, [answer("a", "A"), answer("b", "B"), versus("p", "a", "b")])
    out = tmp_path / "pairs.json"
    report = export_lake(lake, kind="preference", format="llamafactory", out=out)
    info = json.loads((tmp_path / "dataset_info.json").read_text("utf-8"))
    assert info["other"] == {"file_name": "x.json"}
    assert info["pairs"]["file_name"] == "pairs.json"
    assert info["pairs"]["ranking"] is True
    assert len(json.loads(out.read_text("utf-8"))) == 1
    assert report.files == [str(out), str(tmp_path / "dataset_info.json")]


# -- there and back ------------------------------------------------------------------------
KINDS = {"openai_sft": ("sft", "openai"), "openai_preference": ("preference", "openai")}
TRL = [("trl", kind, "trl") for kind in ("sft", "preference", "kto")]


@pytest.mark.parametrize(
    ("name", "kind", "format"), [*TRL, *((name, *rest) for name, rest in KINDS.items())]
)
def test_a_row_survives_the_way_in_and_out_and_in(tmp_path, name, kind, format):
    records = [r for r in formats()[name].examples if "text" not in r]
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    lake = take_in(tmp_path, records, name="once", format=name)
    n = export_lake(lake, kind=kind, format=format, out=first).rows
    assert n >= 1
    lake = take_in(tmp_path, written(first), name="twice", format=name)
    assert export_lake(lake, kind=kind, format=format, out=second).rows == n
    key = lambda row: json.dumps(row, sort_keys=True)  # noqa: E731
    assert sorted(written(first), key=key) == sorted(written(second), key=key)


def test_what_is_written_for_trl_is_what_trl_reads(tmp_path):
    data_utils = pytest.importorskip("trl.data_utils")
    for kind in ("sft", "preference", "kto"):
        for name in ("trl", "openai_sft"):
            lake = take_in(tmp_path, formats()[name].examples, name=f"{name}-{kind}", format=name)
            for suffix in ("jsonl", "parquet"):
                out = tmp_path / f"out.{suffix}"
                export_lake(lake, kind=kind, format="trl", out=out)
                rows = written(out) if suffix == "jsonl" else pq.read_table(out).to_pylist()
                assert rows or name == "openai_sft"
                assert all(data_utils.is_conversational(row) for row in rows)


# -- sets ----------------------------------------------------------------------------------
def built(tmp_path, loss_on="last"):
    """A built set: two training rows and one for validation."""
    texts_of = ("tools", "row_id", "loss_on")
    schema = pa.schema([("prompt", MESSAGES), ("completion", MESSAGES), ("label", pa.bool_()),
                        *((name, pa.string()) for name in texts_of)])  # fmt: skip
    files = {}
    for split, numbers in (("train", (1, 2)), ("validation", (3,))):
        rows = [
            {"prompt": [{"role": "user", "content": f"q{n}"},
                        {"role": "assistant", "tool_calls": json.dumps([CALL])},
                        {"role": "tool", "content": "3", "tool_call_id": "c1"}],
             "completion": [{"role": "assistant", "content": f"a{n}"}], "label": n != 2,
             "tools": json.dumps(TOOLS), "row_id": str(n), "loss_on": loss_on}
            for n in numbers
        ]  # fmt: skip
        for kind in ("sft", "kto"):
            path = tmp_path / f"{kind}_{split}.parquet"
            pq.write_table(pa.Table.from_pylist(rows, schema), path)
            files[path.name] = path
    store = Store(str(tmp_path / "store"))
    draft = Manifest(
        kind="build", key="k" * 8, digest="", files={}, started_at="2025-01-01T00:00:00Z"
    )
    return store, store.commit(draft, files).digest


@pytest.mark.parametrize(
    ("split", "numbers"), [("train", [1, 2]), ("validation", [3]), ("all", [1, 2, 3])]
)
def test_a_built_set_in_its_order(tmp_path, split, numbers):
    store, digest = built(tmp_path)
    out = tmp_path / "out.jsonl"
    report = export_set(store, digest[:12], kind="kto", format="trl", out=out, split=split)
    rows = written(out)
    assert texts(rows, "completion") == [(f"a{n}",) for n in numbers]
    assert [row["label"] for row in rows] == [n != 2 for n in numbers]
    assert rows[0]["tools"] == TOOLS
    assert rows[0]["prompt"][1]["tool_calls"][0]["function"]["arguments"] == {"q": "hat"}
    assert report.rows == len(numbers)
    with pytest.raises(DataError, match="no split"):
        export_set(store, digest, kind="kto", format="trl", out=out, split="golden")


@pytest.mark.parametrize(("loss_on", "weight"), [("last", 0), ("all", None)])
def test_what_a_set_learns_of_earlier_turns(tmp_path, loss_on, weight):
    store, digest = built(tmp_path, loss_on)
    out = tmp_path / "out.jsonl"
    export_set(store, digest, kind="sft", format="openai", out=out)
    assert written(out)[0]["messages"][1].get("weight") == weight
    export_set(store, digest, kind="sft", format="axolotl", out=out)
    assert written(out)[0]["messages"][1]["train"] is (loss_on == "all")


# -- whole or not at all -------------------------------------------------------------------
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    lake = take_in(tmp_path, [answer("a"), said("f", "a", "thumb", True)])
    folder = tmp_path / "out"
    folder.mkdir()
    out = folder / "rows.jsonl"
    out.write_text("old\n")
    monkeypatch.setattr("tuneloop.lake.export.json.dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_lake(lake, kind="sft", format="trl", out=out)
    assert os.listdir(folder) == ["rows.jsonl"]
    assert out.read_text() == "old\n"


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"kind": "dpo"}, "--kind"),
        ({"format": "csv"}, "--format"),
        ({"format": "openai", "kind": "kto"}, "--kind"),
        ({"out": Path("rows.csv")}, "--out"),
        ({"format": "openai", "out": Path("rows.parquet")}, "--out"),
    ],
)
def test_what_cannot_be_written_is_said_at_once(tmp_path, changes, where):
    given = {"kind": "sft", "format": "trl", "out": tmp_path / "rows.jsonl"} | changes
    with pytest.raises(DataError) as refused:
        export_lake(str(tmp_path / "no-lake"), **given)
    assert refused.value.where == where
    assert refused.value.hint


def test_the_command(tmp_path):
    app = typer.Typer()
    app.command()(export)
    lake = take_in(tmp_path, [answer("a"), said("f", "a", "thumb", True), answer("b", "B"),
                              said("g", "b", "stars", 3)])  # fmt: skip
    out = tmp_path / "rows.jsonl"
    words = ["--lake", lake, "--kind", "sft", "--format", "trl", "--out", str(out)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "1 sft rows for trl" in result.output
    assert "left out: 1 undecided" in result.output
    body = json.loads(CliRunner().invoke(app, [*words, "--json"]).output)
    assert (body["rows"], body["left_out"]) == (1, {"undecided": 1})
    both = CliRunner().invoke(app, [*words, "--set", "abc"])
    assert isinstance(both.exception, TuneloopError)


# -- real judgements -----------------------------------------------------------------------
DATA = os.environ.get("TUNELOOP_DATA")


@pytest.mark.skipif(not DATA, reason="TUNELOOP_DATA names no folder of real data")
def test_pandalm_majorities_as_an_independent_reading_has_them(tmp_path):
    source = Path(DATA) / "pandalm" / "testset-v1.json"
    expected = Counter()
    for row in json.loads(source.read_text("utf-8")):
        if not all(isinstance(row[f"response{n}"], str) for n in (1, 2)):
            continue
        votes = Counter(row[f"annotator{n}"] for n in (1, 2, 3)).most_common()
        best = votes[0][0] if len(votes) == 1 or votes[0][1] > votes[1][1] else 0
        if best:
            expected[(row[f"response{best}"], row[f"response{3 - best}"])] += 1
    lake = str(tmp_path / "lake")
    ingest_file(str(source), Intake(lake, SilentProgress()), dead_letter=tmp_path / "dead")
    out = tmp_path / "rows.jsonl"
    report = export_lake(lake, kind="preference", format="trl", out=out)
    assert Counter(texts(written(out), "chosen", "rejected")) == expected
    assert (report.rows, report.left_out) == (888, {"tie": 105})
