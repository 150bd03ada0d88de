"""What vLLM servers count: how much of the prompts their prefix caches held."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tuneloop.runtime.serving.client import Server, is_local

_COUNTERS = {
    "vllm:prefix_cache_queries_total": "prefix_tokens_looked_up",
    "vllm:prefix_cache_hits_total": "prefix_tokens_found",
}
_LINE = re.compile(r"^(?P<name>[\w:]+)(?:\{[^}]*\})?\s+(?P<value>[\d.eE+-]+)\s*$", re.M)
TIMEOUT_S = 5.0


def read_counters(text: str) -> dict[str, float]:
    """Return the prefix cache's counters of a Prometheus page, summed over engines."""
    found: Counter[str] = Counter()
    for line in _LINE.finditer(text):
        if line["name"] in _COUNTERS:
            found[_COUNTERS[line["name"]]] += float(line["value"])  # type: ignore[assignment]
    return dict(found)


class ServerCounters:
    """Counters of several servers since this was made; a server that shows none adds none."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = servers
        self._before = self._read()

    def since(self) -> Mapping[str, float]:
        """Return how far the counters have moved, and how many servers were left out."""
        now = self._read()
        moved = {name: now[name] - self._before.get(name, 0.0) for name in now}
        lost = sum(not server.alive for server in self._servers)
        return moved | ({"servers_left_out": float(lost)} if lost else {})

    def _read(self) -> dict[str, float]:
        total: Counter[str] = Counter()
        for page in _pages(s for s in self._servers if s.alive):
            total.update(read_counters(page))
        return dict(total)


def _pages(servers: Iterable[Server]) -> Iterable[str]:
    import httpx

    for server in servers:
        root = server.url.removesuffix("/v1")
        headers = {"Authorization": f"Bearer {server.key}"}
        trust = not is_local(server.url)
        try:
            reply = httpx.get(
                f"{root}/metrics", headers=headers, timeout=TIMEOUT_S, trust_env=trust
            )
        except httpx.HTTPError:
            continue
        if reply.status_code == 200:
            yield reply.text
