"""A vLLM server of our own: its command line, its environment, its life."""

from __future__ import annotations

import importlib.util
import math
import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tuneloop.artefacts.stage import Progress
from tuneloop.config.engine import EngineConfig
from tuneloop.errors import ServingError
from tuneloop.runtime.serving.chat import ChatRequest, ChatResult, Follow, ServedSystem
from tuneloop.runtime.serving.client import Server, stream_chats
from tuneloop.runtime.serving.counters import ServerCounters
from tuneloop.runtime.serving.device import has_cuda, max_lora_rank, serves_as_lora
from tuneloop.runtime.serving.process import PortTakenError, ServerProcess, free_port

BASE_NAME = "base"
N_PORT_TRIES = 3
LAUNCHER_PREFIXES = ("TORCHELASTIC_", "ACCELERATE_")
LAUNCHER_VARIABLES = frozenset(
    {"RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE",
     "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS"}
)  # fmt: skip


def adapter_name(system: ServedSystem) -> str:
    """Return the name a system's adapter has at the server."""
    return f"adapter-{str(system.spec.adapter)[:16]}"


def vllm_command(
    weights: Path, systems: Sequence[ServedSystem], config: EngineConfig, *, port: int
) -> list[str]:
    """Return the command line of a server for `systems`; it holds no secret.

    Args:
        weights: The base's folder, or merged weights.
        systems: Those whose adapters are served beside the base are named with their folders.
        config: The engine.
        port: Where it listens, on 127.0.0.1 only.
    """
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(weights), "--served-model-name", BASE_NAME]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--dtype", config.dtype, "--max-model-len", str(config.max_model_len)]
    command += ["--max-num-seqs", str(config.max_in_flight)]
    # The model's own sampling defaults would change answers behind the system's spec.
    command += ["--generation-config", "vllm", "--disable-uvicorn-access-log"]
    if config.enforce_eager:
        command.append("--enforce-eager")
    if systems[0].base.trust_remote_code:
        command.append("--trust-remote-code")
    if systems[0].spec.quantisation:
        command += ["--quantization", systems[0].spec.quantisation]
    if has_cuda():
        command += ["--gpu-memory-utilization", str(config.gpu_memory_fraction)]
    else:
        # vLLM 0.32 rewinds a seeded request's generator when its prompt is split over two steps,
        # which a CPU generator cannot do: the engine dies. So prompts are not split there.
        command.append("--no-enable-chunked-prefill")
    beside = {
        adapter_name(s): s.adapter_folder
        for s in systems
        if s.adapter_folder and serves_as_lora(s.adapter_folder, config)
    }
    if beside:
        rank = max_lora_rank(list(beside.values()))
        command += ["--enable-lora", "--max-lora-rank", str(rank), "--lora-modules"]
        command += [f"{name}={folder}" for name, folder in sorted(beside.items())]
    return command


