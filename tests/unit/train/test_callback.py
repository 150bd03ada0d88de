from types import SimpleNamespace

from tuneloop.train.callback import Watcher, history


class Recorder:
    """Progress that keeps what it was told."""

    def __init__(self):
        self.calls = []

    def start(self, description, *, total=None):
        self.calls.append(("start", description, total))

    def advance(self, n=1):
        self.calls.append(("advance", n))

    def done(self, note=""):
        self.calls.append(("done", note))

    def say(self, text):
        self.calls.append(("say", text))


def state(step, most=10):
    return SimpleNamespace(global_step=step, max_steps=most)


def control(**flags):
    plain = {"should_save": False, "should_evaluate": False, "should_log": False}
    return SimpleNamespace(**plain | flags)


def test_progress_counts_what_an_earlier_process_did():
    progress = Recorder()
    watcher = Watcher(progress, name="sft")
    watcher.on_train_begin(None, state(4), control())
    for step in range(5, 11):
        watcher.on_step_end(SimpleNamespace(eval_strategy="no"), state(step), control())
    watcher.on_train_end(None, state(10), control())
    assert progress.calls[0] == ("start", "sft", 10)
    assert sum(call[1] for call in progress.calls if call[0] == "advance") == 10
    assert progress.calls[-1][0] == "done"


def test_loss_and_time_left_are_said_about_ten_times():
    progress = Recorder()
    watcher = Watcher(progress, name="sft")
    watcher.on_train_begin(None, state(0, 100), control())
    for step in range(1, 101):
        watcher.on_log(None, state(step, 100), control(), logs={"loss": 1.25})
    said = [call[1] for call in progress.calls if call[0] == "say"]
    assert len(said) == 10
    assert all("loss 1.2500" in text and "left" in text for text in said)


def test_every_checkpoint_is_a_point_of_the_curve():
    watcher = Watcher(Recorder(), name="sft")
    for flag in ("should_save", "should_evaluate"):
        flags = control(**{flag: True})
        watcher.on_step_end(None, state(3), flags)
        assert flags.should_log
    quiet = control()
    watcher.on_step_end(None, state(3), quiet)
    assert not quiet.should_log


def test_history_holds_no_times():
    log = [
        {"loss": 1.0, "learning_rate": 0.1, "grad_norm": 0.5, "step": 5, "epoch": 0.5},
        {"eval_loss": 0.9, "eval_accuracy": 0.75, "eval_runtime": 3.1, "step": 5},
        {"train_runtime": 12.0, "train_loss": 0.8, "step": 10},
    ]
    assert history(log) == {
        "train": [{"step": 5, "loss": 1.0, "lr": 0.1, "grad_norm": 0.5}],
        "validation": [{"step": 5, "loss": 0.9, "accuracy": 0.75}],
    }
