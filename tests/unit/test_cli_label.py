"""`tuneloop label` from end to end: judgments out and in, and the next decision."""

import json

import pytest
from decisions import decided
from evaluations import evidence
from typer.testing import CliRunner

from tuneloop.artefacts.stage import Evaluation
from tuneloop.artefacts.store import Store
from tuneloop.cli import app
from tuneloop.config.decide import DecideConfig
from tuneloop.label.plan import labels_of


def run(*args, keys=""):
    done = CliRunner().invoke(app, ["label", *map(str, args)], input=keys)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "judgments.jsonl"
    path.write_text("".join(
        json.dumps({"prompt_id": i, "prompt": f"q{i}", "champion": f"old {i}",
                    "candidate": f"new {i}", "preference": 0.9, "slice": {"lang": "de"}}) + "\n"
        for i in range(50)
    ))  # fmt: skip
    return path


def test_judgments_are_labelled_and_written_again(rows, tmp_path):
    store, out = tmp_path / "store", tmp_path / "labelled.jsonl"
    told = run("--judgments", rows, "--store", store, "--as", "ada", "--n", 40, keys="a\n" * 40)
    assert "labelled 40" in told
    run("--judgments", rows, "--store", store, "--out", out)
    written = [json.loads(line) for line in out.read_text().splitlines()]
    held = [row for row in written if "human" in row]
    assert (len(written), len(held)) == (50, 40)
    assert all(0 < row["label_probability"] <= 1 for row in held)
    found = json.loads(CliRunner().invoke(
        app, ["compare", "--judgments", str(out), "--json", "--set", "n_bootstrap=200"]
    ).output)  # fmt: skip
    assert found["corrected"]["n_labels"] == 40
    assert found["corrected"]["win_rate"] < found["win_rate"]


def test_a_decision_is_labelled_and_its_evaluation_finds_the_labels(tmp_path):
    store = Store(str(tmp_path / "store"))
    made = evidence(
        [(True, True)] * 40, scores={i: [0.7, 0.7] for i in range(40)}, judge={"role": "deciding"},
        slices=[["rare"] if i < 4 else [] for i in range(40)],
    )  # fmt: skip
    config = DecideConfig(metric="judge", n_bootstrap=200, protected_slices=["rare"])
    decision = decided(store, tmp_path / "one", made, config=config)
    assert decision.json("decision.json")["people"]["more_labels"] >= 30
    place = ("--store", tmp_path / "store")
    run(decision.digest, *place, "--as", "ada", "--n", 35, keys="t\n" * 35)
    ref = decision.manifest.parents[0]
    evaluation = Evaluation(store.find(ref.kind, ref.key).manifest, store)
    found = labels_of(store, evaluation)
    assert (len(found.labels), found.uncovered) == (35, [])
    state = json.loads(run(ref.digest, *place, "--json"))
    assert (state["n_labelled"], state["n_people"]) == (35, 1)


def test_what_cannot_be_done_says_so(rows, tmp_path):
    place = ("--store", str(tmp_path / "store"))
    for args in (
        [], ["--judgments", str(rows)], ["--judgments", str(rows), "--slice", "x", "--as", "a"],
        ["--judgments", str(rows), "--protect", "lang=fr", "--as", "a"],
    ):  # fmt: skip
        done = CliRunner().invoke(app, ["label", *args, *place])
        assert done.exit_code != 0
        assert done.exception.what
