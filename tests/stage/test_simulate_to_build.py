"""Simulated traffic through the real lake, curate and build: what is false goes, honest stays."""

import json
from collections import Counter

import pyarrow.parquet as pq
import pytest
import yaml
from kept import keep

from tuneloop.artefacts.stage import CuratedSet, GoldenSet, LakeVersion, Scope, StageContext
from tuneloop.artefacts.store import Store
from tuneloop.build.stage import build
from tuneloop.config.curate import CurateConfig
from tuneloop.config.data import LakeConfig
from tuneloop.config.sets import BuildConfig
from tuneloop.config.simulate import SimulateConfig
from tuneloop.curate.stage import curate
from tuneloop.curate.trust.scene import REASONS
from tuneloop.lake.stage import take_in
from tuneloop.runtime.progress import SilentProgress
from tuneloop.simulate.stage import simulate

pytest.importorskip("daft")
PHISHING = {"phishing_brigade_fraction": 0.04, "label_flip_brigade_fraction": 0.03}


@pytest.fixture(scope="module")
def loop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loop")
    config = SimulateConfig(n_interactions=1200, adversaries=PHISHING)
    simulate(config, folder / "sim", engine=None, progress=SilentProgress())
    run = yaml.safe_load((folder / "sim" / "run.yaml").read_text("utf-8"))
    store = Store(str(folder / "store"))

    def context(name):
        return StageContext(work=folder / name, seed=17, progress=SilentProgress())

    events = LakeConfig(events=[str(folder / "sim" / "events.jsonl")])
    taken = take_in(events, uri=str(folder / "lake"), context=context("l"), tenant=run["tenant"])
    lake = keep(store, "lake", LakeVersion, taken.files, dict(taken.details))
    golden = keep(store, "golden", GoldenSet, {"golden.jsonl": folder / "sim" / "golden.jsonl"})
    scope = Scope(run["tenant"], run["task"], "production")
    curated = curate(lake, golden, CurateConfig(), context("c"), scope=scope)
    curated_set = keep(store, "curate", CuratedSet, curated.files)
    built = build(curated_set, BuildConfig(), context("b"))
    lines = (folder / "sim" / "truth.jsonl").read_text("utf-8").split("\n")[:-1]
    rows = [json.loads(line) for line in lines]
    truth = {row["id"]: row for row in rows if row["kind"] == "feedback"}
    asked = {row["id"]: row for row in rows if row["kind"] == "interaction"}
    return curated, built, truth, asked


def used_feedback(curated):
    rows = pq.read_table(curated.files["curated.parquet"]).to_pylist()
    ids = {signal["feedback_id"] for row in rows for signal in row["signals"]}
    return {id for id in ids if not id.startswith("derived:")}


def test_adversarial_feedback_is_gone_and_honest_feedback_mostly_kept(loop):
    curated, _, truth, _ = loop
    used = Counter(truth[id]["honesty"] for id in used_feedback(curated))
    given = Counter(row["honesty"] for row in truth.values())
    assert given["adversarial"] > 300
    assert used["adversarial"] <= 0.01 * given["adversarial"]
    assert used["honest"] >= 0.8 * given["honest"]
    dropped = pq.read_table(curated.files["dropped.parquet"]).to_pylist()
    distrusted = [d for d in dropped if d["reason"] in REASONS]
    false_alarms = [d for d in distrusted if truth[d["id"]]["honesty"] != "adversarial"]
    assert len(false_alarms) <= 0.01 * given["honest"]


def test_what_is_taught_is_what_was_right(loop):
    _, built, _, asked = loop
    rows = [
        row
        for split in ("train", "validation")
        for row in pq.read_table(built.files[f"sft_{split}.parquet"]).to_pylist()
    ]
    assert len(rows) > 300
    answers = [row["completion"][0]["content"] for row in rows]
    assert not any("://" in answer for answer in answers)

    def intent(text):
        try:
            return json.loads(text).get("intent")
        except ValueError:
            return None

    right = sum(
        intent(answer) == intent(asked[row["interaction_ids"][0]]["right_answer"])
        for row, answer in zip(rows, answers, strict=True)
    )
    assert right >= 0.95 * len(rows)
