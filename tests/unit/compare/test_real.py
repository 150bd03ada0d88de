"""Published judgments of people and judges: their published figures, and what they decide."""

import json
import os
from pathlib import Path

import pytest
from judged import compared, debiased, pandalm

DATA = os.environ.get("TUNELOOP_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="TUNELOOP_DATA names no folder of real data")
ARENA = "judge_debias/claude-opus-4-20250514_vs_qwen3-235b-a22b-no-thinking_gpt-5.2.json"


@pytest.mark.parametrize(("judge", "accuracy"), [("gpt-3.5-turbo", 0.7107), ("pandalm-7b", 0.6677)])
def test_the_accuracy_of_pandalm_judges(judge, accuracy):
    found = compared(pandalm(DATA, judge))["agreement"]
    assert found["n"] == 999
    assert found["accuracy"] == pytest.approx(accuracy, abs=5e-5)
    assert found["kappa_low"] < found["kappa"] < found["kappa_high"]


def test_the_majority_of_pandalm_people():
    rows = pandalm(DATA, "pandalm-7b")
    counts = [sum(row["human"] == v for row in rows) for v in (0.5, 0.0, 1.0)]
    assert counts == [105, 422, 472]


@pytest.mark.parametrize(("a", "b", "kappa"), [(1, 2, 0.852), (1, 3, 0.879), (2, 3, 0.862)])
def test_the_kappa_of_pandalm_annotators(a, b, kappa):
    share = {0: 0.5, 1: 0.0, 2: 1.0}
    pairs = json.loads((Path(DATA) / "pandalm/testset-v1.json").read_text("utf-8"))
    rows = [
        {"prompt_id": p["idx"], "preference": share[p[f"annotator{a}"]],
         "human": share[p[f"annotator{b}"]]}
        for p in pairs
    ]  # fmt: skip
    assert compared(rows)["agreement"]["kappa"] == pytest.approx(kappa, abs=2e-3)


def test_the_raw_rate_promotes_the_wrong_model_and_the_corrected_one_does_not():
    rows = debiased(Path(DATA) / ARENA)
    alone = compared([row | {"human": None} for row in rows])
    assert alone["verdict"] == "PROMOTE"
    assert alone["win_rate"] == pytest.approx(0.706, abs=1e-3)
    found = compared(rows)
    assert found["verdict"] == "REJECT"
    assert found["agreement"]["kappa"] == pytest.approx(0.005, abs=5e-4)
    assert found["corrected"]["ci_low"] < 0.4 < found["corrected"]["ci_high"]


@pytest.mark.parametrize("labelled", [60, 120])
def test_labels_on_some_pairs_are_enough_to_see_it(labelled):
    rows = debiased(Path(DATA) / ARENA)
    some = [r if i < labelled else r | {"human": None} for i, r in enumerate(rows)]
    found = compared(some)
    assert found["verdict"] != "PROMOTE"
    assert found["corrected"]["ci_low"] < 0.4 < found["corrected"]["ci_high"]
