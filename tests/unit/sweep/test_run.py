import json
import math

import pytest
import yaml
from pipelines import Loop, stub
from typer.testing import CliRunner

from tuneloop.artefacts.store import Store
from tuneloop.cli import app
from tuneloop.config.load import load_config
from tuneloop.config.sweep import SweepConfig
from tuneloop.errors import ConfigError, TrainingError, TuneloopError
from tuneloop.sweep.page import sweep_report, write_sweep
from tuneloop.sweep.run import best_of, open_sweep, run_sweep

LR, R = "train.sft.lr", "train.sft.lora.r"


class Trainings(Loop):
    """Stub trainings whose validation loss is best at a learning rate of 1e-3."""

    def _train(self, examples, base, start, config, *rest):
        if config.lora.r == 64:
            raise TrainingError("out of memory")
        loss = round(abs(math.log10(config.lr) + 3) + config.lora.r / 1000, 9)
        history = {"steps": 4, "stopped_early": False, "best_step": None,
                   "validation": [{"step": 0, "loss": 9.0}, {"step": 4, "loss": loss}]}  # fmt: skip
        files = {"adapter/a.safetensors": str(config.lr), "history.json": json.dumps(history)}
        return self._written(rest[-1], files)


@pytest.fixture
def loop(tmp_path, monkeypatch):
    return stub(monkeypatch, Trainings(tmp_path))


@pytest.fixture
def path(loop, tmp_path):
    body = {"name": "demo", "model": {"name": "m"}, "store": str(tmp_path / "store"),
            "golden": {"path": "golden.jsonl"}, "lake": {"events": ["events.jsonl"]}}  # fmt: skip
    path = tmp_path / "run.yaml"
    path.write_text("# A run.\n" + yaml.safe_dump(body))
    return path


def space(**keys):
    dimensions = {LR: {"low": 1e-5, "high": 1e-1, "log": True}, R: {"values": [4, 8]}}
    return SweepConfig.model_validate({"stage": "sft", "trials": 6, "space": dimensions} | keys)


def test_the_best_is_found_and_its_config_trains_the_same(path, loop, tmp_path):
    sweep = open_sweep(path, ["train.sft.epochs=2"], space(trials=12))
    trials = run_sweep(sweep)
    best = best_of(sweep, trials)
    assert best.value == min(trial.value for trial in trials)
    files = write_sweep(tmp_path / "out", sweep, trials)
    assert load_config(files["best.yaml"]).config.train == best.config.train
    assert load_config(files["best.yaml"]).config.train.sft.epochs == 2
    assert load_config(files["best.yaml"]).config.name == "demo"
    page = files["sweep.html"].read_text("utf-8")
    assert page.count("<circle") == 12 * 3
    assert page.count("<tr>") == 13


def test_a_sweep_that_was_stopped_goes_on_without_training_twice(path, loop, monkeypatch):
    whole = [(t.params, t.value) for t in run_sweep(open_sweep(path, [], space()))]
    n_trained = loop.ran.count("sft")
    assert n_trained == len({json.dumps(params) for params, _ in whole})
    again = [(t.params, t.value) for t in run_sweep(open_sweep(path, [], space()))]
    assert again == whole
    assert loop.ran.count("sft") == n_trained, "the store had them all"

    def stop(trial):
        if trial.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(open_sweep(path, [], space(seed=3)), told=stop)
    before = loop.ran.count("sft")
    ended = [(t.params, t.value) for t in run_sweep(open_sweep(path, [], space(seed=3)))]
    assert loop.ran.count("sft") - before <= 3
    assert len(ended) == 6


def test_the_golden_set_is_never_looked_at(path, loop):
    run_sweep(open_sweep(path, [], space()))
    assert not {"evaluate", "decide", "report", "dpo"} & set(loop.ran)


def test_a_trial_that_fails_is_kept_with_its_reason(path, loop):
    config = space(method="grid", space={R: {"values": [4, 64, 8]}})
    sweep = open_sweep(path, [], config)
    trials = run_sweep(sweep)
    assert [trial.value is None for trial in trials] == [False, True, False]
    assert trials[1].missing == "TrainingError: out of memory"
    report = sweep_report(sweep, trials)
    assert (report["n_trials"], report["n_missing"], report["best"]) == (3, 1, 0)


def test_a_run_of_the_name_does_not_take_a_trial_for_its_own(path, loop):
    from tuneloop.artefacts import runs

    run_sweep(open_sweep(path, [], space()))
    store = Store(str(path.parent / "store"))
    assert runs.newest_artefact(store, "demo", "sft") is None
    assert runs.newest_artefact(store, "demo-sweep", "sft") is not None


def test_values_the_run_would_refuse_are_told_before_anything_is_trained(path, loop):
    config = space(space={R: {"values": [4, 0]}, "train.sft.micro_batch_size": {"values": [3]}})
    with pytest.raises(ConfigError) as caught:
        open_sweep(path, [], config)
    said = "\n".join(caught.value.problems)
    assert "train.sft.lora.r" in said
    assert not loop.ran
    with pytest.raises(ConfigError, match="switched off"):
        open_sweep(path, ["train.sft.enabled=false"], space())
    with pytest.raises(ConfigError, match="does not come before"):
        open_sweep(path, [], space(space={"train.dpo.lr": {"values": [1e-5]}}))


def test_several_processes_are_refused(path, loop, monkeypatch):
    sweep = open_sweep(path, [], space())
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TuneloopError, match="one process"):
        run_sweep(sweep)


def test_the_verb_prints_a_table_or_json_and_writes_the_page(path, loop, tmp_path):
    (tmp_path / "space.yaml").write_text(
        "stage: sft\nmethod: grid\nspace: {train.sft.lr: {values: [1e-2, 1e-3]}}\n"
    )
    words = ["sweep", "-c", str(path), "--space", str(tmp_path / "space.yaml")]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    assert "2 of 2 trials measured" in said.output
    report = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert report["best"] == 1
    assert report["trials"][1]["params"] == {"train.sft.lr": 1e-3}
    assert report["files"]["best.yaml"].endswith("reports/demo/sweep/best.yaml")
