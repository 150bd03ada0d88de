"""One real vLLM server: starts, answers, and leaves nothing behind."""

import importlib.util
import math
import re
import time

import psutil
import pytest
from systems import served

from tuneloop.artefacts.systems import Sampling
from tuneloop.config.evaluate import EngineConfig
from tuneloop.runtime.progress import SilentProgress
from tuneloop.runtime.serving import ChatRequest, open_engine
from tuneloop.runtime.tiny import make_tiny

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed"),
]


def request(text, *, n=8, **fields):
    messages = [{"role": "user", "content": text}]
    if fields.get("continue_final"):
        messages.append({"role": "assistant", "content": "Verdict:"})
    return ChatRequest(messages=messages, sampling=Sampling(max_tokens=n), **fields)


def seeded(i):
    messages = [{"role": "user", "content": f"Order {i} is late. " * 9}]
    return ChatRequest(messages=messages, sampling=Sampling(temperature=0.8, seed=i, max_tokens=4))


def test_a_server_of_our_own_answers_and_goes(tmp_path):
    make_tiny(tmp_path / "model")
    system = served("tiny", folder=tmp_path / "model")
    config = EngineConfig(
        backend="vllm", max_model_len=256, max_in_flight=32, kv_cache_gib=1, start_timeout_s=300
    )
    asked = [request(f"Hello, my order {i} is late.") for i in range(10)]
    asked += [
        request("Pick.", choices=("refund", "late")),
        request("Pick.", n=1, top_logprobs=20, continue_final=True),
        request("Hello, my order is late. " * 100),
    ]
    # More prompt tokens than one step takes: split prompts with a seed once killed the engine.
    asked += [seeded(i) for i in range(64)]
    before = {p.pid for p in psutil.process_iter()}
    with open_engine([system], config, work=tmp_path, progress=SilentProgress()) as engine:
        results = engine.chat(system, asked, step="asking")
        ours = [p for p in psutil.Process().children(recursive=True) if p.pid not in before]
        commands = [" ".join(p.cmdline()) for p in ours]
        listening = [c.laddr for p in ours for c in p.net_connections() if c.status == "LISTEN"]
    assert [r.status for r in results] == ["ok"] * 12 + ["missing"] + ["ok"] * 64
    assert all(0 < r.n_completion_tokens <= 8 for r in results[:10])
    assert results[10].text in ("refund", "late")
    top = results[11].top_logprobs
    assert len(top) == 20
    assert 0 < sum(math.exp(t.logprob) for t in top) <= 1 + 1e-6
    assert results[12].reason == "truncated"
    assert any("api_server" in command for command in commands)
    port = int(re.search(r"--port (\d+)", " ".join(commands)).group(1))
    assert {address.ip for address in listening if address.port == port} == {"127.0.0.1"}
    assert not any("key" in command.lower() for command in commands)
    deadline = time.monotonic() + 10
    while any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in ours):
        assert time.monotonic() < deadline, [p for p in ours if p.is_running()]
        time.sleep(0.1)
    left = [p for p in psutil.process_iter(["cmdline"]) if p.pid not in before]
    assert not [p for p in left if str(tmp_path) in " ".join(p.info["cmdline"] or [])]
