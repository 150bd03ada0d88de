"""Aliases: numbered generations, each put only if absent, so that two writers cannot both win."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from tuneloop.artefacts.store import Store
from tuneloop.artefacts.systems import SystemSpec
from tuneloop.errors import DecisionError


class Generation(BaseModel):
    """One move of an alias: to which system, why, by what evidence."""

    model_config = ConfigDict(frozen=True)

    number: int
    system: SystemSpec
    digest: str
    reason: str
    decision: str | None = None
    actor: str
    at: datetime


class AliasName(BaseModel):
    """Which alias of which (tenant, task, environment)."""

    model_config = ConfigDict(frozen=True)

    tenant: str
    task: str
    env: str
    name: str = "champion"

    @property
    def prefix(self) -> str:
        """Where its generations lie."""
        return f"aliases/{self.tenant}/{self.task}/{self.env}/{self.name}"


def generations(store: Store, alias: AliasName) -> list[Generation]:
    """Return every generation of an alias, oldest first."""
    found = []
    for path in store.list_paths(alias.prefix):
        data = store.get(path)
        if data:
            found.append(Generation.model_validate_json(data))
    return found


def current(store: Store, alias: AliasName) -> Generation | None:
    """Return the generation in force, or None if the alias was never set."""
    history = generations(store, alias)
    return history[-1] if history else None


def advance(store: Store, alias: AliasName, generation: Generation) -> Generation:
    """Put the next generation.

    Raises:
        DecisionError: if another writer put that number first.
    """
    path = f"{alias.prefix}/{generation.number:08d}.json"
    if not store.put_if_absent(path, generation.model_dump_json(indent=1).encode()):
        raise DecisionError(
            f"generation {generation.number} of {alias.name} was taken by another writer",
            where=alias.prefix,
            hint="look at `tuneloop registry list` and decide again against the new champion",
        )
    return generation


def list_aliases(store: Store) -> list[AliasName]:
    """Return every alias the store holds."""
    seen: dict[str, Any] = {}
    for path in store.list_paths("aliases"):
        parts = path.split("/")
        if len(parts) != 6:
            continue  # nothing of ours
        _, tenant, task, env, name, _ = parts
        alias = AliasName(tenant=tenant, task=task, env=env, name=name)
        seen[alias.prefix] = alias
    return list(seen.values())
