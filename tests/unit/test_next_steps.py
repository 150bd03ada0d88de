"""What a run ends with: what a PROMOTE waits for, and commands that can be run as they stand."""

import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from decisions import decided
from evaluations import evidence
from typer.testing import CliRunner

from tuneloop import cli
from tuneloop.artefacts.store import Store
from tuneloop.next_steps import verdict_end

BETTER = [(False, True)] * 40 + [(True, True)] * 20
NOW = datetime.now(UTC)
FREEZE = {"from": (NOW - timedelta(days=1)).isoformat(), "reason": "holidays",
          "to": (NOW + timedelta(days=1)).isoformat()}  # fmt: skip


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Store(".tuneloop")


def end(decision, again=None):
    return verdict_end(decision, {"decide": Path("decision.json")}, again=again)


def make(store, tmp_path, pairs=BETTER, **options):
    return decided(store, tmp_path / "made", evidence(pairs), **options)


def commands(text):
    listed = text.split("try next\n")[1].splitlines()
    return [line.split("#")[0].strip() for line in listed]


def run(command):
    words = [word.replace("NAME", "bo").replace("…", "seen") for word in shlex.split(command)]
    done = CliRunner().invoke(cli.app, words[1:])
    assert done.exit_code == 0, (command, done.output, done.exception)


def test_a_promote_says_whom_it_waits_for_and_every_command_can_be_run(store, tmp_path):
    decision = make(store, tmp_path, policy={"approvals": {"n": 1}})
    text = end(decision)
    assert "champion  not moved yet: 1 different persons must approve; nobody did" in text
    assert [command.split()[1] for command in commands(text)][:3] == ["why", "bundle", "approve"]
    for command in commands(text):
        run(command)
    assert "moved: the candidate is in force, generation 1" in end(decision)


def test_a_freeze_is_named_with_its_end(store, tmp_path):
    decision = make(store, tmp_path, policy={"approvals": {"n": 1}, "freeze": [FREEZE]})
    run(f"tuneloop approve {decision.digest} --as NAME --reason …")
    text = end(decision)
    assert (
        f"not moved yet: no alias moves now: holidays, until {NOW + timedelta(days=1):%Y-%m-%d}"
        in text
    )
    assert any("registry promote" in command for command in commands(text))


def test_without_a_policy_nothing_stands_in_the_way(store, tmp_path):
    assert "nothing stands in the way" in end(make(store, tmp_path))


def test_a_hold_says_what_to_do_and_offers_no_approval(store, tmp_path):
    text = end(
        make(store, tmp_path, [(False, True)] * 9 + [(True, False)] * 5), again="tuneloop plan"
    )
    assert text.startswith("HOLD")
    assert "next      Add about" in text
    assert not any("approve" in c or "promote" in c for c in commands(text))
    assert commands(text)[-1] == "tuneloop plan"


def test_another_store_stands_in_the_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = end(make(Store("a store"), tmp_path))
    assert all("--store 'a store'" in command for command in commands(text))
    for command in commands(text):
        run(command)
