import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from tuneloop.artefacts.events import EVENT
from tuneloop.artefacts.golden import read_golden
from tuneloop.config.load import load_config
from tuneloop.config.simulate import SimulateConfig
from tuneloop.errors import DataError
from tuneloop.runtime.progress import SilentProgress
from tuneloop.runtime.serving.chat import ChatResult
from tuneloop.simulate.nearness import NearIndex
from tuneloop.simulate.stage import simulate


def run(out, engine=None, seed=None, **config):
    config = SimulateConfig.model_validate({"n_interactions": 400} | config)
    return simulate(config, out, engine=engine, progress=SilentProgress(), seed=seed)


def read(out):
    """Return valid events by id, malformed lines, and truth rows by kind."""
    events, malformed, twice = {}, [], 0
    for line in (out / "events.jsonl").read_text(encoding="utf-8").splitlines():
        try:
            event = EVENT.validate_json(line)
        except ValidationError:
            malformed.append(line)
            continue
        if event.id in events:
            assert events[event.id] == event
            twice += 1
        events[event.id] = event
    truth = {"person": {}, "interaction": {}, "feedback": {}}
    for line in (out / "truth.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        truth[row["kind"]][row.get("id") or row["subject_key"]] = row
    return events, malformed, twice, truth


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    out = tmp_path_factory.mktemp("helpdesk")
    return out, run(out, n_interactions=2000)


def test_every_line_is_an_event_but_for_those_meant_to_be_none(default):
    out, report = default
    events, malformed, twice, _ = read(out)
    assert len(malformed) == report.n_malformed > 0
    assert len(events) == report.n_events
    assert twice == round(0.01 * report.n_events)


def test_truth_covers_every_event_and_names_its_person(default):
    out, report = default
    events, _, _, truth = read(out)
    interactions = {i: e for i, e in events.items() if e.type == "interaction"}
    feedback = {i: e for i, e in events.items() if e.type == "feedback"}
    assert interactions.keys() == truth["interaction"].keys()
    assert feedback.keys() == truth["feedback"].keys()
    assert len(interactions) == report.n_interactions
    assert all(e.subject_key in truth["person"] for e in interactions.values())
    for id, event in feedback.items():
        target = interactions[event.target.id]
        assert event.event_ts >= target.event_ts
        if truth["feedback"][id]["adversary"] != "spammer":
            assert event.actor.id == target.subject_key


def test_a_log_yields_enough_to_learn_from(default):
    out, _ = default
    events, _, _, truth = read(out)
    learnable, pairs = set(), set()
    for id, event in events.items():
        if event.type == "feedback" and truth["feedback"][id]["adversary"] is None:
            target = events[event.target.id]
            if target.consent and not target.consent.train:
                continue
            if event.signal == "correction":
                pairs.add(target.id)
            if event.signal == "correction" or (event.signal == "thumb" and event.value is True):
                learnable.add(target.id)
    assert 700 <= len(learnable) <= 950
    assert len(pairs) >= 300


def test_what_real_logs_have_is_there(default):
    out, report = default
    events, _, _, truth = read(out)
    interactions = [e for e in events.values() if e.type == "interaction"]
    assert {"thumb", "stars", "correction", "comment", "preference", "copy", "dwell",
            "reformulation", "regenerate", "abandonment"} == set(report.signals)  # fmt: skip
    assert len(report.systems) >= 3
    assert {e.request.template.version for e in interactions} == {"1", "2"}
    assert {e.assignment.propensity for e in interactions} == {0.1, 0.9}
    assert any(e.consent is None for e in interactions)
    assert any(e.consent and not e.consent.train for e in interactions)
    assert any(e.outcome != "ok" for e in interactions)
    rows = list(truth["interaction"].values())
    assert sum(row["resent_of"] is not None for row in rows) > 10
    private = [row for row in rows if row["personal_data"]]
    assert 0.03 < len(private) / len(rows) < 0.1
    for row in private:
        text = events[row["id"]].request.messages[-1].content
        assert all(item["value"] in text for item in row["personal_data"])
    hours = Counter(e.event_ts.hour for e in interactions)
    assert sum(hours[h] for h in range(1, 5)) < sum(hours[h] for h in range(9, 13)) / 3


def test_no_message_nearly_repeats_a_golden_one(default):
    out, _ = default
    events, _, _, _ = read(out)
    golden = read_golden(out / "golden.jsonl")
    index = NearIndex([p.messages[-1]["content"] for p in golden], threshold=0.7)
    texts = [e.request.messages[-1].content for e in events.values() if e.type == "interaction"]
    assert len(golden) >= 200
    assert not [text for text in texts if index.near(text)]


def test_the_run_config_loads_and_finds_its_files(default):
    out, _ = default
    loaded = load_config(out / "run.yaml").config
    assert [Path(one.path) for one in loaded.lake.events] == [out / "events.jsonl"]
    assert Path(loaded.golden.path) == out / "golden.jsonl"
    assert loaded.decide.protected_slices == ["security", "vulnerable_customer"]


def test_the_same_seed_gives_the_same_bytes_in_another_process(tmp_path):
    run(tmp_path / "a", seed=3)
    code = (
        "import sys; from pathlib import Path; from tuneloop.config.simulate import SimulateConfig;"
        "from tuneloop.simulate.stage import simulate;"
        "from tuneloop.runtime.progress import SilentProgress;"
        "simulate(SimulateConfig(n_interactions=400), Path(sys.argv[1]), engine=None,"
        "progress=SilentProgress(), seed=3)"
    )
    src = Path(__file__).parents[2] / "src"
    env = os.environ | {"PYTHONPATH": str(src), "PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", code, tmp_path / "b"], env=env, check=True)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_another_seed_shares_no_id_and_keeps_the_golden_set(tmp_path):
    run(tmp_path / "a", seed=1)
    run(tmp_path / "b", seed=2)
    a, b = read(tmp_path / "a"), read(tmp_path / "b")
    assert not a[0].keys() & b[0].keys()
    golden = [(tmp_path / name / "golden.jsonl").read_bytes() for name in "ab"]
    assert golden[0] == golden[1]


