"""Manifests: what a stage left behind, from what, and what it cost."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tuneloop.artefacts.digest import digest_json

MANIFEST_VERSION = 1


class FileRef(BaseModel):
    """One file of an artefact: its blob's SHA-256 and its size."""

    model_config = ConfigDict(frozen=True)

    digest: str
    n_bytes: int


class Parent(BaseModel):
    """One input of a stage. `key` says which execution made it, `digest` what was in it.

    Inputs that no stage made (a base model, a source file) have no key.
    """

    model_config = ConfigDict(frozen=True)

    role: str
    kind: str
    digest: str
    key: str | None = None


class Counts(BaseModel):
    """Rows in, rows dropped by reason, rows out."""

    model_config = ConfigDict(frozen=True)

    n_in: int = 0
    dropped: dict[str, int] = Field(default_factory=dict)
    n_out: int = 0


class Manifest(BaseModel):
    """The commit record of one artefact; without it the artefact does not exist.

    `key` names the execution: digests of its inputs, its config slice, its code, the pins that
    matter. `digest` names the contents. Times, memory and host are recorded and in neither.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: int = MANIFEST_VERSION
    kind: str
    key: str
    digest: str
    files: dict[str, FileRef]
    parents: list[Parent] = Field(default_factory=list)
    config: dict[str, Any] = Field(default_factory=dict)
    code: str = ""
    seed: int = 0
    environment: dict[str, Any] = Field(default_factory=dict)
    counts: Counts = Field(default_factory=Counts)
    details: dict[str, Any] = Field(default_factory=dict)
    started_at: datetime
    seconds: float = 0.0
    peak_memory_gib: float = 0.0


def contents_digest(kind: str, files: dict[str, FileRef]) -> str:
    """Return the digest of an artefact: its kind and the digest of each named file."""
    return digest_json({"kind": kind, "files": {name: ref.digest for name, ref in files.items()}})
