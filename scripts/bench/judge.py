"""Requests per second of the judge's engine against a bare asynchronous client.

Both ask the same prompts of the same vLLM server, in turns, with the same number in flight: first
the reasoning, then the label that continues it. Nothing is taken from a cache of ours; the server's
prefix cache is warm for both alike.

    python scripts/bench/judge.py --model FOLDER --pairs 60
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.artefacts.systems import SystemSpec
from tuneloop.config.engine import EngineConfig
from tuneloop.config.judge import JudgeConfig
from tuneloop.evaluate.judge import Judge, Pair
from tuneloop.runtime.progress import SilentProgress
from tuneloop.runtime.serving import ChatRequest, ChatResult, ServedSystem, open_engine
from tuneloop.runtime.serving.chat import chat_kwargs
from tuneloop.runtime.serving.vllm import VllmBackend
from tuneloop.runtime.weights import ResolvedModel

GOAL = 0.9


def pairs(n: int, data: Path | None) -> list[Pair]:
    """Return PandaLM's pairs where its folder is given, else made-up ones of varied length."""
    if data:
        rows = json.loads((data / "pandalm" / "testset-v1.json").read_text("utf-8"))[:n]
        texts = [(f"{r['instruction']}\n{r['input']}", str(r["response1"]), str(r["response2"]))
                 for r in rows]  # fmt: skip
    else:
        texts = [(f"Explain number {i}.", f"It is {i}. " * (1 + i % 9), f"It is {i + 1}.")
                 for i in range(n)]  # fmt: skip
    return [
        Pair(f"p{i}", GoldenPrompt(id=f"p{i}", messages=[{"role": "user", "content": q}]), a, b)
        for i, (q, a, b) in enumerate(texts)
    ]


async def bare(url: str, key: str, chains: list[list[dict]], in_flight: int) -> int:
    """Ask every chain's requests one after another, `in_flight` chains at a time."""
    gate, n = asyncio.Semaphore(in_flight), 0
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(
        headers=headers, limits=limits, timeout=300, trust_env=False
    ) as client:

        async def run(chain: list[dict]) -> None:
            nonlocal n
            async with gate:
                for body in chain:
                    reply = await client.post(f"{url}/chat/completions", json=body)
                    reply.raise_for_status()
                    reply.json()
                    n += 1

        await asyncio.gather(*(run(chain) for chain in chains))
    return n


def body_of(request: ChatRequest, model: str) -> dict:
    """Return a request as the JSON body the server reads."""
    kwargs = chat_kwargs(request, model)
    return {**kwargs, **kwargs.pop("extra_body", {})}


class Spy:
    """A backend around a running one that notes each dialogue's requests."""

    chunk_size = 1

    def __init__(self, inner: VllmBackend) -> None:
        self.inner, self.chains = inner, {}
        self.start, self.stop, self.counters = (lambda: None), (lambda: None), inner.counters

    def stream(self, system, requests, follow=None):
        """Pass requests on."""
        for i, request in enumerate(requests):
            self.chains[i] = [request]

        def noted(position: int, result: ChatResult) -> ChatRequest | None:
            following = follow(position, result)
            if following:
                self.chains[position].append(following)
            return following

        yield from self.inner.stream(system, requests, noted)


def ours(spy: Spy, system, config: EngineConfig, judge: JudgeConfig, asked: list[Pair]):
    """Judge every pair in both orders; return (requests, seconds, step)."""
    import tuneloop.runtime.serving.engine as engines

    with tempfile.TemporaryDirectory() as folder:
        whole = engines._backend
        engines._backend = lambda *_: spy
        try:
            with open_engine(
                [system], config, work=Path(folder), progress=SilentProgress()
            ) as engine:
                began = time.perf_counter()
                Judge(engine, system, judge).compare(asked, step="judge", screen=False)
                seconds = time.perf_counter() - began
                step = engine.steps[0]
        finally:
            engines._backend = whole
    return step["n_asked"], seconds, step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder that holds pandalm/")
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--tokens", type=int, default=24, help="of reasoning")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    model = ResolvedModel(folder=args.model, digest="0" * 64, name=args.model.name)
    spec = SystemSpec(name="judge", model=model.name, base=model.digest, engine="vllm")
    system = ServedSystem(spec=spec, base=model)
    config = EngineConfig(max_in_flight=args.in_flight, max_model_len=2048)
    judge = JudgeConfig(role="advisory", reasoning_tokens=args.tokens, off_label_cap=1.0)
    asked = pairs(args.pairs, args.data)
    with tempfile.TemporaryDirectory() as folder:
        backend = VllmBackend([system], config, work=Path(folder), progress=SilentProgress())
        backend.start()
        try:
            found = alternate(backend, system, config, judge, asked, args)
        finally:
            backend.stop()
    if args.json:
        print(json.dumps(found, indent=1))
        return
    for name in ("ours", "bare"):
        rates = ", ".join(f"{rate:.2f}" for rate in found[name])
        print(f"{name}: {rates} requests/s, median {statistics.median(found[name]):.2f}")
    print(f"ours / bare {found['ratio']:.3f} (goal {GOAL}), {found['n_requests']} requests a turn")
    print(f"prefix cache: {found['prefix_hit_rate']:.1%} of prompt tokens found, "
          f"{found['n_prompt_tokens']} read, {found['n_completion_tokens']} written")  # fmt: skip


def alternate(backend, system, config, judge, asked, args) -> dict:
    """Return both clients' rates, turn about on one server."""
    server = backend._replicas[0][1]
    spy = Spy(backend)
    ours(spy, system, config, judge, asked)  # warms the server, and says what to ask
    chains = [[body_of(r, "base") for r in chain] for _, chain in sorted(spy.chains.items())]
    rates: dict[str, list[float]] = {"ours": [], "bare": []}
    steps = []
    for turn in range(args.repeats):
        order = ("ours", "bare") if turn % 2 == 0 else ("bare", "ours")
        for name in order:
            if name == "ours":
                n, seconds, step = ours(spy, system, config, judge, asked)
                steps.append(step)
            else:
                began = time.perf_counter()
                n = asyncio.run(bare(server.url, server.key, chains, args.in_flight))
                seconds = time.perf_counter() - began
            rates[name].append(n / seconds)
    return {
        **rates,
        "ratio": statistics.median(rates["ours"]) / statistics.median(rates["bare"]),
        "n_requests": sum(map(len, chains)),
        "prefix_hit_rate": statistics.median(s["prefix_hit_rate"] or 0.0 for s in steps),
        "n_prompt_tokens": steps[0]["n_prompt_tokens"],
        "n_completion_tokens": steps[0]["n_completion_tokens"],
    }


if __name__ == "__main__":
    main()
