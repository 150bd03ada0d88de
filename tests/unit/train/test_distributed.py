import subprocess
import sys

import pytest

from tuneloop.errors import TrainingError
from tuneloop.train import distributed


def test_alone_unless_launched(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    assert distributed.is_main_process()
    distributed.barrier()
    assert distributed.gather([1, 2]) == [1, 2]


def test_alone_needs_no_torch():
    code = (
        "import sys; from tuneloop.train import distributed as d, stage; d.barrier();"
        "d.check_launch(); d.gather([1]); bad = {'torch', 'transformers', 'trl', 'peft',"
        "'datasets', 'accelerate'} & set(sys.modules); sys.exit(str(bad) if bad else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                            env={"PYTHONPATH": "src"}, check=False)  # fmt: skip
    assert result.returncode == 0, result.stderr


def test_accumulation_keeps_the_global_batch(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert distributed.accumulation(global_batch_size=16, micro_batch_size=4) == 2
    with pytest.raises(TrainingError, match="2 processes"):
        distributed.accumulation(global_batch_size=12, micro_batch_size=4)


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["--cpu", "--num_processes", "2", "train.py"], 2),
        (["--num-processes=4", "-m", "tuneloop", "sft"], 4),
        (["--cpu", "train.py", "--num_processes", "9"], 1),
        (["train.py"], 1),
    ],
)
def test_what_the_launcher_was_asked_for(arguments, asked):
    assert distributed.asked_by(arguments) == asked


def test_config_files_ask_too(tmp_path):
    config = tmp_path / "cpu.yaml"
    config.write_text("distributed_type: MULTI_CPU\nnum_processes: 2\nuse_cpu: true\n")
    assert distributed.asked_by(["--config_file", str(config), "-m", "tuneloop"]) == 2


@pytest.mark.parametrize("asked", [1, 2])
def test_fewer_processes_than_asked_is_an_error(monkeypatch, asked):
    monkeypatch.setattr(distributed, "_asked_processes", lambda: asked)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if asked == 1:
        distributed.check_launch()
    else:
        with pytest.raises(TrainingError, match="asked for 2 processes and started 1") as caught:
            distributed.check_launch()
        assert "MULTI_GPU" in caught.value.hint
