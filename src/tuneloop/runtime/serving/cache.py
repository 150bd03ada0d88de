"""Finished answers on disk, line by line, so that nothing is asked twice.

One file belongs to a run: a killed one goes on from it. The others lie in the store's cache, one
for each system, and outlive runs: a champion that meets its second candidate has answered already.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuneloop.artefacts.digest import digest_json
from tuneloop.runtime.serving.chat import PASSING_REASONS, ChatRequest, ChatResult

_HEAD = b'{"key": "'
_KEY = slice(len(_HEAD), len(_HEAD) + 64)


def answer_key(system_digest: str, mode: Mapping[str, Any], request: ChatRequest) -> str:
    """Return the SHA-256 over all that decides an answer: system, engine mode, request."""
    return digest_json(
        {"system": system_digest, "mode": dict(mode), "request": request.model_dump(mode="json")}
    )


class AnswerCache:
    """A JSON-lines file of answers by key; only the places of the lines are held in memory.

    Several processes may append: a line is one write. A line cut off by a kill costs that answer.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._places: dict[str, tuple[int, int]] = {}
        begin, whole = 0, True
        with path.open("rb") as lines:
            for line in lines:
                whole = line.endswith(b"\n")
                if whole and line.startswith(_HEAD):
                    # The last of a key: one cut off by a kill was asked again.
                    self._places[line[_KEY].decode("latin-1")] = (begin, len(line))
                begin += len(line)
        self._lead = b"" if whole else b"\n"

    def get(self, key: str) -> ChatResult | None:
        """Return the answer under `key`, or None."""
        place = self._places.get(key)
        if place is None:
            return None
        try:
            row = json.loads(os.pread(self._file, place[1], place[0]))
            return ChatResult.model_validate(row["result"])
        except ValueError:  # two lines run into one where a process was killed in its write
            del self._places[key]
            return None

    def put(self, key: str, result: ChatResult) -> None:
        """Keep an answer, the first one under its key; failures of the connection are not kept."""
        if result.reason in PASSING_REASONS or key in self._places:
            return
        row = json.dumps({"key": key, "result": result.model_dump(mode="json")}).encode() + b"\n"
        os.write(self._file, self._lead + row)
        self._lead = b""
        end = os.lseek(self._file, 0, os.SEEK_CUR)
        self._places[key] = (end - len(row), len(row))

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


class SharedAnswers:
    """The answers every run of a store may take, a file for each system at each engine.

    Args:
        folder: Where the files lie.
        source: Addresses of the servers where they are somebody else's: what is served there
            under one name need not be the same.
    """

    def __init__(self, folder: Path, source: Sequence[str] = ()) -> None:
        self._folder, self._source = folder, sorted(source)
        self._open: dict[str, AnswerCache] = {}

    def of(self, system_digest: str, mode: Mapping[str, Any]) -> AnswerCache:
        """Return the answers of one system under one engine mode."""
        name = digest_json([system_digest, dict(mode), self._source])[:32]
        if name not in self._open:
            self._open[name] = AnswerCache(self._folder / f"{name}.jsonl")
        return self._open[name]

    def close(self) -> None:
        """Close every file."""
        for cache in self._open.values():
            cache.close()
