"""Out of memory: half the micro-batch, the same curve."""

import json

import pytest
import torch
import training

from tuneloop.artefacts.manifest import Counts
from tuneloop.artefacts.stage import StageOutput
from tuneloop.config.train import SftConfig
from tuneloop.errors import TrainingError
from tuneloop.runtime.progress import SilentProgress
from tuneloop.train.retry import is_out_of_memory, train_within_memory

OUTPUT = StageOutput(files={}, counts=Counts(n_in=0, n_out=0), details={"device": "cpu"})
CPU = "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: 12 bytes"


class Said(SilentProgress):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def attempts(fits, config, *, error=None):
    tried, said = [], Said()
    error = error or RuntimeError(CPU)

    def train(smaller):
        tried.append((smaller.micro_batch_size, smaller.global_batch_size))
        if smaller.micro_batch_size > fits:
            raise error
        return OUTPUT

    return tried, said, lambda: train_within_memory(train, config, said, where="sft")


@pytest.mark.parametrize("error", [RuntimeError(CPU), MemoryError(), torch.OutOfMemoryError("x")])
def test_it_halves_until_it_fits_keeps_the_global_batch_and_says_so(error):
    tried, said, run = attempts(
        2, SftConfig(micro_batch_size=12, global_batch_size=24), error=error
    )
    output = run()
    assert tried == [(12, 24), (6, 24), (3, 24), (1, 24)]
    assert output.details == {"device": "cpu", "micro_batch_size": 1}
    assert len(said.lines) == 3
    assert "global batch stays 24" in said.lines[0]


def test_one_row_too_much_is_an_error_that_names_what_to_change():
    tried, _, run = attempts(0, SftConfig(micro_batch_size=2, global_batch_size=4))
    with pytest.raises(TrainingError) as caught:
        run()
    assert [micro for micro, _ in tried] == [2, 1]
    assert "max_length" in str(caught.value.hint)
    assert "gradient_checkpointing" in str(caught.value.hint)


def test_other_errors_are_not_taken_for_it(monkeypatch):
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    _, _, run = attempts(1, SftConfig(), error=RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes"):
        run()


def test_several_processes_do_not_try_again(monkeypatch):
    monkeypatch.setattr("tuneloop.train.distributed.world_size", lambda: 2)
    tried, _, run = attempts(1, SftConfig(micro_batch_size=4, global_batch_size=8))
    with pytest.raises(TrainingError):
        run()
    assert tried == [(4, 8)]


def test_the_curve_is_that_of_a_run_with_the_smaller_micro_batch(tmp_path, monkeypatch):
    """Memory runs out in the fifth step, after a checkpoint at the third."""
    from tuneloop.train.callback import Watcher

    data = training.write_examples(tmp_path / "data")
    base = training.tiny_base(tmp_path / "models")
    options = {"max_steps": 6, "logging_steps": 1, "lora": {"r": 4, "alpha": 8}}
    small = training.train("sft", data, tmp_path / "a", base, micro_batch_size=2, **options)
    plain, failed = Watcher.on_step_end, []

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 5 and not failed:
            failed.append(state.global_step)
            raise RuntimeError(CPU)
        return plain(self, args, state, control, **kwargs)

    monkeypatch.setattr(Watcher, "on_step_end", on_step_end)
    retried = training.train("sft", data, tmp_path / "b", base, micro_batch_size=4, **options)
    assert failed == [5]
    assert retried.details["micro_batch_size"] == 2
    assert retried.details["resumed_at_step"] == 3

    def curve(output):
        text = output.files["history.json"].read_text(encoding="utf-8")
        return [point["loss"] for point in json.loads(text)["train"]]

    assert curve(retried) == pytest.approx(curve(small), rel=1e-4)
