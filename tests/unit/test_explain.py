"""A row explained, a card shown, two sets told apart: over a store made by the real stage."""

import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tuneloop.artefacts import erasures
from tuneloop.artefacts.manifest import Manifest, Parent
from tuneloop.artefacts.stage import CuratedSet, StageContext
from tuneloop.artefacts.store import Store
from tuneloop.artefacts.tables import CURATED, PREFERENCES
from tuneloop.build.stage import build
from tuneloop.build.supply import supply
from tuneloop.cards import card_lines, card_report, diff_lines, diff_sets
from tuneloop.config.sets import BuildConfig
from tuneloop.errors import DataError
from tuneloop.explain import explain, explain_lines
from tuneloop.runtime.progress import SilentProgress

START = datetime(2026, 1, 1, tzinfo=UTC)


def message(role, content):
    return {"role": role, "content": content}


def row(id, question, answer, score, *signals, correction=None):
    said = [
        {"feedback_id": f"{id}-{i}", "signal": signal, "value_json": json.dumps(value),
         "actor": "user:u7", "opinion": None, "weight": weight}
        for i, (signal, value, weight) in enumerate(signals)
    ]  # fmt: skip
    return dict.fromkeys(CURATED.names) | {
        "interaction_id": id, "split": "train", "system": "m@1", "source": "native",
        "event_ts": "2026-01-01T00:00:00+00:00", "prompt": [message("user", question)],
        "answer": answer, "correction": correction, "score": score, "weight": 1.0, "signals": said,
    }  # fmt: skip


ROWS = [
    row("i1", "where is it?", "somewhere", -1.0, ("correction", "on its way", 1.0),
        ("dwell", 3, 0.1), correction="on its way"),
    row("i2", "who?", "us", 1.0, ("thumb", True, 0.8)),
    row("i3", "what?", "this", 0.0),
    row("i4", "what?", "that", 0.0),
]  # fmt: skip
STATED = [{"winner_id": "i3", "loser_id": "i4", "feedback_id": "p1", "feedback_ids": ["p1", "p2"],
           "outcome": "better", "weight": 0.9}]  # fmt: skip


class Made:
    def __init__(self, folder):
        self.folder = folder
        self.store = Store(str(folder / "store"))
        self.n = 0

    def keep(self, kind, files, parents=(), **more):
        self.n += 1
        draft = Manifest(
            kind=kind, key=f"k{self.n}", digest="", files={}, parents=list(parents), code="c" * 64,
            started_at=START + timedelta(hours=self.n), **more,
        )  # fmt: skip
        return self.store.commit(draft, files)

    def parent(self, role, artefact):
        m = artefact.manifest
        return Parent(role=role, kind=m.kind, digest=m.digest, key=m.key)

    def sets(self, rows=ROWS, **config):
        folder = self.folder / f"f{self.n}"
        folder.mkdir()
        lake_file = folder / "lake.json"
        lake_file.write_text("{}")
        lake = self.keep("lake", {"lake.json": lake_file}, details={"uri": "lakes/x", "version": 3})
        files = {
            "curated.parquet": folder / "c.parquet",
            "preferences.parquet": folder / "p.parquet",
        }
        pq.write_table(pa.Table.from_pylist(rows, CURATED), files["curated.parquet"])
        pq.write_table(pa.Table.from_pylist(STATED, PREFERENCES), files["preferences.parquet"])
        curated = self.keep("curate", files, [self.parent("lake", lake)])
        built_config = BuildConfig.model_validate(config)
        context = StageContext(work=folder / "work", seed=1, progress=SilentProgress())
        out = build(CuratedSet(curated.manifest, self.store), built_config, context)
        return self.keep("build", dict(out.files), [self.parent("curated", curated)],
                         config=built_config.model_dump(mode="json"))  # fmt: skip

    def adapter(self, kind, built, **config):
        path = self.folder / f"{kind}{self.n}"
        path.write_text(str(self.n))
        return self.keep(kind, {"adapter": path}, [self.parent("examples", built)], config=config)


@pytest.fixture
def made(tmp_path):
    return Made(tmp_path)


def id_of(built, rule, kind):
    rows = pq.read_table(built.path(f"{kind}_train.parquet")).to_pylist()
    (found,) = [r["row_id"] for r in rows if r["rule"] == rule]
    return found


def test_a_row_is_explained_back_to_its_events(made):
    built = made.sets()
    adapter = made.adapter("sft", built)
    made.adapter("dpo", built)  # reads the pairs, not these rows
    row_id = id_of(built, "correction", "sft")
    report = explain(made.store, row_id[:8])
    assert report["row"]["completion"][0]["content"] == "on its way"
    assert report["rule"]["name"] == "correction"
    assert report["rule"]["declared"]["take"] == "correction"
    (one,) = report["interactions"]
    assert one["curated"]["answer"] == "somewhere"
    said = {f["feedback_id"]: (f["signal"], f["value_json"], f["actor"], f["weight"], f["used"])
            for f in one["feedback"]}  # fmt: skip
    assert said == {
        "i1-0": ("correction", '"on its way"', "user:u7", 1.0, True),
        "i1-1": ("dwell", "3", "user:u7", 0.1, False),
    }
    changed = one["feedback"][0]["changed"]
    assert (changed["replaced"], changed["inserted"]) == (0.3333, 0.6667)  # one word became three
    assert "33% replaced, 67% inserted" in "\n".join(explain_lines(report))
    assert report["versions"]["lake"]["details"] == {"uri": "lakes/x", "version": 3}
    assert report["versions"]["set"]["code"] == "c" * 64
    assert [a["digest"] for a in report["adapters"]] == [adapter.digest]
    text = "\n".join(explain_lines(report))
    for word in ("on its way", "rule correction", "i1-0, used", "i1-1, not used", "version 3",
                 adapter.digest[:12]):  # fmt: skip
        assert word in text


