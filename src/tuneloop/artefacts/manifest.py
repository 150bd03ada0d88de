"""Manifests: what a stage left behind, from what, and what it cost."""

from __future__ import annotations

from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tuneloop.artefacts.digest import digest_json

MANIFEST_VERSION = 1
_SHA256 = r"^[0-9a-f]{64}$"
_SEGMENT = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class FileRef(BaseModel):
    """One file of an artefact: its blob's SHA-256 and its size."""

    model_config = ConfigDict(frozen=True)

    digest: str = Field(pattern=_SHA256)
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
    `generation` counts how often that key was run: 1, and one more with each `--force`.
    A draft has no files and an empty digest.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: int = MANIFEST_VERSION
    kind: str = Field(pattern=_SEGMENT)
    key: str = Field(pattern=_SEGMENT)
    generation: int = Field(default=1, ge=1)
    digest: str = Field(pattern=rf"{_SHA256}|^$")
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

    @field_validator("files")
    @classmethod
    def _names_stay_inside(cls, files: dict[str, FileRef]) -> dict[str, FileRef]:
        """A checkout writes each file under its name: none may lie outside the folder."""
        for name in files:
            path = PurePosixPath(name)
            odd = str(path) != name or "\\" in name or "\0" in name
            if odd or not path.parts or path.is_absolute() or ".." in path.parts:
                raise ValueError(f"{name!r} is no relative file name")
        return files


def contents_digest(kind: str, files: dict[str, FileRef]) -> str:
    """Return the digest of an artefact: its kind and the digest of each named file."""
    return digest_json({"kind": kind, "files": {name: ref.digest for name, ref in files.items()}})
