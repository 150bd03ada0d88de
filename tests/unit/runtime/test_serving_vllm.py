import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest
from systems import adapter_folder, served

from tuneloop.config.evaluate import EngineConfig
from tuneloop.errors import ServingError
from tuneloop.runtime.progress import SilentProgress
from tuneloop.runtime.serving import vllm
from tuneloop.runtime.serving.process import PortTakenError, ServerProcess, free_port
from tuneloop.runtime.serving.vllm import VllmBackend, vllm_command, vllm_environment

# A stand-in for a server: a parent with a child that outlives it, like vLLM's workers.
SERVER = """
import http.server, os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("worker", child.pid, flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        good = self.headers.get("Authorization") == "Bearer key" or self.path == "/health"
        self.send_response(200 if good else 401); self.end_headers()
    def log_message(self, *a): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone_within(pids, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(running(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def family(guard_pid):
    guard = psutil.Process(guard_pid)
    return [guard_pid, *(child.pid for child in guard.children(recursive=True))]


def start(tmp_path, code=SERVER, port=None):
    port = port or free_port()
    command = [sys.executable, "-c", code, str(port)]
    server = ServerProcess(command, env=dict(os.environ), log=tmp_path / "server.log")
    return server, f"http://127.0.0.1:{port}"


def test_stop_leaves_no_process(tmp_path):
    server, url = start(tmp_path)
    server.wait_healthy(url, key="key", timeout_s=20)
    pids = family(server.group)
    assert len(pids) == 3
    server.stop()
    assert gone_within(pids, 3)


def test_kill_9_of_the_owner_leaves_no_process(tmp_path):
    owner_code = textwrap.dedent(
        f"""
        import os, sys, time
        from pathlib import Path
        from tuneloop.runtime.serving.process import ServerProcess, free_port
        port = free_port()
        server = ServerProcess([sys.executable, "-c", {SERVER!r}, str(port)],
                               env=dict(os.environ), log=Path({str(tmp_path / "s.log")!r}))
        server.wait_healthy(f"http://127.0.0.1:{{port}}", key="key", timeout_s=20)
        print(server.group, flush=True)
        time.sleep(60)
        """
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    owner = subprocess.Popen(
        [sys.executable, "-c", owner_code], env=env, stdout=subprocess.PIPE, text=True
    )
    try:
        pids = family(int(owner.stdout.readline()))
        assert len(pids) == 3
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        owner.stdout.close()
    assert gone_within(pids, 10)


def test_a_server_that_dies_takes_its_children_along(tmp_path):
    server, url = start(tmp_path)
    server.wait_healthy(url, key="key", timeout_s=20)
    guard, parent, worker = family(server.group)
    os.kill(parent, signal.SIGKILL)
    assert gone_within([guard, parent, worker], 10)
    assert not server.alive()
    server.stop()


def test_the_error_of_a_failed_start_ends_with_the_log(tmp_path):
    server, url = start(tmp_path, "print('no such weights'); raise SystemExit(3)")
    with pytest.raises(ServingError, match="no such weights"):
        server.wait_healthy(url, key="key", timeout_s=20)
    server.stop()


def test_a_start_that_takes_too_long_is_an_error(tmp_path):
    server, url = start(tmp_path, "import time; print('loading', flush=True); time.sleep(60)")
    with pytest.raises(ServingError, match=r"not ready after 1 s.*\n.*loading"):
        server.wait_healthy(url, key="key", timeout_s=1)
    pids = family(server.group)
    server.stop()
    assert gone_within(pids, 3)


def test_another_servers_answer_at_our_port_is_not_ours(tmp_path):
    other, url = start(tmp_path)
    other.wait_healthy(url, key="key", timeout_s=20)
    port = int(url.rpartition(":")[2])
    ours, _ = start(tmp_path / "ours", "import time; time.sleep(60)", port=port)
    try:
        with pytest.raises(PortTakenError):
            ours.wait_healthy(url, key="another key", timeout_s=20)
    finally:
        ours.stop()
        other.stop()


def test_a_taken_port_is_tried_again(tmp_path, monkeypatch):
    tries = []

    def fake(weights, systems, config, *, port):
        code = SERVER.replace('"Bearer key"', '"Bearer " + os.environ["VLLM_API_KEY"]')
        if not tries:
            code = "print('OSError: [Errno 98] Address already in use'); raise SystemExit(1)"
        tries.append(port)
        return [sys.executable, "-c", code, str(port)]

    monkeypatch.setattr(vllm, "vllm_command", fake)
    monkeypatch.setattr(vllm.importlib.util, "find_spec", lambda name: True)
    backend = VllmBackend([served()], EngineConfig(), work=tmp_path, progress=SilentProgress())
    backend.start()
    backend.stop()
    assert len(tries) == 2


def test_replicas_are_servers_of_their_own_and_all_end(tmp_path, monkeypatch):
    ports = []

    def fake(weights, systems, config, *, port):
        ports.append(port)
        code = SERVER.replace('"Bearer key"', '"Bearer " + os.environ["VLLM_API_KEY"]')
        return [sys.executable, "-c", code, str(port)]

    monkeypatch.setattr(vllm, "vllm_command", fake)
    monkeypatch.setattr(vllm.importlib.util, "find_spec", lambda name: True)
    config = EngineConfig(replicas=2)
    backend = VllmBackend([served()], config, work=tmp_path, progress=SilentProgress())
    backend.start()
    processes = [process for process, _ in backend._replicas]
    assert [process.alive() for process in processes] == [True, True]
    assert len(set(ports)) == 2
    backend.stop()
    assert [process.alive() for process in processes] == [False, False]


def test_a_replica_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(vllm, "has_cuda", lambda: True)
    env = {"CUDA_VISIBLE_DEVICES": "3,5"}
    found = [vllm.on_its_own_device(env, i)["CUDA_VISIBLE_DEVICES"] for i in range(2)]
    assert found == ["3", "5"]
    with pytest.raises(ServingError, match="no GPU"):
        vllm.on_its_own_device(env, 2)


def test_command_line_on_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(vllm, "has_cuda", lambda: False)
    config = EngineConfig(max_model_len=512, max_in_flight=8, kv_cache_gib=1.5)
    command = vllm_command(tmp_path, [served()], config, port=4711)
    line = " ".join(command[1:])
    assert f"--model {tmp_path} " in line
    assert "--host 127.0.0.1 --port 4711" in line
    assert "--dtype bfloat16 --max-model-len 512 --max-num-seqs 8" in line
    assert "--generation-config vllm" in line
    assert "--enforce-eager" in line
    assert "--no-enable-chunked-prefill" in line
    assert "lora" not in line
    assert "trust" not in line
    assert "gpu" not in line
    env = vllm_environment(config, "secret", {"PATH": "/bin"})
    assert env["VLLM_TARGET_DEVICE"] == "cpu"
    assert env["VLLM_CPU_KVCACHE_SPACE"] == "2"
    assert env["HF_HUB_OFFLINE"] == "1"
    assert env["VLLM_API_KEY"] == "secret"
    assert "secret" not in line


def test_command_line_on_cuda_serves_adapters_beside_the_base(tmp_path, monkeypatch):
    monkeypatch.setattr(vllm, "has_cuda", lambda: True)
    monkeypatch.setattr("tuneloop.runtime.serving.device.has_cuda", lambda: True)
    one = served("one", adapter=("1" * 64, adapter_folder(tmp_path / "one", r=8)))
    two = served(
        "two", adapter=("2" * 64, adapter_folder(tmp_path / "two", rank_pattern={"q_proj": 24}))
    )
    config = EngineConfig(enforce_eager=False, gpu_memory_fraction=0.5)
    line = " ".join(vllm_command(tmp_path, [one, two, served()], config, port=1))
    assert "--enable-lora --max-lora-rank 32 --lora-modules" in line
    assert f"adapter-{'1' * 16}={tmp_path / 'one'} adapter-{'2' * 16}={tmp_path / 'two'}" in line
    assert "--gpu-memory-utilization 0.5" in line
    assert "--enforce-eager" not in line
    assert "VLLM_TARGET_DEVICE" not in vllm_environment(config, "k", {})


def test_a_launchers_variables_do_not_reach_the_server():
    inherited = {"RANK": "0", "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1", "ACCELERATE_X": "1"}
    env = vllm_environment(EngineConfig(), "k", inherited | {"PATH": "/bin"})
    assert not set(inherited) & set(env)
    assert env["PATH"] == "/bin"
    kept = vllm_environment(EngineConfig(), "k", {"OMP_NUM_THREADS": "2"})
    assert kept["OMP_NUM_THREADS"] == "2"


def test_missing_vllm_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(vllm.importlib.util, "find_spec", lambda name: None)
    backend = VllmBackend([served()], EngineConfig(), work=tmp_path, progress=SilentProgress())
    with pytest.raises(ServingError, match=r"not installed"):
        backend.start()
