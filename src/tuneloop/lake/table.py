"""The lake's Delta table: its columns, its writers' lock, and what one version holds.

Appends only: Daft cannot read a table after a Delta MERGE, and an anti-join on the identity
followed by a plain append is idempotent. Writers on one machine are serialised by a file lock.
On an object store that lock covers one machine only; two machines that take in the same new
rows at the same time can both append them. Readers therefore drop repeated identities, and
the content digest counts every row once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from tuneloop.errors import DataError

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from filelock import FileLock
    from obstore.store import ObjectStore

SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("tenant", pa.string()),
        ("id", pa.string()),
        ("revision", pa.int32()),
        ("event_ts", pa.timestamp("us", tz="UTC")),
        ("session_id", pa.string()),
        ("episode_id", pa.string()),
        ("subject_key", pa.string()),
        ("target_kind", pa.string()),
        ("target_id", pa.string()),
        ("payload", pa.string()),
        ("row_digest", pa.string()),
    ]
)
ROWS_PER_GROUP = 65_536
ERASED = "erased.json"  # in the side folder; see erase.py
SIDE_FOLDER = "_ingested"  # Delta ignores names that begin with an underscore


class LakeSummary(BaseModel):
    """What one version of the table holds; `content_digest` does not depend on row order."""

    model_config = ConfigDict(frozen=True)

    n_interactions: int
    n_feedback: int
    content_digest: str
    watermark: str | None


def writers_lock(uri: str) -> FileLock:
    """Return the lock that serialises writers of this machine."""
    from filelock import FileLock

    if "://" in uri:
        name = hashlib.sha256(uri.encode()).hexdigest()[:16]
        path = Path.home() / ".cache" / "tuneloop" / "locks" / f"{name}.lock"
    else:
        path = Path(f"{uri}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path)


def side_objects(uri: str) -> ObjectStore:
    """Return the object store beside the table's data, for the ledger and cached summaries."""
    import obstore.store

    if "://" in uri:
        return obstore.store.from_url(f"{uri.rstrip('/')}/{SIDE_FOLDER}")
    folder = Path(uri) / SIDE_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return obstore.store.LocalStore(folder)


def get_object(objects: ObjectStore, name: str) -> bytes | None:
    """Return an object's bytes, or None where there is none."""
    try:
        return bytes(objects.get(name).bytes())
    except FileNotFoundError:
        return None


def open_table(uri: str, version: int | None = None) -> DeltaTable | None:
    """Return the table, or None where there is none yet.

    Raises:
        DataError: if it has no such version.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    if "://" not in uri and not (Path(uri) / "_delta_log").is_dir():
        return None
    try:
        return DeltaTable(uri, version=version)
    except TableNotFoundError:
        if version is None:
            return None
        when = get_object(side_objects(uri), ERASED)
        why = "unreplayable: erased, with all older ones" if when else "not there"
        raise DataError(
            f"version {version} of the lake cannot be had: {why}",
            where=uri,
            hint="leave lake.version empty for the newest",
        ) from None
    except DeltaError as error:
        raise DataError(
            f"version {version} of the lake cannot be read: {error}",
            where=uri,
            hint="leave lake.version empty for the newest",
        ) from error


def append(uri: str, batches: Iterator[pa.RecordBatch]) -> None:
    """Append batches as one commit; an empty iterator only makes sure the table exists."""
    from deltalake import DeltaTable, WriterProperties, write_deltalake

    first = next(batches, None)
    if first is None:
        if open_table(uri) is None:
            DeltaTable.create(uri, schema=SCHEMA)
        return

    def all_batches() -> Iterator[pa.RecordBatch]:
        yield first
        yield from batches

    write_deltalake(
        uri,
        pa.RecordBatchReader.from_batches(SCHEMA, all_batches()),
        mode="append",
        writer_properties=WriterProperties(compression="ZSTD", max_row_group_size=ROWS_PER_GROUP),
    )


def read_columns(table: DeltaTable, columns: list[str]) -> Iterator[dict[str, list[Any]]]:
    """Yield the named columns in batches."""
    for batch in table.to_pyarrow_dataset().to_batches(columns=columns):
        yield batch.to_pydict()


def summarise(uri: str, table: DeltaTable) -> LakeSummary:
    """Return what this version holds; computed once a version, which never changes."""
    objects = side_objects(uri)
    name = f"version-{table.version()}.json"
    cached = get_object(objects, name)
    if cached is not None:
        return LakeSummary.model_validate_json(cached)
    digests: dict[str, set[bytes]] = {"interaction": set(), "feedback": set()}
    watermark = None
    for batch in read_columns(table, ["kind", "row_digest", "event_ts"]):
        for kind, digest in zip(batch["kind"], batch["row_digest"], strict=True):
            digests[kind].add(bytes.fromhex(digest))
        watermark = max([*batch["event_ts"], *([watermark] if watermark else [])], default=None)
    rows = sorted(digests["interaction"] | digests["feedback"])
    summary = LakeSummary(
        n_interactions=len(digests["interaction"]),
        n_feedback=len(digests["feedback"]),
        content_digest=hashlib.sha256(b"".join(rows)).hexdigest(),
        watermark=watermark.isoformat() if watermark else None,
    )
    objects.put(name, summary.model_dump_json().encode())
    return summary
