"""Tombstones: which artefacts are no longer to be had, since when, and what stands for them.

erased/<digest>.json        the tombstone of one artefact
erasures/<stamp>.json       one erasure: what was removed, and who had learned from it
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from tuneloop.artefacts.store import Artefact, Store


class Erased(BaseModel):
    """The status `erased(when)` of an artefact; its manifest stays, its files are gone.

    `rewritten_as` is the digest of what is left of it without the person, if anything is.
    """

    model_config = ConfigDict(frozen=True)

    digest: str
    kind: str
    key: str
    when: datetime
    reason: str
    rewritten_as: str | None = None


def tombstone(store: Store, digest: str) -> Erased | None:
    """Return an artefact's tombstone, or None while it can be had."""
    data = store.get(f"erased/{digest}.json")
    return Erased.model_validate_json(data) if data else None


def rewrite(store: Store, artefact: Artefact, files: Mapping[str, Path]) -> Artefact:
    """Commit other contents as the next generation of an artefact's key."""
    manifest = artefact.manifest
    newest = store.find(manifest.kind, manifest.key, erased=True)
    generation = max(manifest.generation, newest.manifest.generation if newest else 1) + 1
    details = manifest.details | {"rewritten_from": artefact.digest}
    draft = manifest.model_copy(
        update={"generation": generation, "details": details, "files": {}, "digest": ""}
    )
    return store.commit(draft, files)


def bury(store: Store, stone: Erased) -> None:
    """Put a tombstone: from now on the artefact cannot be had."""
    store.put(f"erased/{stone.digest}.json", stone.model_dump_json(indent=1).encode())


def sweep(store: Store) -> None:
    """Delete the files of all that is buried, where nothing else has them, and its checkouts."""
    live, dead = _blobs(store)
    for blob in sorted(dead - live):
        store.delete(f"blobs/{blob}")
    for path in store.list_paths("erased"):
        folder = store.work / "checkouts" / Path(path).stem
        for held in folder.rglob("*") if folder.is_dir() else ():
            held.chmod(0o755 if held.is_dir() else 0o644)
        shutil.rmtree(folder, ignore_errors=True)


def orphans(store: Store) -> list[str]:
    """Return the blobs that no artefact refers to: a stage was killed before its commit."""
    live, dead = _blobs(store)
    held = {path.split("/")[1] for path in store.list_paths("blobs")}
    return sorted(held - live - dead)


def _blobs(store: Store) -> tuple[set[str], set[str]]:
    """Return the blobs of artefacts that can be had, and of those that are buried."""
    live: set[str] = set()
    dead: set[str] = set()
    for kind in sorted({path.split("/")[1] for path in store.list_paths("manifests")}):
        for artefact in store.list_artefacts(kind):
            side = dead if tombstone(store, artefact.digest) else live
            side.update(ref.digest for ref in artefact.manifest.files.values())
    return live, dead


def replay(store: Store, artefact: Artefact) -> Artefact | None:
    """Return an artefact, or what is left of it after erasures; None where nothing is."""
    while (stone := tombstone(store, artefact.digest)) is not None:
        left = stone.rewritten_as and store.find(stone.kind, stone.key, digest=stone.rewritten_as)
        if not left:
            return None
        artefact = left
    return artefact


def new_record(when: datetime) -> str:
    """Return the path of a new erasure's record."""
    return f"erasures/{when:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}.json"


def record(store: Store, path: str, report: Mapping[str, Any]) -> None:
    """Put the record of one erasure: when it begins, and whole when it is done."""
    store.put(path, json.dumps(report, indent=1, sort_keys=True, default=str).encode())


def records(store: Store) -> Iterator[dict[str, Any]]:
    """Yield the record of every erasure, oldest first."""
    for path in store.list_paths("erasures"):
        yield json.loads(store.get(path) or b"{}")
