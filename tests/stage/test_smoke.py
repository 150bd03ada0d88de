"""The whole pipeline through the real command line, undisturbed, killed, and on two processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from smoke import ROOT, SMOKE, environment, tuneloop

STAGES = ["lake", "curate", "build", "sft", "dpo", "evaluate", "decide", "report"]


def digests(run: dict) -> dict[str, str]:
    return {stage: run["stages"][stage]["digest"] for stage in STAGES}


def test_every_stage_leaves_an_artefact(smoke: dict):
    assert set(STAGES) <= set(smoke["stages"])
    assert not any(smoke["stages"][stage]["cached"] for stage in STAGES)
    assert Path(smoke["files"]["report"]).stat().st_size > 5_000


def test_random_weights_are_never_promoted(smoke: dict):
    decision = smoke["decision"]
    assert decision["verdict"] in ("HOLD", "REJECT")
    assert decision["reasons"]
    assert decision["primary"]["n_prompts"] == 24


@pytest.mark.timeout(120)
def test_second_run_reuses_everything(smoke: dict, smoke_store: Path):
    again = json.loads(tuneloop(smoke_store, "run", "-c", str(SMOKE), "--json").stdout)
    assert digests(again) == digests(smoke)
    assert all(again["stages"][stage]["cached"] for stage in STAGES)


def test_decide_speaks_in_exit_codes(smoke: dict, smoke_store: Path):
    done = tuneloop(smoke_store, "decide", "-c", str(SMOKE), "--exit-code", check=False)
    assert done.returncode == {"HOLD": 10, "REJECT": 20}[smoke["decision"]["verdict"]]


def test_lineage_from_the_decision_to_the_events(smoke: dict, smoke_store: Path):
    args = ("--store", str(smoke_store), "--events", "--json")
    out = tuneloop(smoke_store, "lineage", smoke["files"]["decide"], *args).stdout
    events = json.loads(out)["events"]
    lines = (ROOT / "configs/data/helpdesk/events.jsonl").read_text().splitlines()
    recorded = {json.loads(line)["id"] for line in lines if '"id"' in line and line.endswith("}")}
    assert events["interactions"]
    assert events["feedback"]
    assert set(events["interactions"]) <= recorded
    assert set(events["feedback"]) <= recorded


def test_status_and_plan_know_the_run(smoke: dict, smoke_store: Path):
    status = json.loads(tuneloop(smoke_store, "status", "-c", str(SMOKE), "--json").stdout)
    assert any(run["run"] == smoke["run"] for run in status["runs"])
    plan = json.loads(tuneloop(smoke_store, "plan", "-c", str(SMOKE), "--json").stdout)
    assert {row["stage"]: row["cached"] for row in plan["stages"]} == dict.fromkeys(STAGES, True)
    assert plan["sft"]["n_rows"] == 64
    assert 0 < plan["sft"]["n_loss_tokens"] < plan["sft"]["n_tokens"]


@pytest.mark.timeout(600)
def test_killed_in_every_stage_then_run_again(smoke: dict, tmp_path: Path):
    """`kill -9` shortly after each stage begins; the end is the same, weights included."""
    store = tmp_path / "killed"
    for stage in ("curate", "build", "sft", "dpo", "evaluate", "decide", "report"):
        _kill_in(store, stage)
    end = json.loads(tuneloop(store, "run", "-c", str(SMOKE), "--json").stdout)
    assert digests(end) == digests(smoke)


def _kill_in(store: Path, stage: str) -> None:
    command = [sys.executable, "-m", "tuneloop", "run", "-c", str(SMOKE)]
    process = subprocess.Popen(command, env=environment(store), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.strip() == f"▸ {stage}":
            time.sleep(1.0 if stage in ("sft", "dpo", "evaluate") else 0.05)
            os.kill(process.pid, signal.SIGKILL)
            break
    process.stderr.close()
    process.wait(timeout=60)


@pytest.mark.timeout(300)
def test_two_processes_train_as_one(smoke: dict, smoke_store: Path, tmp_path: Path):
    """Under `accelerate launch` the loss curve is that of one process, same global batch."""
    store = tmp_path / "two"
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file"]
    launch += [str(ROOT / "configs/accelerate/cpu_ddp.yaml"), "--main_process_port", "0"]
    launch += ["-m", "tuneloop", "sft", "-c", str(SMOKE), "--json"]
    done = subprocess.run(
        launch, env=environment(store), capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    run = json.loads(done.stdout[done.stdout.index("{") :])
    assert run["stages"]["build"]["digest"] == smoke["stages"]["build"]["digest"]
    one, two = (
        _losses(path, key)
        for path, key in (
            (smoke_store, smoke["stages"]["sft"]["key"]),
            (store, run["stages"]["sft"]["key"]),
        )
    )
    assert len(one) == 8
    assert two == pytest.approx(one, rel=1e-4)


def _losses(store: Path, key: str) -> list[float]:
    from tuneloop.artefacts.store import Store

    artefact = Store(str(store)).find("sft", key)
    assert artefact is not None
    return [point["loss"] for point in artefact.json("history.json")["train"]]
