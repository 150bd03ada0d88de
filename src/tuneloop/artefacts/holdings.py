"""What artefacts hold: where to read it, whose it is, and how it tells what a person wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tuneloop.artefacts import erasures
from tuneloop.artefacts.mentions import Needles, rows_of_theirs
from tuneloop.artefacts.store import Artefact, Store

KEPT = frozenset({"sft", "dpo", "kto", "adapter"})
"""Weights: an erasure lists them and does not change them."""


def kinds(store: Store) -> list[str]:
    """Return the kinds of artefacts a store has."""
    return sorted({path.split("/")[1] for path in store.list_paths("manifests")})


def file_of(artefact: Artefact, name: str) -> Path:
    """Return where to read a file of an artefact: of a local store, without a checkout."""
    root = artefact.store.local_root
    if root is None:
        return artefact.path(name)
    return root / "blobs" / artefact.manifest.files[name].digest


def texts_held(store: Store, needles: Needles) -> tuple[set[str], set[str]]:
    """Return what curated sets have of the person's texts, and what they have of others'.

    Golden prompts that are not made of theirs are others': they may say the same and be nobody's.

    Args:
        store: Where the sets are.
        needles: Ids of the person and of their events.
    """
    import pyarrow.parquet as pq

    theirs: set[str] = set()
    others: set[str] = set()
    for curated in _live(store, "curate"):
        with pq.ParquetFile(file_of(curated, "curated.parquet"), pre_buffer=False) as table:
            for batch in table.iter_batches(batch_size=8_192):
                hits = rows_of_theirs(batch, needles)
                said = [name for name in ("prompt", "correction") if name in batch.schema.names]
                for row, hit in zip(batch.select(said).to_pylist(), hits.tolist(), strict=True):
                    texts = [m["content"] for m in row.get("prompt") or () if m["role"] == "user"]
                    texts.append(row.get("correction"))
                    (theirs if hit else others).update(text for text in texts if text)
    for golden in _live(store, "golden"):
        for line in file_of(golden, "golden.jsonl").read_bytes().splitlines():
            if not needles.found_in(line):
                prompt = json.loads(line)
                others.update(message["content"] for message in prompt["messages"])
                others.add(prompt.get("reference") or "")
    return theirs, others


def _live(store: Store, kind: str) -> Iterator[Artefact]:
    for artefact in store.list_artefacts(kind):
        if erasures.tombstone(store, artefact.digest) is None:
            yield artefact


def goldens_above(store: Store, artefact: Artefact) -> set[str]:
    """Return the digests of the golden sets that an artefact was made with, directly or not."""
    found = {ref.digest for ref in artefact.manifest.parents if ref.kind == "golden"}
    for above in _parents(store, artefact):
        found |= goldens_above(store, above)
    return found


def _parents(store: Store, artefact: Artefact) -> Iterator[Artefact]:
    """Yield what an artefact was made from, but weights: what these say no file repeats."""
    for ref in artefact.manifest.parents:
        above = store.find(ref.kind, ref.key, digest=ref.digest) if ref.key else None
        if above and ref.kind not in KEPT:
            yield above


def tenants(store: Store, artefact: Artefact) -> set[str]:
    """Return whose events the curated set is of that an artefact is or was made from."""
    import pyarrow.parquet as pq

    if artefact.kind == "curate":
        left = erasures.replay(store, artefact)
        if left is None:
            return set()
        table = pq.read_table(file_of(left, "curated.parquet"), columns=["tenant"])
        return set(table["tenant"].unique().to_pylist())
    found: set[str] = set()
    for above in _parents(store, artefact):
        found |= tenants(store, above)
    return found


def golden_prompts(artefact: Artefact, needles: Needles) -> set[str]:
    """Return the ids of a golden set's prompts that mention the person."""
    lines = file_of(artefact, "golden.jsonl").read_bytes().splitlines()
    return {json.loads(line)["id"] for line in lines if needles.found_in(line)}
