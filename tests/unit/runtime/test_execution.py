"""Executing stages: cached by key, once at a time, whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tuneloop.artefacts.manifest import Counts, Parent
from tuneloop.artefacts.stage import StageContext, StageOutput
from tuneloop.artefacts.store import Store
from tuneloop.errors import StoreError
from tuneloop.runtime import execution
from tuneloop.runtime.execution import Job, StageSpec, execute, make_job, take_part, wait_for
from tuneloop.runtime.progress import SilentProgress

SPEC = StageSpec("curate", ("artefacts/digest.py",))


def job(seed: int = 1, config: dict | None = None, digest: str = "d") -> Job:
    return make_job(SPEC, [Parent(role="lake", kind="lake", digest=digest)], config or {}, seed)


class Work:
    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, context: StageContext) -> StageOutput:
        self.runs += 1
        path = context.work / "out.txt"
        path.write_text("result")
        return StageOutput(files={"out.txt": path}, counts=Counts(n_in=3, n_out=2))


def test_second_time_comes_from_the_store(tmp_path: Path):
    store, work = Store(str(tmp_path)), Work()
    first = execute(store, job(), work, progress=SilentProgress())
    second = execute(store, job(), work, progress=SilentProgress())
    assert work.runs == 1
    assert first.manifest == second.manifest
    assert first.manifest.counts.n_out == 2
    assert not (store.work / "stages/curate" / job().key).exists()


def test_key_covers_inputs_config_seed_and_code():
    keys = {
        job().key,
        job(seed=2).key,
        job(config={"a": 1}).key,
        job(digest="e").key,
        make_job(StageSpec("curate", ("artefacts/store.py",)), job().parents, {}, 1).key,
    }
    assert len(keys) == 5
    assert job().key == job().key


def test_failure_leaves_no_artefact_and_keeps_the_work(tmp_path: Path):
    store = Store(str(tmp_path))

    def fail(context: StageContext) -> StageOutput:
        (context.work / "checkpoint").write_text("half way")
        raise ValueError("boom")

    try:
        execute(store, job(), fail, progress=SilentProgress())
    except ValueError:
        pass
    assert store.find("curate", job().key) is None
    seen = []

    def go_on(context: StageContext) -> StageOutput:
        seen.append((context.work / "checkpoint").read_text())
        return Work()(context)

    execute(store, job(), go_on, progress=SilentProgress())
    assert seen == ["half way"]


SLOW = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_execution import Work, job
from tuneloop.artefacts.store import Store
from tuneloop.runtime.execution import execute
from tuneloop.runtime.progress import SilentProgress
def work(context):
    with open(sys.argv[1] + "/started", "a") as f: f.write("x")
    time.sleep(float(sys.argv[3]))
    return Work()(context)
print(execute(Store(sys.argv[1]), job(), work, progress=SilentProgress()).digest)
"""


def slow(tmp_path: Path, seconds: float) -> subprocess.Popen:
    args = [sys.executable, "-c", SLOW, str(tmp_path), str(Path(__file__).parent), str(seconds)]
    return subprocess.Popen(args, stdout=subprocess.PIPE, text=True)


def test_two_processes_at_once_do_the_work_once(tmp_path: Path):
    pair = [slow(tmp_path, 1.0), slow(tmp_path, 1.0)]
    digests = {process.communicate(timeout=60)[0] for process in pair}
    assert len(digests) == 1
    assert (tmp_path / "started").read_text() == "x"


def test_kill_then_run_again(tmp_path: Path):
    victim = slow(tmp_path, 60)
    deadline = time.monotonic() + 30
    while not (tmp_path / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    store = Store(str(tmp_path))
    assert store.find("curate", job().key) is None
    out, _ = slow(tmp_path, 0).communicate(timeout=60)
    assert store.find("curate", job().key).digest == out.strip()


def test_again_runs_it_again_and_keeps_what_was(tmp_path: Path):
    store, work = Store(str(tmp_path)), Work()
    first = execute(store, job(), work, progress=SilentProgress())
    second = execute(store, job(), work, progress=SilentProgress(), again=True)
    assert work.runs == 2
    assert (first.manifest.generation, second.manifest.generation) == (1, 2)
    assert store.find("curate", job().key).manifest == second.manifest
    assert [a.manifest for a in store.list_artefacts("curate")] == [first.manifest, second.manifest]


def test_again_that_dies_leaves_the_finished_artefact(tmp_path: Path):
    store = Store(str(tmp_path))
    first = execute(store, job(), Work(), progress=SilentProgress())

    def die(context: StageContext) -> StageOutput:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(store, job(), die, progress=SilentProgress(), again=True)
    assert store.find("curate", job().key).manifest == first.manifest


def test_another_rank_takes_part_and_commits_nothing(tmp_path: Path):
    store, work = Store(str(tmp_path)), Work()
    take_part(store, job(), work, progress=SilentProgress())
    assert work.runs == 1
    assert store.find("curate", job().key) is None


def test_waiting_ends_with_the_launcher(monkeypatch):
    parents = iter([10, 10, 10, 1])
    monkeypatch.setattr(execution.os, "getppid", lambda: next(parents))
    with pytest.raises(StoreError, match="rank 0 did not finish sft"):
        wait_for(lambda: None, "sft")


def test_waiting_is_not_for_ever(monkeypatch):
    monkeypatch.setattr(execution, "OTHER_RANK_TIMEOUT_S", 0.0)
    with pytest.raises(StoreError, match="rank 0"):
        wait_for(lambda: None, "sft")
