"""Curated traffic, as far as proposing golden prompts and measuring coverage need it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from tuneloop.artefacts.store import Artefact, Store
from tuneloop.curate.leak import asked
from tuneloop.errors import DataError, StoreError

COLUMNS = (
    "interaction_id", "cluster_id", "split", "segment", "intent", "prompt", "answer",
    "correction", "score", "weight", "signals",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One curated interaction."""

    id: str
    cluster: str
    split: str
    cohorts: dict[str, str]
    """Its intent and segment, where stated."""
    messages: list[dict[str, Any]]
    answer: str
    correction: str | None
    score: float
    weight: float
    signals: list[dict[str, Any]]

    @property
    def question(self) -> str:
        """What was asked."""
        return asked([{"role": m["role"], "content": m["content"] or ""} for m in self.messages])


def find_curated(store: Store, digest: str | None) -> Artefact:
    """Return a curated set by its digest, or the newest in the store.

    Raises:
        StoreError: if there is none.
        DataError: if the digest is of something else.
    """
    if digest is not None:
        found = [artefact for artefact in store.by_digest(digest) if artefact.kind == "curate"]
        if not found:
            raise DataError(f"{digest!r} is no curated set", where=store.root)
        return found[0]
    every = list(store.list_artefacts("curate"))
    if not every:
        raise StoreError(
            "the store holds no curated set", where=store.root, hint="run `tuneloop curate` first"
        )
    return max(every, key=lambda artefact: artefact.manifest.started_at)


def read_rows(curated: Artefact) -> Iterator[Row]:
    """Yield the rows of a curated set, in its order; columns it does not have count as unstated."""
    file = pq.ParquetFile(curated.path("curated.parquet"), pre_buffer=False)
    columns = [name for name in COLUMNS if name in file.schema_arrow.names]
    for batch in file.iter_batches(batch_size=4_096, columns=columns):
        for row in batch.to_pylist():
            yield Row(
                id=row["interaction_id"],
                cluster=row["cluster_id"],
                split=row["split"],
                cohorts={k: row[k] for k in ("intent", "segment") if row.get(k)},
                messages=row["prompt"],
                answer=row["answer"] or "",
                correction=row["correction"],
                score=row["score"] or 0.0,
                weight=row["weight"] or 0.0,
                signals=row["signals"] or [],
            )
