"""Who may move an alias, when, and how often a golden set may be asked."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from decisions import SCOPE, decided
from evaluations import evidence
from typer.testing import CliRunner

from tuneloop import cli
from tuneloop.artefacts import approvals as said
from tuneloop.artefacts import ledger, signing
from tuneloop.artefacts.aliases import AliasName, current
from tuneloop.artefacts.store import Store
from tuneloop.config.decide import DecideConfig
from tuneloop.config.policy import PolicyConfig
from tuneloop.decide.permission import permission_now
from tuneloop.errors import DecisionError

ALIAS = AliasName(**SCOPE)
BETTER = [(False, True)] * 40 + [(True, True)] * 20
TWO = {"approvals": {"n": 2}}


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    monkeypatch.delenv(signing.SIGN, raising=False)
    monkeypatch.delenv(signing.VERIFY, raising=False)


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


def make(store, tmp_path, pairs=BETTER, **options):
    return decided(store, tmp_path / "made", evidence(pairs), **options)


def approve(store, decision, person, *more):
    arguments = ["approve", decision.digest[:12], "--as", person, "--reason", "seen", "--store",
                 store.root, "--json", *more]  # fmt: skip
    return CliRunner().invoke(cli.app, arguments)


# -- approvals -----------------------------------------------------------------------
def test_the_alias_moves_with_the_second_person_and_not_before(store, tmp_path):
    decision = make(store, tmp_path, policy=TWO)
    assert decision.json("decision.json")["next_action"]["kind"] == "approve"
    for person in ("Bo", "bo ", "\uff22\uff4f"):  # one person, three times
        assert json.loads(approve(store, decision, person).stdout)["moved"] is None
    assert current(store, ALIAS) is None
    moved = json.loads(approve(store, decision, "Cy").stdout)["moved"]
    assert (moved["actor"], moved["decision"]) == ("bo, cy", decision.digest)
    assert current(store, ALIAS).number == 1


def test_who_ran_it_does_not_approve_it_unless_the_policy_says_so(store, tmp_path):
    decision = make(store, tmp_path, policy={"approvals": {"n": 1}}, author="Ada")
    told = json.loads(approve(store, decision, "ada").stdout)
    assert told["moved"] is None
    assert any("ran the decision" in text for text in told["missing"])
    second, policy = Store(str(tmp_path / "second")), {"approvals": {"n": 1, "author_may": True}}
    other = make(second, tmp_path, policy=policy, author="Ada")
    assert json.loads(approve(second, other, "ada").stdout)["moved"]


def test_roles_are_asked_for_and_strangers_do_not_count(store, tmp_path):
    roles = {"owner": ["bo", "cy"], "safety": ["di"]}
    policy = {"approvals": {"n": 2, "roles": roles, "each": {"safety": 1}}}
    decision = make(store, tmp_path, policy=policy)
    for person in ("bo", "mallory", "cy"):
        approve(store, decision, person)
    found = permission_now(decision)
    assert found.counted == ["bo", "cy"]
    assert found.missing == ["1 with the role safety must approve; 0 did"]
    assert json.loads(approve(store, decision, "di").stdout)["moved"]


def test_a_no_stands_until_its_person_takes_it_back(store, tmp_path):
    decision = make(store, tmp_path, policy={"approvals": {"n": 1}})
    approve(store, decision, "bo", "--reject")
    assert json.loads(approve(store, decision, "cy").stdout)["moved"] is None
    assert json.loads(approve(store, decision, "bo").stdout)["moved"]


def test_what_is_not_proven_cannot_be_approved(store, tmp_path):
    decision = make(store, tmp_path, [(True, True)] * 30)
    done = approve(store, decision, "bo")
    assert isinstance(done.exception, DecisionError)
    assert "not proven" in str(done.exception)


def test_a_word_that_was_changed_or_taken_out_voids_the_record(store, tmp_path):
    decision = make(store, tmp_path, policy=TWO)
    approve(store, decision, "bo", "--reject")
    approve(store, decision, "cy")
    first = f"approvals/{decision.digest}/00000001.json"
    kept = store.get(first)
    store.put(first, kept.replace(b'"reject"', b'"approve"'))
    with pytest.raises(DecisionError, match="changed after it was made"):
        said.approvals(store, decision.digest)
    store.delete(first)
    with pytest.raises(DecisionError, match="changed after it was made"):
        permission_now(decision)


def test_where_there_is_a_key_unsigned_words_do_not_count(store, tmp_path, monkeypatch):
    decision = make(store, tmp_path, policy={"approvals": {"n": 1}})
    said.record(store, decision.digest, "approve", person="bo", reason="unsigned")
    monkeypatch.setenv(signing.SIGN, "s" * 32)
    assert "not signed" in permission_now(decision).ignored[0]
    approve(store, decision, "cy")
    assert permission_now(decision).counted == ["cy"]
    monkeypatch.setenv(signing.SIGN, "t" * 32)  # another key: forged
    with pytest.raises(DecisionError):
        said.approvals(store, decision.digest)


@pytest.mark.parametrize("name", ["", "  ", "a\nb\x00"])
def test_a_name_names_somebody(name):
    with pytest.raises(DecisionError):
        said.person_of(name)


# -- time ----------------------------------------------------------------------------
def test_in_a_freeze_no_alias_moves(store, tmp_path):
    now = datetime.now(UTC)
    window = {"from": (now - timedelta(days=1)).isoformat(), "reason": "holidays",
              "to": (now + timedelta(days=1)).isoformat()}  # fmt: skip
    decision = make(store, tmp_path, policy={"approvals": {"n": 1}, "freeze": [window]})
    told = json.loads(approve(store, decision, "bo").stdout)
    assert told["moved"] is None
    assert "holidays" in told["missing"][0]
    promote = ["registry", "promote", decision.digest, "--as", "bo", "--store", store.root]
    assert "holidays" in str(CliRunner().invoke(cli.app, promote).exception)


def test_days_of_the_week_freeze_in_utc():
    freeze = PolicyConfig.model_validate(
        {"name": "p", "freeze": [{"weekdays": ["sat", "sun"], "reason": "weekend"}]}
    ).freeze[0]
    assert freeze.holds(datetime.fromisoformat("2026-11-21T23:30:00+00:00"))
    assert not freeze.holds(datetime.fromisoformat("2026-11-23T00:30:00+01:00").replace(hour=12))


def test_an_old_verdict_moves_nothing(store, tmp_path):
    decision = make(store, tmp_path, config=DecideConfig(n_bootstrap=200, valid_days=1e-10))
    assert "held until" in permission_now(decision).missing[0]


def test_a_policy_that_cannot_be_met_is_refused_at_once():
    for bad in (
        {"approvals": {"n": 3, "roles": {"a": ["x", "y"]}}},
        {"approvals": {"each": {"ghost": 1}}},
        {"freeze": [{"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z", "reason": "r"}]},
        {"freeze": [{"reason": "r"}]},
        {"freeze": [{"from": "2026-01-01T00:00:00", "to": "2026-02-01T00:00:00", "reason": "r"}]},
    ):
        with pytest.raises(ValueError):
            PolicyConfig.model_validate({"name": "p"} | bad)


# -- gates and slices ----------------------------------------------------------------
def test_a_hard_gate_rejects_where_it_failed_and_holds_where_it_was_skipped(store, tmp_path):
    skipped = make(store, tmp_path, policy={"hard_gates": ["hard_checks"]})
    body = skipped.json("decision.json")
    assert (body["verdict"], body["next_action"]["kind"]) == ("HOLD", "run_checks")
    pairs = [*BETTER, *[(None, None)] * 10]
    failed = make(
        Store(str(tmp_path / "b")),
        tmp_path / "b",
        pairs,
        policy={"hard_gates": ["missing_answers"]},
    )
    assert failed.json("decision.json")["verdict"] == "REJECT"
    with pytest.raises(DecisionError, match="none of this decision's"):
        make(Store(str(tmp_path / "c")), tmp_path / "c", policy={"hard_gates": ["no_such"]})


def test_a_policy_protects_slices_with_the_smaller_margin(store, tmp_path):
    made = evidence(BETTER, slices=[["de"]] * 60)
    config = DecideConfig(n_bootstrap=200, protected_slices=["de"], slice_margin=0.05)
    decision = decided(
        store, tmp_path / "x", made, config=config, policy={"protected_slices": {"de": 0.01}}
    )
    (part,) = decision.json("decision.json")["slices"]
    assert (part["protected"], part["margin"]) == (True, 0.01)


# -- error budget --------------------------------------------------------------------
def question(candidate="d", alpha=0.05):
    return ledger.Question(golden="c" * 64, champion="b" * 64, candidate=candidate * 64,
                           metric="pass", objective="better", margin=0, alpha=alpha)  # fmt: skip


def test_a_question_spends_once_and_others_add_up(store):
    assert ledger.spend(store, question("d")) == []
    assert ledger.spend(store, question("e")) == [0.05]
    assert ledger.spend(store, question("d")) == []  # as it was when it was first asked
    assert ledger.spend(store, question("f", 0.01)) == [0.05, 0.05]
    assert len(ledger.entries(store, "c" * 64)) == 3


def test_questions_at_the_same_time_take_different_numbers(store):
    asked = [question(c) for c in "0123456789"]
    spent = []
    threads = [
        threading.Thread(target=lambda q=q: spent.append(ledger.spend(store, q))) for q in asked
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, spent)) == list(range(10))


def test_above_the_budget_a_good_candidate_is_held(store, tmp_path):
    policy = {"error_budget": {"total": 0.12}}
    before = {"n_before": 2, "alpha_before": 0.1, "alpha": 0.05, "total": 0.12}
    body = make(store, tmp_path, policy=policy, budget=before).json("decision.json")
    assert (body["verdict"], body["next_action"]["kind"]) == ("HOLD", "rotate_golden")
    assert "Rotate the golden set" in body["reasons"][0]
    within = before | {"n_before": 1, "alpha_before": 0.05}
    body = make(Store(str(tmp_path / "b")), tmp_path / "b", policy=policy, budget=within).json(
        "decision.json"
    )
    assert body["verdict"] == "PROMOTE"
    with pytest.raises(DecisionError, match=r"above the 0\.01"):
        make(
            Store(str(tmp_path / "c")),
            tmp_path / "c",
            policy={"error_budget": {"total": 1, "max_alpha": 0.01}},
        )
