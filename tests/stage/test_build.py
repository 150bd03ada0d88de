"""The build stage: each rule makes its rows, and `datasets` reads them."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tuneloop.artefacts.manifest import Manifest
from tuneloop.artefacts.stage import CuratedSet, StageContext
from tuneloop.artefacts.store import Store
from tuneloop.build.stage import build
from tuneloop.config.sets import BuildConfig
from tuneloop.errors import DataError

KINDS = ("sft", "preference", "kto")


class Quiet:
    def start(self, description, *, total=None): ...
    def advance(self, n=1): ...
    def done(self, note=""): ...
    def say(self, text): ...


def row(id, question="what now?", answer="wait", score=0.0, signal="copy", **more):
    signals = [{"feedback_id": f"f-{id}", "signal": signal, "value_json": "true", "actor": "user"}]
    return {
        "interaction_id": id,
        "split": "train",
        "prompt": [
            {"role": "system", "content": "You help."},
            {"role": "user", "content": question},
        ],
        "answer": answer,
        "correction": None,
        "score": float(score),
        "weight": 1.0,
        "signals": signals,
    } | more


@pytest.fixture
def run(tmp_path):
    calls = iter(range(100))

    def go(rows, preferences=(), seed=1, **config):
        folder = tmp_path / str(next(calls))
        folder.mkdir()
        files = {name: folder / name for name in ("curated.parquet", "preferences.parquet")}
        pq.write_table(pa.Table.from_pylist(rows), files["curated.parquet"])
        keys = ("winner_id", "loser_id", "feedback_id", "outcome")
        stated = [dict(zip(keys, p, strict=True)) for p in preferences]
        schema = pa.schema([(key, pa.string()) for key in keys])
        pq.write_table(pa.Table.from_pylist(stated, schema), files["preferences.parquet"])
        store = Store(str(folder / "store"))
        draft = Manifest(kind="curate", key="k", digest="", files={}, started_at=datetime.now(UTC))
        curated = CuratedSet(store.commit(draft, files).manifest, store)
        context = StageContext(work=folder / "work", seed=seed, progress=Quiet())
        out = build(curated, BuildConfig.model_validate(config), context)
        return Result(out)

    return go


class Result:
    def __init__(self, out):
        self.out = out
        self.sets = {
            name.removesuffix(".parquet"): pq.read_table(path).to_pylist()
            for name, path in out.files.items()
            if name.endswith(".parquet")
        }
        self.summary = json.loads(out.files["summary.json"].read_text())

    def pairs(self):
        return [(text(r["chosen"]), text(r["rejected"])) for r in self.sets["preference_train"]]

    def sft(self):
        return [text(r["completion"]) for r in self.sets["sft_train"]]

    def kto(self):
        return {text(r["completion"]): r["label"] for r in self.sets["kto_train"]}


def plain(messages):
    return [{name: value for name, value in m.items() if value is not None} for m in messages]


def text(messages):
    assert [m["role"] for m in messages] == ["assistant"]
    return messages[0]["content"]


def test_a_correction_teaches_twice(run):
    result = run([row("a", correction="do this", score=-1, signal="correction")])
    assert result.sft() == ["do this"]
    assert result.pairs() == [("do this", "wait")]
    assert result.kto() == {}
    (example,) = result.sets["sft_train"]
    assert plain(example["prompt"])[-1] == {"role": "user", "content": "what now?"}
    assert (example["interaction_id"], example["rule"]) == ("a", "correction")
    assert example["feedback_ids"] == ["f-a"]


def test_liked_answers_are_taught_and_unpaired_thumbs_kept(run):
    result = run(
        [
            row("up", "q1", "good", 1, "thumb"),
            row("down", "q2", "bad", -1, "thumb"),
            row("four", "q3", "fine", 0.5, "stars"),
            row("three", "q4", "meh", 0, "stars"),
            row("copied", "q5", "copied", 0.3),
        ]
    )
    assert sorted(result.sft()) == ["fine", "good"]
    assert result.kto() == {"good": True, "bad": False, "fine": True}
    assert result.summary["kto"]["by_rule"] == {"stars": 1, "thumb_down": 1, "thumb_up": 1}
    assert result.out.counts.dropped == {"no_rule": 2}


def test_contrasts_need_one_prompt_and_a_margin(run):
    answers = [
        row("a", "q", "best", 1, "thumb"),
        row("b", "q ", "worst", -1, "thumb"),  # spacing makes no other prompt
        row("c", "q", "middling", 0.6, "stars"),
        row("d", "another", "worst", -1, "thumb"),
    ]
    result = run(answers)
    assert set(result.pairs()) == {("best", "worst"), ("middling", "worst")}
    assert result.kto() == {"worst": False}
    assert run(answers, max_pairs_per_prompt=1).pairs() == [("best", "worst")]
    assert len(run(answers, rules={"contrast": {"min_margin": 0.3}}).pairs()) == 3
    (pair,) = (p for p in result.sets["preference_train"] if text(p["chosen"]) == "best")
    assert pair["interaction_ids"] == ["a", "b"]
    assert set(pair["feedback_ids"]) == {"f-a", "f-b"}


def test_stated_preferences(run):
    bad = [{"feedback_id": "p2", "signal": "preference", "actor": "user",
            "value_json": '{"loser":"d","outcome":"both_bad","winner":"c"}'}]  # fmt: skip
    result = run(
        [
            row("a", "q", "one"),
            row("b", "q", "two"),
            row("c", "r", "three", -1, signals=bad),
            row("d", "r", "four", -1, signals=bad),
            row("e", "other", "five"),
            row("f", "q", "one"),
        ],
        [
            ("b", "a", "p1", "better"),
            ("c", "d", "p2", "both_bad"),
            ("a", "b", "p3", "tie"),
            ("a", "e", "p4", "better"),
            ("a", "f", "p5", "better"),
            ("a", "gone", "p6", "better"),
        ],
    )
    assert result.pairs() == [("two", "one")]
    assert result.sets["preference_train"][0]["feedback_ids"] == ["p1"]
    assert result.kto() == {"three": False, "four": False}
    skipped = result.summary["skipped"]
    assert skipped["preference_prompts_differ"] == skipped["preference_same_answer"] == 1


def test_repetitions_collapse_and_the_better_evidenced_answer_wins(run):
    said = {"score": -1, "signal": "correction"}
    result = run(
        [
            row("a", "q", "x", correction="right", **said),
            row("b", "q", "y", correction="right", **said),
            row("c", "q", "x", correction="wrong", **said),
            row("d", "r", "liked", 1, "thumb"),
            row("e", "r", "z", correction="corrected", **said),
        ]
    )
    assert sorted(result.sft()) == ["corrected", "right"]  # a correction wins a tie
    (merged,) = (r for r in result.sets["sft_train"] if text(r["completion"]) == "right")
    assert merged["interaction_ids"] == ["a", "b"]
    assert result.summary["skipped"]["sft_contradicted"] == 2
    assert result.summary["skipped"]["sft_repeated"] == 1


def test_contradictory_pairs_cancel(run):
    rows = [row("a", "q", "one"), row("b", "q", "two"), row("s", "s", "taught", 1, "thumb")]
    both = [("a", "b", "p1", "better"), ("b", "a", "p2", "better")]
    assert run(rows, both).pairs() == []
    assert run(rows, [*both, ("b", "a", "p3", "better")]).pairs() == [("two", "one")]


def test_validation_stays_apart_and_caps_hold_for_training(run):
    rows = [
        row(f"{i:02}", f"q{i}", f"a{i}", 1, "thumb", split="train" if i % 5 else "validation")
        for i in range(50)
    ]
    result = run(rows, max_sft_rows=7)
    assert len(result.sets["sft_train"]) == 7
    assert len(result.sets["sft_validation"]) == 10
    assert result.summary["caps"] == {"sft": {"limit": 7, "before": 40}}
    again = run(rows, max_sft_rows=7)
    assert result.sets["sft_train"] == again.sets["sft_train"]
    other = run(rows, seed=2, max_sft_rows=7)
    assert result.sets["sft_train"] != other.sets["sft_train"]


def test_system_prompts_can_be_stripped(run):
    result = run([row("a", score=1, signal="thumb")], system_prompt="strip")
    (example,) = result.sets["sft_train"]
    assert plain(example["prompt"]) == [{"role": "user", "content": "what now?"}]


def test_nothing_to_teach_is_an_error(run):
    with pytest.raises(DataError, match="no example"):
        run([row("a")])


def test_datasets_reads_every_file_empty_ones_too(run):
    datasets = pytest.importorskip("datasets")
    result = run([row("a", score=1, signal="thumb")])
    columns = {"sft": {"completion"}, "preference": {"chosen", "rejected"},
               "kto": {"completion", "label"}}  # fmt: skip
    for kind in KINDS:
        for split in ("train", "validation"):
            path = str(result.out.files[f"{kind}_{split}.parquet"])
            n_rows = 1 if split == "train" and kind != "preference" else 0
            found = datasets.load_dataset(  # its cache holds no empty split
                "parquet", data_files=path, split="train", streaming=n_rows == 0
            )
            assert columns[kind] | {"prompt", "row_id", "weight"} <= set(found.features)
            rows = list(found)
            assert len(rows) == n_rows
            for example in rows:
                assert plain(example["prompt"])[0] == {"role": "system", "content": "You help."}
