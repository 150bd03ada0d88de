"""Training that is killed, starved, poisoned or handed other data; on a tiny random Llama."""

import importlib.util
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import training

from tuneloop.config.train import TrackingConfig
from tuneloop.errors import TrainingError
from tuneloop.runtime.progress import SilentProgress

DRIVER = Path(training.__file__)
ADAPTER = "adapter/adapter_model.safetensors"
SRC = Path(__file__).parents[2] / "src"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return training.write_examples(tmp_path_factory.mktemp("examples"))


class Said(SilentProgress):
    """Progress that keeps the lines it was told."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def sft(examples, work, base, **config):
    return training.train("sft", examples, work, base, **{"max_steps": 9} | config)


def crash(monkeypatch, step, run):
    class Crash(Exception):
        pass

    def how():
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(*training.crash_at("training", step, how=how))
        with pytest.raises(Crash):
            run()


# -- what is found on resuming ---------------------------------------------------------
def test_a_broken_checkpoint_falls_back_to_the_one_before(monkeypatch, examples, base, tmp_path):
    whole = sft(examples, tmp_path / "whole", base)
    work = tmp_path / "w"
    crash(monkeypatch, 8, lambda: sft(examples, work, base))
    weights = work / "checkpoints/checkpoint-6/adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-50] + bytes(50))  # as long as before
    progress = Said()
    resumed = sft(examples, work, base, progress=progress)
    assert any("checkpoint-6 cannot be used: adapter_model.safetensors is not what was written; "
               "going on from checkpoint-3" in line for line in progress.lines)  # fmt: skip
    assert resumed.details["resumed_at_step"] == 3
    assert training.contents(resumed) == training.contents(whole)


def test_other_data_or_another_config_is_refused(monkeypatch, examples, base, tmp_path):
    work = tmp_path / "w"
    crash(monkeypatch, 8, lambda: sft(examples, work, base))
    other = training.write_examples(tmp_path / "other", seed=1)
    with pytest.raises(TrainingError, match="the training or validation rows") as caught:
        sft(other, work, base)
    assert "config" not in caught.value.what
    with pytest.raises(TrainingError, match=r"config lr \(0.003 then, 0.001 now\)"):
        sft(examples, work, base, lr=1e-3)
    # What changes nothing may change: the same rows in smaller pieces.
    resumed = sft(examples, work, base, micro_batch_size=1, dataloader_workers=1)
    assert resumed.details["resumed_at_step"] == 6


# -- bad batches -----------------------------------------------------------------------
def poison(monkeypatch, step, value):
    """Make the loss of one optimiser step another."""
    from tuneloop.train.sft import SftTrainer

    plain = SftTrainer.compute_loss

    def compute_loss(self, *args, **kwargs):
        loss = plain(self, *args, **kwargs)
        bad = self.model.training and self.state.global_step == step - 1
        return loss * value if bad else loss

    monkeypatch.setattr(SftTrainer, "compute_loss", compute_loss)


@pytest.mark.parametrize(("value", "says"), [(float("nan"), "nan"), (40.0, "jumped")])
def test_a_bad_step_stops_before_the_weights_move(
    monkeypatch, examples, base, tmp_path, value, says
):
    whole = sft(examples, tmp_path / "whole", base, save_steps=1)
    with monkeypatch.context() as patch:
        poison(patch, 7, value)
        with pytest.raises(TrainingError, match=f"{says}.* at step 7") as caught:
            sft(examples, tmp_path / "w", base, save_steps=1)
    saved = json.loads((tmp_path / "w/bad-batch-step-7.json").read_text())
    assert len(saved["rows"]) == 4
    assert all(row["row_id"] in caught.value.what for row in saved["rows"])
    assert all("<|im_start|>user" in row["text"]["input_ids"] for row in saved["rows"])
    # Step 6 is whole, and with the cause gone the run ends as if nothing had been.
    resumed = sft(examples, tmp_path / "w", base, save_steps=1)
    assert resumed.details["resumed_at_step"] == 6
    assert training.contents(resumed) == training.contents(whole)


def test_the_guard_sees_the_loss_that_is_logged(monkeypatch, examples, base, tmp_path):
    from tuneloop.train.guard import Guard

    seen = []
    plain = Guard._look
    monkeypatch.setattr(
        Guard, "_look", lambda self, *args: (seen.append(args[1]), plain(self, *args))[1]
    )
    curve = json.loads(
        sft(examples, tmp_path / "w", base, logging_steps=1).files["history.json"].read_text()
    )
    assert seen == pytest.approx([p["loss"] for p in curve["train"]], rel=1e-6)


# -- no room ---------------------------------------------------------------------------
def test_a_full_disk_is_said_and_the_run_goes_on_afterwards(examples, base, cache, tmp_path):
    whole = sft(examples, tmp_path / "whole", base)
    state = tmp_path / "whole/checkpoints/checkpoint-6/optimizer.pt"

    def no_large_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (state.stat().st_size // 2,) * 2)

    work = tmp_path / "w"
    result = drive("sft", examples, work, cache, {"max_steps": 9}, preexec_fn=no_large_files)
    assert result.returncode not in (0, -9)
    assert "the disk is full, or a file may not grow further" in result.stderr
    assert "goes on from the beginning" in result.stderr
    assert not list((work / "checkpoints").glob("checkpoint-*"))
    resumed = sft(examples, work, base)
    assert training.contents(resumed) == training.contents(whole)


# -- kills -----------------------------------------------------------------------------
def drive(kind, examples, work, cache, config, **options):
    command = [sys.executable, str(DRIVER), kind, str(examples.folder), str(work), str(cache)]
    env = os.environ | {"PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, json.dumps(config)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def kill_at_random(kind, examples, work, cache, config, *, draw):
    """Start a training and kill it at a random moment after its first checkpoint began."""
    command = [sys.executable, str(DRIVER), kind, str(examples.folder), str(work), str(cache)]
    env = os.environ | {"PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, json.dumps(config)],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    before = set((Path(work) / "checkpoints").glob("checkpoint-*"))
    while process.poll() is None and time.monotonic() < deadline:
        if set((Path(work) / "checkpoints").glob("checkpoint-*")) - before:
            time.sleep(draw.random() * 0.6)
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    return process.wait()


KINDS = {
    "sft": {"dataloader_workers": 1, "lora": {"r": 4, "alpha": 8, "dropout": 0.2}},
    "sft with noise": {"neftune_alpha": 5.0, "early_stopping_patience": 20},
    "dpo": {"logging_steps": 1},
    "kto": {"logging_steps": 1, "lora": {"r": 4, "alpha": 8, "dropout": 0.2}},
}
N_KILLS = int(os.environ.get("TUNELOOP_KILLS", "1"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_random_moments_it_ends_the_same(kind, examples, base, cache, tmp_path):
    config = {"max_steps": 30, "save_steps": 2, "eval_steps": 2} | KINDS[kind]
    kind = kind.split()[0]
    start = sft(examples, tmp_path / "start", base).files[ADAPTER].parent.parent
    begin = {"start": training.Folder(start)} if kind != "sft" else {}
    whole = training.train(kind, examples, tmp_path / "whole", base, **begin, **config)
    seed = random.SystemRandom().randrange(10**6)
    draw = random.Random(seed)
    for_driver = config | ({"start": str(start)} if begin else {})
    codes = [
        kill_at_random(kind, examples, tmp_path / "w", cache, for_driver, draw=draw)
        for _ in range(N_KILLS)
    ]
    assert -9 in codes, f"seed {seed}: {codes}"
    resumed = training.train(kind, examples, tmp_path / "w", base, **begin, **config)
    assert training.contents(resumed) == training.contents(whole), f"seed {seed}"


@pytest.mark.slow
def test_two_processes_that_are_killed_end_the_same(examples, base, cache, tmp_path):
    config = tmp_path / "two.yaml"

    def start(work):
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            port = server.getsockname()[1]
        config.write_text(
            "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\nuse_cpu: true\n"
            "num_machines: 1\nnum_processes: 2\nmachine_rank: 0\nmixed_precision: 'no'\n"
            f"main_process_ip: 127.0.0.1\nmain_process_port: {port}\n"
        )
        settings = {"max_steps": 30, "save_steps": 2, "lora": {"r": 4, "alpha": 8, "dropout": 0.2}}
        launcher = str(Path(sys.executable).parent / "accelerate")
        return subprocess.Popen(
            [launcher, "launch", "--config_file", str(config), str(DRIVER), "sft",
             str(examples.folder), str(work), str(cache), json.dumps(settings)],
            env=os.environ | {"PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"},
            cwd=tmp_path, start_new_session=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    assert start(tmp_path / "whole").wait() == 0
    killed = start(tmp_path / "w")
    while killed.poll() is None and not (tmp_path / "w/checkpoints/checkpoint-4").is_dir():
        time.sleep(0.01)
    time.sleep(random.SystemRandom().random() * 0.5)
    os.killpg(killed.pid, signal.SIGKILL)
    assert killed.wait() == -9
    assert not (tmp_path / "w/history.json").is_file()
    assert start(tmp_path / "w").wait() == 0
    for name in ("history.json", ADAPTER):
        assert (tmp_path / "w" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


# -- forgetting ------------------------------------------------------------------------
def test_forgetting_is_measured_before_and_after(examples, base, tmp_path):
    general = tmp_path / "general.jsonl"
    rows = [{"text": f"the delivery of order {i} is late and a refund is due"} for i in range(12)]
    general.write_text("\n".join(json.dumps(row) for row in rows))
    plain = sft(examples, tmp_path / "plain", base)
    progress = Said()
    holdout = {"path": str(general), "max_rows": 8, "max_perplexity_ratio": 0.5}
    first = sft(examples, tmp_path / "a", base, holdout=holdout, progress=progress)
    found = json.loads(first.files["forgetting.json"].read_text())
    assert (found["n_rows"], found["n_in"]) == (8, 12)
    perplexity = found["perplexity"]
    ratio = perplexity["after"]["estimate"] / perplexity["before"]["estimate"]
    assert perplexity["change"]["estimate"] == pytest.approx(ratio, rel=1e-4)
    assert perplexity["change"]["ci_low"] < ratio < perplexity["change"]["ci_high"]
    assert found["within_limit"] is False
    assert any("max_perplexity_ratio 0.5" in line for line in progress.lines)
    assert str(tmp_path) not in json.dumps(found)
    # Measuring changes nothing; the next stage begins where this one ended.
    weights = {n: b for n, b in training.contents(first).items() if n != "forgetting.json"}
    assert weights == training.contents(plain)
    start = training.Folder(first.files[ADAPTER].parent.parent)
    settings = {"start": start, "holdout": holdout, "max_steps": 2}
    second = training.train("dpo", examples, tmp_path / "b", base, **settings)
    later = json.loads(second.files["forgetting.json"].read_text())["perplexity"]
    assert later["before"]["estimate"] == pytest.approx(perplexity["after"]["estimate"], rel=1e-5)


# -- trackers --------------------------------------------------------------------------
def test_tensorboard_gets_the_curve_and_the_speed(examples, base, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "tracking"
    tracking = TrackingConfig(report_to=["tensorboard"], folder=str(folder))
    output = sft(examples, tmp_path / "w", base, logging_steps=1, tracking=tracking)
    events = EventAccumulator(str(folder / "tensorboard/tuneloop"))
    events.Reload()
    curve = json.loads(output.files["history.json"].read_text())["train"]
    logged = [event.value for event in events.Scalars("train/loss")]
    assert logged == pytest.approx([p["loss"] for p in curve], rel=1e-5)
    for name in ("tokens_per_s", "loss_tokens_per_s", "padding_fraction", "memory_gib"):
        assert all(event.value >= 0 for event in events.Scalars(f"train/{name}")), name


@pytest.mark.parametrize("tracker", ["mlflow", "trackio"])
def test_trackers_that_are_missing_are_named_before_training(
    monkeypatch, examples, base, tmp_path, tracker
):
    from tuneloop.train import tracking

    monkeypatch.setattr(tracking, "_installed", lambda module: module != tracker)
    with pytest.raises(TrainingError, match=f"not installed: {tracker}") as caught:
        sft(examples, tmp_path, base, tracking=TrackingConfig(report_to=["tensorboard", tracker]))
    assert "pip install" in caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tracker", ["mlflow", "trackio"])
def test_other_trackers_write_to_their_folder_and_send_nothing(examples, base, tmp_path, tracker):
    if importlib.util.find_spec(tracker) is None:
        pytest.skip(f"{tracker} is not installed")
    tracking = TrackingConfig(report_to=[tracker], folder=str(tmp_path / "tracking"))
    settings = {name for name in os.environ if name.startswith(tracker.upper())}
    sft(examples, tmp_path / "w", base, max_steps=2, tracking=tracking)
    assert {name for name in os.environ if name.startswith(tracker.upper())} == settings
    if tracker == "mlflow":
        import mlflow

        client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'tracking/mlflow.db'}")
        (run,) = client.search_runs([client.get_experiment_by_name("tuneloop").experiment_id])
        assert run.data.metrics["loss"] > 0
        assert run.data.metrics["tokens_per_s"] > 0
    else:
        assert list((tmp_path / "tracking/trackio").glob("*"))
