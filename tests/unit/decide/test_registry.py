"""The champion moves once per decision, and only one of two writers wins."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from evaluations import BASE, TUNED

import tuneloop
from tuneloop.artefacts.aliases import AliasName, current
from tuneloop.artefacts.store import Store
from tuneloop.decide.registry import history, promote, rollback
from tuneloop.errors import DecisionError

ALIAS = AliasName(tenant="acme", task="helpdesk", env="production")


def system(name):
    return TUNED.model_copy(update={"name": name, "adapter": name.ljust(64, "0")})


def decision(champion, candidate, verdict="PROMOTE", digest=None):
    return {
        "verdict": verdict,
        "reasons": ["better"],
        "digest": digest or f"{champion.name}-{candidate.name}",
        "systems": {
            "champion": {"digest": champion.digest, "spec": champion.model_dump(mode="json")},
            "candidate": {"digest": candidate.digest, "spec": candidate.model_dump(mode="json")},
        },
    }


def move(store, champion, candidate, *, again=False, **changes):
    return promote(
        store, ALIAS, decision=decision(champion, candidate, **changes),
        candidate=candidate, actor="test", again=again,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


def test_a_promotion_moves_one_generation_and_again_moves_none(store):
    first = move(store, BASE, system("a"))
    assert (first.number, first.digest) == (1, system("a").digest)
    assert move(store, BASE, system("a")) == first
    assert move(store, system("a"), system("b")).number == 2
    assert [g.system.name for g in history(store, ALIAS)] == ["a", "b"]


@pytest.mark.parametrize("verdict", ["HOLD", "REJECT"])
def test_any_other_verdict_moves_nothing(store, verdict):
    assert move(store, BASE, system("a"), verdict=verdict) is None
    assert current(store, ALIAS) is None


def test_a_champion_that_moved_since_is_not_overwritten(store):
    move(store, BASE, system("a"))
    with pytest.raises(DecisionError, match="the champion is now a"):
        move(store, BASE, system("b"))
    assert current(store, ALIAS).system.name == "a"


def test_the_first_promotion_must_have_beaten_the_base(store):
    with pytest.raises(DecisionError, match="no champion was ever promoted"):
        move(store, system("a"), system("b"))


def test_another_system_than_the_one_decided_on_is_refused(store):
    with pytest.raises(DecisionError, match="candidate"):
        promote(
            store, ALIAS, decision=decision(BASE, system("a")),
            candidate=system("b"), actor="test",
        )  # fmt: skip


def test_rollback_is_a_new_generation_and_goes_further_back_each_time(store):
    for champion, candidate in [(BASE, system("a")), (system("a"), system("b")),
                                (system("b"), system("c"))]:  # fmt: skip
        move(store, champion, candidate)
    names = [rollback(store, ALIAS, actor="ann", reason="bad").system.name for _ in range(2)]
    assert names == ["b", "a"]
    assert [g.number for g in history(store, ALIAS)] == [1, 2, 3, 4, 5]
    assert rollback(store, ALIAS, actor="ann", reason="was fine", to=3).system.name == "c"
    with pytest.raises(DecisionError, match="no generation 99"):
        rollback(store, ALIAS, actor="ann", reason="?", to=99)
    with pytest.raises(DecisionError, match="in force already"):
        rollback(store, ALIAS, actor="ann", reason="?", to=3)


def test_a_rollback_with_nothing_behind_it_says_so(store):
    with pytest.raises(DecisionError, match="nothing was ever promoted"):
        rollback(store, ALIAS, actor="ann", reason="?")
    move(store, BASE, system("a"))
    with pytest.raises(DecisionError, match="first system"):
        rollback(store, ALIAS, actor="ann", reason="?")


@pytest.mark.parametrize("digest", [None, "another-evaluation"])
def test_no_run_undoes_a_rollback_unless_told_to(store, digest):
    move(store, BASE, system("a"))
    move(store, system("a"), system("b"))
    rollback(store, ALIAS, actor="ann", reason="complaints")
    with pytest.raises(DecisionError, match="was rolled back: complaints"):
        move(store, system("a"), system("b"), digest=digest)
    assert current(store, ALIAS).system.name == "a"
    assert move(store, system("a"), system("b"), digest=digest, again=True).number == 4
    assert current(store, ALIAS).system.name == "b"


def test_a_system_behind_the_one_rolled_back_to_stays_back_and_a_new_one_moves_on(store):
    move(store, BASE, system("a"))
    move(store, system("a"), system("b"))
    rollback(store, ALIAS, actor="ann", reason="both bad", to=1)
    assert move(store, system("a"), system("c")).system.name == "c"
    with pytest.raises(DecisionError, match="rolled back"):
        move(store, system("c"), system("b"))


def test_without_a_rollback_an_earlier_champion_may_win_again(store):
    move(store, BASE, system("a"))
    move(store, system("a"), system("b"))
    assert move(store, system("b"), system("a")).number == 3


RACE = """
import json, sys, time
from pathlib import Path
from tuneloop.artefacts.aliases import AliasName
from tuneloop.artefacts.store import Store
from tuneloop.artefacts.systems import SystemSpec
from tuneloop.decide.registry import promote
from tuneloop.errors import DecisionError
root, job = sys.argv[1], json.loads(sys.argv[2])
store, candidate = Store(root), SystemSpec.model_validate(job["candidate"])
Path(root, f"{candidate.name}.ready").touch()
while len(list(Path(root).glob("*.ready"))) < 2:
    time.sleep(0.001)
try:
    promote(store, AliasName(**job["alias"]), decision=job["decision"], candidate=candidate,
            actor="race")
except DecisionError:
    sys.exit(1)
"""


def test_of_two_processes_exactly_one_wins(store):
    Path(store.root).mkdir()
    racers = []
    for name in ("a", "b"):
        job = {
            "alias": ALIAS.model_dump(),
            "candidate": system(name).model_dump(mode="json"),
            "decision": decision(BASE, system(name)),
        }  # fmt: skip
        command = [sys.executable, "-c", RACE, store.root, json.dumps(job)]
        source = str(Path(tuneloop.__file__).parent.parent)
        racers.append(subprocess.Popen(command, env=os.environ | {"PYTHONPATH": source}))
    codes = [racer.wait(timeout=60) for racer in racers]
    assert sorted(codes) == [0, 1]
    (only,) = history(store, ALIAS)
    assert only.digest == system("ab"[codes.index(0)]).digest


def test_of_many_threads_exactly_one_wins(store):
    barrier, won = threading.Barrier(8), []

    def run(number):
        barrier.wait()
        with contextlib.suppress(DecisionError):
            won.append(move(store, BASE, system(f"s{number}")))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == len(history(store, ALIAS)) == 1
    assert won[0].digest == current(store, ALIAS).digest
