"""A deciding judge that likes long answers holds the verdict."""

import random

import pytest
from evaluations import evidence

from tuneloop.config.decide import DecideConfig
from tuneloop.decide.length import gate_length
from tuneloop.decide.stage import weigh
from tuneloop.statistics.resampling import Resampling

JUDGE = {"role": "deciding", "canaries": [{"name": "identical", "passed": True}]}


def judged(*, likes_length, role="deciding", n=240):
    """Return evidence whose judge prefers the candidate, for its length or for itself."""
    rng = random.Random(3)
    longer = [rng.gauss(0.9, 1.0) for _ in range(n)]
    scores = {}
    for i, by in enumerate(longer):
        won = (by > 0.35) if likes_length else (rng.random() < 0.75)
        score = 0.9 if won else 0.1
        scores[i] = (score, score)
    made = evidence([(True, True)] * n, judge=JUDGE | {"role": role}, scores=scores)
    for row in made.answers:
        by = longer[int(row["prompt_id"][1:])] if row["side"] == "candidate" else 0
        row["text"] = "x" * round(400 + 100 * by)
    return made


def test_a_win_by_length_alone_is_held_and_says_why():
    record = weigh(
        judged(likes_length=True), DecideConfig(metric="judge", n_bootstrap=300), seed=0,
        lineage={},
    )  # fmt: skip
    assert record.verdict == "HOLD"
    gate = next(g for g in record.gates if g.name == "judge_length")
    assert gate.status == "failed"
    assert gate.value < 0.5
    assert record.reasons[0].startswith("The judge's win rate changes sides")
    raw = 100 * (0.5 + record.primary.estimate)
    assert f"length makes {raw - 100 * gate.value:+.1f} points of it." in record.reasons[0]


def test_a_win_of_its_own_passes():
    (gate,) = gate_length(judged(likes_length=False), Resampling(n_bootstrap=300))
    assert gate.status == "passed"
    assert gate.value == pytest.approx(0.7, abs=0.08)


def test_an_advisory_judge_has_no_such_gate():
    assert gate_length(judged(likes_length=True, role="advisory"), Resampling()) == []