def vllm_environment(
    config: EngineConfig, key: str, inherited: Mapping[str, str]
) -> dict[str, str]:
    """Return the server's environment: ours, less what a training launcher left in it."""
    launched = "RANK" in inherited
    env = {
        name: value
        for name, value in inherited.items()
        if not (launched and (name in LAUNCHER_VARIABLES or name.startswith(LAUNCHER_PREFIXES)))
    }
    env |= {"VLLM_API_KEY": key, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    if not has_cuda():
        env["VLLM_TARGET_DEVICE"] = "cpu"
        env["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, math.ceil(config.kv_cache_gib)))
    return env


def on_its_own_device(env: Mapping[str, str], replica: int) -> dict[str, str]:
    """Return a replica's environment with one GPU of those that are visible, in turn.

    Raises:
        ServingError: if there are fewer GPUs than replicas.
    """
    if not has_cuda():
        return dict(env)
    import torch

    named = env.get("CUDA_VISIBLE_DEVICES", "")
    devices = [d for d in named.split(",") if d] or [
        str(i) for i in range(torch.cuda.device_count())
    ]
    if replica >= len(devices):
        raise ServingError(
            f"replica {replica + 1} has no GPU: {len(devices)} are visible",
            where="engine.replicas",
            hint="ask for at most one replica a GPU",
        )
    return dict(env) | {"CUDA_VISIBLE_DEVICES": devices[replica]}


class VllmBackend:
    """Starts one or several servers for systems that may stand together, and asks it."""

    chunk_size = 1

    def __init__(
        self,
        systems: Sequence[ServedSystem],
        config: EngineConfig,
        *,
        work: Path,
        progress: Progress,
    ) -> None:
        self.systems, self.config = systems, config
        self.work, self.progress = work, progress
        self._replicas: list[tuple[ServerProcess, Server]] = []
        self._counters: ServerCounters | None = None

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            ServingError: if vLLM is not installed, or the server does not come up.
        """
        if importlib.util.find_spec("vllm") is None:
            raise ServingError(
                "vLLM is not installed",
                where="engine.backend",
                hint="make install, or set engine.backend to url or transformers",
            )
        weights = self._weights()
        self.progress.start(f"starting vLLM for {self._names()}")
        for replica in range(self.config.replicas):
            self._replicas.append(self._start_one(weights, replica))
        for process, server in self._replicas[1:]:  # the others came up meanwhile
            self._wait(process, server)
        self._counters = ServerCounters([server for _, server in self._replicas])
        self.progress.done()

    def _start_one(self, weights: Path, replica: int) -> tuple[ServerProcess, Server]:
        for attempt in range(1, N_PORT_TRIES + 1):
            process, server = self._launch(weights, replica)
            try:
                if replica == 0:
                    self._wait(process, server)
                return process, server
            except PortTakenError:
                process.stop()
                if attempt == N_PORT_TRIES:
                    raise
            except BaseException:
                process.stop()
                raise
        raise AssertionError("the loop returns or raises")

    def _wait(self, process: ServerProcess, server: Server) -> None:
        url = server.url.removesuffix("/v1")
        process.wait_healthy(url, key=server.key, timeout_s=self.config.start_timeout_s)

    def _launch(self, weights: Path, replica: int) -> tuple[ServerProcess, Server]:
        port, key = free_port(), secrets.token_urlsafe(32)
        command = vllm_command(weights, self.systems, self.config, port=port)
        template = self.systems[0].spec.chat_template
        if template is not None:
            path = self.work / "chat_template.jinja"
            path.write_text(template, encoding="utf-8")
            command += ["--chat-template", str(path)]
        env = vllm_environment(self.config, key, os.environ)
        if self.config.replicas > 1:
            env = on_its_own_device(env, replica)
        name = self.systems[0].spec.digest[:12] + (f"-{replica}" if replica else "")
        process = ServerProcess(command, env=env, log=self.work / f"vllm-{name}.log")
        return process, Server(f"http://127.0.0.1:{port}/v1", key, BASE_NAME)

    def _names(self) -> str:
        return " and ".join(dict.fromkeys(system.spec.name for system in self.systems))

    def _weights(self) -> Path:
        first = self.systems[0]
        if first.adapter_folder is None or serves_as_lora(first.adapter_folder, self.config):
            return Path(first.base.folder)
        from tuneloop.runtime.weights import merged_folder

        self.progress.start(f"merging the weights of {first.spec.name}")
        merged: Path = merged_folder(
            first.base,
            first.adapter_folder,
            str(first.spec.adapter),
            self.work,
            dtype="fp32" if self.config.dtype == "float32" else None,
        )
        self.progress.done()
        return merged

    def counters(self) -> Mapping[str, float]:
        """Return what the servers have counted: tokens looked up in and found by prefix caches."""
        return self._counters.since() if self._counters else {}

    def stream(
        self,
        system: ServedSystem,
        requests: Sequence[ChatRequest],
        follow: Follow | None = None,
    ) -> Iterator[tuple[int, ChatResult]]:
        """Yield (position, answer) as answers arrive.

        Raises:
            ServingError: if every server died; with the end of the log.
        """
        if not self._replicas:
            raise ServingError("the server was not started")
        folder = system.adapter_folder
        beside = folder is not None and serves_as_lora(folder, self.config)
        servers = [server for _, server in self._replicas]
        for server in servers:
            server.model = adapter_name(system) if beside else BASE_NAME
        for position, result in stream_chats(
            requests, servers=servers, config=self.config, follow=follow
        ):
            if result.reason == "transport" and not any(p.alive() for p, _ in self._replicas):
                process = self._replicas[-1][0]
                raise ServingError(
                    f"the server died; its log ends:\n{process.tail()}", where=str(process.log)
                )
            yield position, result

    def stop(self) -> None:
        """End the servers and all they started."""
        while self._replicas:
            self._replicas.pop()[0].stop()
