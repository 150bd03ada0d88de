"""The command line: JSON for machines, errors people can act on, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tuneloop import cli, cli_decide

VERBS = ["validate", "plan", "run", "simulate", "curate", "build", "sft", "dpo", "kto", "evaluate",
         "decide", "report", "status", "lineage", "registry", "schema", "ingest", "export", "erase",
         "explain", "card", "diff", "cohorts", "golden", "approve", "bundle",
         "replay", "why"]  # fmt: skip
GOOD = "name: demo\nmodel: {name: tiny-random}\ngolden: {path: golden.jsonl}\n"


def tuneloop(*args: str, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tuneloop", *args]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(GOOD)
    return path


def test_help_names_every_verb(tmp_path: Path):
    out = tuneloop("--help", cwd=tmp_path).stdout
    assert all(f"  {verb} " in out for verb in VERBS)


def test_validate_says_ok(config: Path):
    done = tuneloop("validate", "-c", str(config), cwd=config.parent)
    assert (done.returncode, "ok" in done.stdout) == (0, True)


def test_validate_json_holds_the_resolved_config(config: Path):
    args = ("validate", "-c", str(config), "--set", "train.sft.lr=0.5", "--json")
    body = json.loads(tuneloop(*args, cwd=config.parent).stdout)
    assert body["config"]["train"]["sft"]["lr"] == 0.5


def test_errors_are_json_where_json_is_asked_for(config: Path):
    config.write_text(GOOD + "sede: 1\n")
    done = tuneloop("validate", "-c", str(config), "--json", cwd=config.parent)
    assert done.returncode == 2
    assert "did you mean 'seed'" in json.loads(done.stdout)["error"]["problems"][0]


def test_no_traceback_for_what_a_user_can_mend(config: Path):
    done = tuneloop("build", "-c", str(config), cwd=config.parent)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "error:" in done.stderr
    assert "hint:" in done.stderr


def test_unknown_stage_names_the_stages(config: Path):
    done = tuneloop("run", "-c", str(config), "--from", "trian", cwd=config.parent)
    assert done.returncode == 1
    assert "lake, curate, sample, build" in done.stderr


def test_stage_that_is_off_says_so(config: Path):
    args = ("sft", "-c", str(config), "--set", "train.sft.enabled=false")
    done = tuneloop(*args, cwd=config.parent)
    assert done.returncode == 1
    assert "switched off" in done.stderr


def test_from_without_an_earlier_run_says_what_to_do(config: Path):
    done = tuneloop("run", "-c", str(config), "--from", "build", cwd=config.parent)
    assert done.returncode == 1
    assert "--from" in done.stderr


def test_lineage_of_the_unknown(tmp_path: Path):
    done = tuneloop("lineage", "abcdef", "--store", str(tmp_path / "s"), cwd=tmp_path)
    assert done.returncode == 1
    assert "no artefact 'abcdef'" in done.stderr


def test_registry_of_an_empty_store(tmp_path: Path):
    done = tuneloop("registry", "list", "--store", str(tmp_path / "s"), "--json", cwd=tmp_path)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize(
    "args",
    [
        ("registry", "list"),
        ("lineage", "abcdef"),
        ("lineage", "--subject", "ann"),
        ("status", "-c", "run.yaml"),
        ("plan", "-c", "run.yaml"),
        ("registry", "rollback", "-c", "run.yaml", "--reason", "r"),
    ],
)
def test_looking_makes_no_store(config: Path, args: tuple[str, ...]):
    (config.parent / "golden.jsonl").write_text("")
    done = tuneloop(*args, cwd=config.parent)
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in config.parent.iterdir()) == ["golden.jsonl", "run.yaml"]


def test_status_and_rollback_need_no_base_model(config: Path):
    config.write_text(GOOD.replace("tiny-random", "/no/such/model"))
    assert "none promoted" in tuneloop("status", "-c", str(config), cwd=config.parent).stdout
    args = ("registry", "rollback", "-c", str(config), "--reason", "r")
    assert "nothing was ever promoted" in tuneloop(*args, cwd=config.parent).stderr


def test_until_before_from_is_an_error(config: Path):
    args = ("run", "-c", str(config), "--from", "report", "--until", "lake", "--json")
    done = tuneloop(*args, cwd=config.parent)
    assert done.returncode == 1
    assert "--from report comes after --until lake" in json.loads(done.stdout)["error"]["what"]


@pytest.mark.parametrize("args", [("run",), ("run", "--no-such-option"), ("rnu",)])
def test_wrong_usage_is_json_where_json_is_asked_for(tmp_path: Path, args: tuple[str, ...]):
    done = tuneloop(*args, "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["where"] == "usage"
    plain = tuneloop(*args, cwd=tmp_path)
    assert (plain.returncode, plain.stdout) == (2, "")
    assert "Usage:" in plain.stderr


def test_lineage_takes_one_way(tmp_path: Path):
    for args in ((), ("abc", "--subject", "ann")):
        done = tuneloop("lineage", *args, cwd=tmp_path)
        assert done.returncode == 1
        assert "--subject" in done.stderr


def test_schema_json_names_what_was_written(tmp_path: Path):
    done = tuneloop("schema", "--out", "reference", "--json", cwd=tmp_path)
    files = json.loads(done.stdout)["files"]
    assert files
    assert all((tmp_path / file).is_file() for file in files)


def test_errors_cannot_steer_the_terminal(tmp_path: Path):
    done = tuneloop("lineage", "a\x1b]0;x\x07\u202e", "--store", "s", cwd=tmp_path)
    assert not set(done.stderr) & {"\x1b", "\x07", "\u202e"}
    assert "\\x1b]0;x\\x07\\u202e" in done.stderr


@pytest.mark.parametrize(
    ("verdict", "code"), [("PROMOTE", 0), ("HOLD", 10), ("REJECT", 20), (None, 0)]
)
def test_decide_exit_codes_and_other_ranks_keep_quiet(monkeypatch, config, verdict, code):
    decision = {"verdict": verdict} if verdict else {}  # what ranks above 0 get
    monkeypatch.setattr(cli_decide, "run_stages", lambda *_, **__: decision)
    done = CliRunner().invoke(cli.app, ["decide", "-c", str(config), "--exit-code"])
    assert done.exit_code == code


def test_served_champion_needs_a_system(tmp_path: Path):
    done = tuneloop("simulate", "--out", "x", "--set", "champion.kind=served", cwd=tmp_path)
    assert done.returncode == 1
    assert "--champion-of" in done.stderr
