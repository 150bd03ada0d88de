"""Run records: which config was run, and which artefact each of its stages came to."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tuneloop.artefacts.store import Artefact, Store


@dataclass(frozen=True)
class RunRecord:
    """One run: its config as resolved, and its stages so far."""

    name: str
    run_id: str
    config: dict[str, Any]
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)


def open_run(store: Store, name: str, config: dict[str, Any]) -> RunRecord:
    """Record that a run begins, with its resolved config."""
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{secrets.token_hex(3)}"
    body = json.dumps(config, indent=1).encode()
    store.put_if_absent(f"runs/{name}/{run_id}/config.json", body)
    return RunRecord(name, run_id, config)


def record_stage(
    store: Store, run: RunRecord, stage: str, artefact: Artefact, *, note: str | None = None
) -> None:
    """Record which artefact a stage came to, and what people should know of it."""
    row = {"kind": artefact.kind, "key": artefact.manifest.key, "digest": artefact.digest}
    if note:
        row["note"] = note
    store.put(_stage_path(run, stage), json.dumps(row).encode())


def recorded(store: Store, run: RunRecord, stage: str) -> Artefact | None:
    """Return what a stage of this run came to, or None before it is finished."""
    data = store.get(_stage_path(run, stage))
    return _artefact(store, json.loads(data)) if data else None


def _stage_path(run: RunRecord, stage: str) -> str:
    return f"runs/{run.name}/{run.run_id}/stages/{stage}.json"


def _artefact(store: Store, row: dict[str, Any]) -> Artefact | None:
    return store.find(row["kind"], row["key"], digest=row["digest"])


def list_runs(store: Store, name: str | None = None) -> list[RunRecord]:
    """Return the runs the store knows, oldest first."""
    runs: dict[tuple[str, str], RunRecord] = {}
    for path in store.list_paths(f"runs/{name}" if name else "runs"):
        parts = path.split("/")
        data = json.loads(store.get(path) or b"{}")
        run = runs.setdefault((parts[1], parts[2]), RunRecord(parts[1], parts[2], {}))
        if parts[3] == "config.json":
            run.config.update(data)
        else:
            run.stages[parts[4].removesuffix(".json")] = data
    return sorted(runs.values(), key=lambda run: run.run_id)


def newest_artefact(store: Store, name: str, stage: str) -> Artefact | None:
    """Return what a stage came to in the newest run of this name that finished it."""
    for run in reversed(list_runs(store, name)):
        row = run.stages.get(stage)
        found = _artefact(store, row) if row else None
        if found:
            return found
    return None
