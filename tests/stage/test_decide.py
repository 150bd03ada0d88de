"""The decide stage on a help desk of 240 prompts."""

import json

import pytest
from evaluations import BASE, TUNED, commit, commit_evaluation, help_desk

from tuneloop.artefacts.aliases import AliasName
from tuneloop.artefacts.decision import DecisionRecord
from tuneloop.artefacts.stage import Decision, StageContext
from tuneloop.artefacts.store import Store
from tuneloop.config.decide import DecideConfig
from tuneloop.decide.registry import promote, rollback
from tuneloop.decide.stage import decide
from tuneloop.runtime.progress import SilentProgress

PROTECTED = DecideConfig(protected_slices=["safety", "intent:refund"], n_bootstrap=1000)


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


def run(store, folder, made, config=PROTECTED):
    folder.mkdir()
    evaluation = commit_evaluation(store, folder, made)
    context = StageContext(work=folder, seed=17, progress=SilentProgress())
    return evaluation, decide(evaluation, config, context)


def test_the_help_desk_is_promoted_with_every_number_beside_it(store, tmp_path):
    evaluation, output = run(store, tmp_path / "one", help_desk())
    body = json.loads(output.files["decision.json"].read_text())
    record = DecisionRecord.model_validate(body)
    assert record.verdict == "PROMOTE"
    assert body["lineage"] == {"evaluation": evaluation.digest}
    assert len(body["slices"]) == 14
    assert {g["name"] for g in body["gates"]} >= {"primary", "slice:safety", "hard_checks", "judge"}
    assert body["systems"]["candidate"]["digest"] == TUNED.digest
    assert body["systems"]["candidate"]["spec"]["adapter"] == "a" * 64
    assert body["judge"]["canaries"]["identical"] == "failed"
    assert not body["judge"]["decided"]
    assert output.counts.n_in == output.counts.n_out == 240
    assert sum(len(ids) for ids in body["outcomes"].values()) == 240


def test_the_same_evaluation_gives_the_same_bytes(store, tmp_path):
    outputs = [run(store, tmp_path / name, help_desk(families=True))[1] for name in ("a", "b")]
    one, two = (o.files["decision.json"].read_bytes() for o in outputs)
    assert one == two
    assert json.loads(one)["primary"]["unit"] == "family"


def test_a_rolled_back_first_promotion_returns_to_the_base_it_beat(store, tmp_path):
    _, output = run(store, tmp_path / "one", help_desk())
    decision = commit(store, Decision, "decide", output.files)
    alias = AliasName(tenant="acme", task="helpdesk", env="production")
    moved = promote(store, alias, decision=decision, candidate=TUNED, actor="test")
    assert moved.decision == decision.digest
    assert moved.reason == json.loads(output.files["decision.json"].read_text())["reasons"][0]
    back = rollback(store, alias, actor="ann", reason="complaints")
    assert (back.number, back.digest, back.system) == (2, BASE.digest, BASE)
