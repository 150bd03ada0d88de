"""The certificate's agreement with people, on PandaLM's pairs and two judges' stored verdicts."""

import json
import os
from pathlib import Path

import pytest
from sklearn.metrics import cohen_kappa_score

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.evaluate.calibration import agree_with_people
from tuneloop.evaluate.judge import Pair
from tuneloop.evaluate.labelled import Labelled

DATA = os.environ.get("TUNELOOP_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="TUNELOOP_DATA is not set")
SCORE = {0: 0.5, 1: 0.0, 2: 1.0}  # response 1 stands for the champion


def majority(row):
    votes = [row[f"annotator{i}"] for i in (1, 2, 3)]
    return max(set(votes), key=votes.count)


@pytest.mark.parametrize(("judge", "accuracy"), [("gpt-3.5-turbo", 0.7107), ("pandalm-7b", 0.6677)])
def test_accuracy_kappa_and_youden_on_pandalm(judge, accuracy):
    folder = Path(DATA) / "pandalm"
    rows = json.loads((folder / "testset-v1.json").read_text("utf-8"))
    said = json.loads((folder / f"{judge}-testset-v1.json").read_text("utf-8"))
    key = next(k for k in said[0] if k.endswith("_result"))
    verdicts = [int(row[key]) if str(row[key]) in ("0", "1", "2") else 0 for row in said]
    ask = [{"role": "user", "content": "q"}]
    labelled = [
        Labelled(Pair(str(i), GoldenPrompt(id=str(i), messages=ask), "a", "b"),
                 SCORE[majority(row)])
        for i, row in enumerate(rows)
    ]  # fmt: skip
    scores = {str(i): SCORE[verdict] for i, verdict in enumerate(verdicts)}
    found = agree_with_people(labelled, scores, seed=1)
    assert (found["n"], found["n_missing"]) == (999, 0)
    assert found["accuracy"]["value"] == pytest.approx(accuracy, abs=5e-5)
    people = [majority(row) for row in rows]
    assert found["kappa"]["value"] == pytest.approx(cohen_kappa_score(people, verdicts), abs=1e-5)
    assert found["kappa"]["ci_low"] < found["kappa"]["value"] < found["kappa"]["ci_high"]
    assert 0 < found["youden_j"]["value"] < 1
    print(judge, {name: found[name] for name in ("kappa", "youden_j", "ece", "bias")})