def test_brigades_come_together_and_are_marked(tmp_path):
    adversaries = {"phishing_brigade_fraction": 0.2, "n_accounts": 12, "spammer_events": 250}
    report = run(tmp_path, adversaries=adversaries)
    events, _, _, truth = read(tmp_path)
    marked = [i for i, row in truth["feedback"].items() if row["adversary"] == "phishing_brigade"]
    assert len(marked) == 80
    planted = [events[i] for i in marked]
    assert len({e.actor.id for e in planted}) == 12
    times = sorted(e.event_ts for e in planted)
    assert (times[-1] - times[0]).total_seconds() < 6 * 3600
    assert all("https://" in e.value for e in planted if e.signal == "correction")
    spam = [events[i] for i, r in truth["feedback"].items() if r["adversary"] == "spammer"]
    assert len(spam) == 250
    assert len({e.actor.id for e in spam}) == 1
    assert report.honesty["adversarial"] == 80 + 250 + round(0.01 * 400)


class FakeEngine:
    system = "tiny@abc"

    def __init__(self):
        self.steps = []

    def chat(self, requests, *, step):
        self.steps.append((step, len(requests)))
        return [ChatResult(text="Hello! How can I help?", seconds=0.1) for _ in requests]


def test_a_served_champion_is_asked_in_two_batches(tmp_path):
    engine = FakeEngine()
    report = run(tmp_path, engine, champion={"kind": "served"})
    events, _, _, _ = read(tmp_path)
    assert report.systems == {"tiny@abc": report.n_interactions}
    assert sum(n for _, n in engine.steps) == report.n_interactions
    assert len(engine.steps) == 2
    assert report.mean_score == pytest.approx(0.1)
    first = next(e for e in events.values() if e.type == "interaction")
    assert first.request.sampling["max_tokens"] == 128
    with pytest.raises(DataError, match="needs a model"):
        run(tmp_path, champion={"kind": "served"})


def test_a_failing_champion_leaves_the_earlier_files_alone(tmp_path):
    run(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    class Broken(FakeEngine):
        def chat(self, requests, *, step):
            raise RuntimeError("gone")

    with pytest.raises(RuntimeError):
        run(tmp_path, Broken(), champion={"kind": "served"}, seed=9)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def table(path, n=600):
    rng = random.Random(0)
    words = [
        "refund",
        "card",
        "limit",
        "app",
        "fee",
        "rate",
        "travel",
        "cash",
        "top",
        "up",
        "blocked",
        "new",
        "old",
    ]
    lines = ["message,topic"]
    for i in range(n):
        lines.append(f"{' '.join(rng.choices(words, k=12))} {i},Topic {i % 6}")
    path.write_text("\n".join(lines))
    return {"path": str(path), "text_column": "message", "label_column": "topic"}


def test_a_table_becomes_a_log_that_mostly_teaches(tmp_path):
    labels = table(tmp_path / "my table.csv")
    report = run(tmp_path / "out", scenario="labels", labels=labels, n_interactions=None)
    events, _, _, truth = read(tmp_path / "out")
    assert report.n_golden == 200
    assert report.rows["table.read"] == 600
    usable = set()
    for id, event in events.items():
        if event.type == "feedback" and truth["feedback"][id]["adversary"] is None:
            right = truth["interaction"][event.target.id]["right_answer"]
            corrected = event.signal == "correction" and event.value == right
            if corrected or (event.signal == "thumb" and event.value is True):
                usable.add(event.target.id)
    honest = [row for row in truth["interaction"].values() if row["adversary"] is None]
    assert len(usable) >= 0.7 * len(honest)
    config = yaml.safe_load((tmp_path / "out" / "run.yaml").read_text())
    assert config["name"] == config["task"] == "my-table"
    load_config(tmp_path / "out" / "run.yaml")


@pytest.mark.parametrize(
    "labels", [{}, {"path": "t.csv", "text": "x"}, {"path": "t.csv", "golden_fraction": 2}]
)
def test_a_config_that_cannot_be_simulated_is_refused(labels):
    with pytest.raises(ValidationError):
        SimulateConfig(scenario="labels", labels=labels)


def test_banking77_from_its_two_files(tmp_path):
    data = os.environ.get("TUNELOOP_DATA")
    if not data:
        pytest.skip("TUNELOOP_DATA names no folder with banking77")
    folder = Path(data) / "banking77"
    labels = {
        "path": str(folder / "train.csv"),
        "golden_path": str(folder / "test.csv"),
        "label_column": "category",
    }
    report = run(tmp_path, scenario="labels", labels=labels, n_interactions=1500)
    assert report.n_golden == pytest.approx(3080, abs=5)
    assert 0 < report.rows["table.near_golden"] < 800
    golden = read_golden(tmp_path / "golden.jsonl")
    assert len({prompt.reference for prompt in golden}) == 77
