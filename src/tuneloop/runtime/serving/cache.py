"""Finished answers on disk, line by line, so that a killed evaluation asks nothing twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuneloop.artefacts.digest import digest_json
from tuneloop.runtime.serving.chat import PASSING_REASONS, ChatRequest, ChatResult


def answer_key(system_digest: str, mode: Mapping[str, Any], request: ChatRequest) -> str:
    """Return the SHA-256 over all that decides an answer: system, engine mode, request."""
    return digest_json(
        {"system": system_digest, "mode": dict(mode), "request": request.model_dump(mode="json")}
    )


class AnswerCache:
    """A JSON-lines file of answers by key; a line cut off by a kill is dropped on opening."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: dict[str, ChatResult] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        whole = path.read_bytes()
        kept = whole[: whole.rfind(b"\n") + 1]
        if kept != whole:
            with path.open("r+b") as file:
                file.truncate(len(kept))
        for line in kept.splitlines():
            row = json.loads(line)
            self._held[row["key"]] = ChatResult.model_validate(row["result"])

    def get(self, key: str) -> ChatResult | None:
        """Return the answer under `key`, or None."""
        return self._held.get(key)

    def put(self, key: str, result: ChatResult) -> None:
        """Keep an answer; failures of the connection are not kept."""
        if result.reason in PASSING_REASONS or key in self._held:
            return
        self._held[key] = result
        row = {"key": key, "result": result.model_dump(mode="json")}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=True) + "\n")
