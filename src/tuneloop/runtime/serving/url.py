"""Servers that run already, at any OpenAI-compatible address."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tuneloop.config.engine import EngineConfig
from tuneloop.errors import ServingError
from tuneloop.runtime.serving.chat import ChatRequest, ChatResult, Follow, ServedSystem
from tuneloop.runtime.serving.client import Server, is_local, stream_chats
from tuneloop.runtime.serving.counters import ServerCounters


class UrlBackend:
    """Servers that run already; an adapter is loaded there by name where they allow it."""

    chunk_size = 1

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self._servers: list[Server] = []
        self._loaded: list[tuple[Server, str]] = []
        self._counters: ServerCounters | None = None

    def _key(self) -> str:
        name = self.config.api_key_env
        if name is None:
            return "none"
        if not os.environ.get(name):
            raise ServingError(
                f"the environment variable {name} is not set",
                where="engine.api_key_env",
                hint=f"export {name}=… before the run",
            )
        return os.environ[name]

    def start(self) -> None:
        """Check that the key is there; the servers are somebody else's."""
        key, model = self._key(), str(self.config.served_model)
        self._servers = [Server(url, key, model) for url in self.config.addresses]
        self._counters = ServerCounters(self._servers)

    def counters(self) -> Mapping[str, float]:
        """Return what the servers counted meanwhile, other people's requests included."""
        return self._counters.since() if self._counters else {}

    def stream(
        self,
        system: ServedSystem,
        requests: Sequence[ChatRequest],
        follow: Follow | None = None,
    ) -> Iterator[tuple[int, ChatResult]]:
        """Yield (position, answer) as answers arrive."""
        name = str(self.config.served_model)
        if system.adapter_folder is not None:
            name = f"tuneloop-{str(system.spec.adapter)[:16]}"
            for server in self._servers:
                self._load_adapter(server, name, str(system.adapter_folder))
        for server in self._servers:
            server.model = name
        yield from stream_chats(requests, servers=self._servers, config=self.config, follow=follow)

    def _load_adapter(self, server: Server, name: str, folder: str) -> None:
        if (server, name) in self._loaded or not server.alive:
            return
        status = self._post(server, "load_lora_adapter", {"lora_name": name, "lora_path": folder})
        if status >= 300:
            raise ServingError(
                f"the server at {server.url} does not load adapters (status {status})",
                where="engine.url",
                hint="start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 where it "
                "can read the store, or let tuneloop start the server (backend vllm)",
            )
        self._loaded.append((server, name))

    def _post(self, server: Server, verb: str, body: dict[str, Any]) -> int:
        import httpx

        try:
            reply = httpx.post(
                f"{server.url}/{verb}",
                json=body,
                headers={"Authorization": f"Bearer {server.key}"},
                timeout=self.config.request_timeout_s,
                trust_env=not is_local(server.url),
            )
        except httpx.HTTPError as error:
            raise ServingError(f"no answer: {error}", where=server.url) from error
        return reply.status_code

    def stop(self) -> None:
        """Unload what was loaded."""
        while self._loaded:
            server, name = self._loaded.pop()
            try:
                self._post(server, "unload_lora_adapter", {"lora_name": name})
            except ServingError:
                continue