def test_a_pair_names_the_comparison_behind_it(made):
    built = made.sets()
    report = explain(made.store, id_of(built, "preference", "preference"))
    assert [one["interaction_id"] for one in report["interactions"]] == ["i3", "i4"]
    used = {
        f["feedback_id"] for one in report["interactions"] for f in one["feedback"] if f["used"]
    }
    assert used == {"p1", "p2"}
    assert report["adapters"] == []
    assert "no adapter" in explain_lines(report)[-1]


def test_validation_rows_count_where_they_chose_the_weights(made):
    built = made.sets([r | {"split": "validation"} for r in ROWS[:2]] + ROWS[2:])
    rows = pq.read_table(built.path("sft_validation.parquet")).to_pylist()
    made.adapter("sft", built)
    stops = made.adapter("sft", built, early_stopping_patience=2)
    (adapter,) = explain(made.store, rows[0]["row_id"])["adapters"]
    assert (adapter["digest"], adapter["use"]) == (stops.digest, "chose when to stop")


def test_the_newest_set_explains_and_a_named_one_on_request(made):
    first = made.sets()
    second = made.sets(rules={"correction": {"weight": 0.5}})
    row_id = id_of(first, "correction", "sft")
    assert explain(made.store, row_id)["row"]["weight"] == 0.5
    assert explain(made.store, row_id, built=first.digest)["row"]["weight"] == 1.0
    assert explain(made.store, row_id)["sets"] == sorted([first.digest, second.digest])


def test_what_no_set_holds_is_an_error(made):
    made.sets()
    with pytest.raises(DataError, match="no built set holds"):
        explain(made.store, "ffffffffffff0000")
    with pytest.raises(DataError, match="too short"):
        explain(made.store, "f")


def test_a_card_says_that_its_counts_are_of_before_an_erasure(made, tmp_path):
    built = made.sets()
    path = tmp_path / "preference_train.parquet"
    pq.write_table(pq.read_table(built.path(path.name)).slice(1), path)
    files = {name: built.path(name) for name in built.manifest.files} | {path.name: path}
    left = erasures.rewrite(made.store, built, files)
    report = card_report(made.store, left.digest)
    assert report["rewritten_from"] == built.digest
    assert report["rows_left"]["preference"] == 1
    told = "\n".join(card_lines(report))
    assert "the counts below are of before" in told
    assert "1 preference" in told
    assert "before" not in "\n".join(card_lines(card_report(made.store, built.digest)))


def test_a_card_is_shown_and_only_of_a_set(made):
    built = made.sets()
    report = card_report(made.store, built.digest[:12])
    assert report["card"]["rows"]["preference"]["by_rule"] == {"correction": 1, "preference": 1}
    assert "Card of a training set" in "\n".join(card_lines(report))
    with pytest.raises(DataError, match="not a built set"):
        card_report(made.store, made.adapter("sft", built).digest)


def test_the_supply_of_rows_is_counted_on_a_part(made):
    built = made.sets()
    curated = made.store.find("curate", built.manifest.parents[0].key)
    found = supply(CuratedSet(curated.manifest, made.store), BuildConfig(), dislike_score=-0.3)
    assert (found.n_curated, found.n_read, found.unwanted) == (4, 4, 1)
    assert found.by_rule["sft"] == {"correction": 1, "liked": 1}
    assert found.by_rule["preference"] == {"correction": 1, "preference": 1}


def test_two_sets_are_told_apart(made):
    old = made.sets()
    changed = [ROWS[0], row("i2", "who?", "we", 1.0, ("thumb", True, 0.8)), *ROWS[2:]]
    new = made.sets(changed, rules={"correction": {"weight": 0.5}})
    report = diff_sets(made.store, old.digest, new.digest)
    sft = report["kinds"]["sft"]
    assert {k: sft[k] for k in ("added", "removed", "changed", "kept")} == {
        "added": 1, "removed": 1, "changed": 1, "kept": 0
    }  # fmt: skip
    assert sft["examples"]["added"][0]["completion"][0]["content"] == "we"
    assert sft["examples"]["removed"][0]["completion"][0]["content"] == "us"
    assert report["config"] == {"rules.correction.weight": {"old": 1.0, "new": 0.5}}
    lines = diff_lines(report)
    assert "sft: 1 added, 1 removed, 1 changed, 0 kept" in lines
    same = diff_sets(made.store, old.digest, old.digest)
    assert all(k["added"] + k["removed"] + k["changed"] == 0 for k in same["kinds"].values())
