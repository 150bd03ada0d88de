"""The lake's Delta table: its columns, its writers' lock, and what one version holds.

Appends only: Daft cannot read a table after a Delta MERGE, and an anti-join on the identity
followed by a plain append is idempotent. Writers on one machine are serialised by a file lock.
On an object store that lock covers one machine only; two machines that take in the same new
rows at the same time can both append them. Readers therefore drop repeated identities, and
the content digest counts every row once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
        ("identity", pa.binary()),  # 16 bytes for (kind, tenant, id, revision)
    ]
)
ROWS_PER_GROUP = 16_384
FILE_BYTES = 32 * 1024 * 1024  # a file is in memory until it is written
ERASED = "erased.json"  # in the side folder; see erase.py
BATCH_ROWS = 32_768
SIDE_FOLDER = "_ingested"  # Delta ignores names that begin with an underscore


_DIGEST = np.dtype([("digest", "S32"), ("feedback", "?")])


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

    return FileLock(_beside(uri, "lock"))


@contextlib.contextmanager
def scratch(uri: str) -> Iterator[Path]:
    """Give a folder beside the table for the length of the block; a killed one's is swept up.

    Whoever writes holds the writers' lock; a reader's folder has a name of its own.
    """
    stem = _beside(uri, "scratch")
    for old in stem.parent.glob(f"{stem.name}-*"):
        if not _alive(int(old.name.rsplit("-", 2)[1])):
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{stem.name}-{os.getpid()}-", dir=stem.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _beside(uri: str, kind: str) -> Path:
    """Return a path beside a local table, or in the cache for one far away."""
    path = Path(f"{uri}.{kind}")
    if "://" in uri:
        name = hashlib.sha256(uri.encode()).hexdigest()[:16]
        path = Path.home() / ".cache" / "tuneloop" / "lakes" / f"{name}.{kind}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


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
        what = "the lake" if version is None else f"version {version} of the lake"
        raise DataError(
            f"{what} cannot be read: {str(error).splitlines()[0]}",
            where=uri,
            hint="" if version is None else "leave lake.version empty for the newest",
        ) from error


def check_place(uri: str) -> None:
    """Raise DataError where a local lake can be neither found nor made."""
    if "://" in uri:
        return
    try:
        Path(uri).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=uri):
            pass
    except OSError as error:
        raise DataError(
            f"no lake can be there: {error.strerror}", where=uri, hint="a lake is a folder"
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
        target_file_size=FILE_BYTES,
        writer_properties=WriterProperties(compression="ZSTD", max_row_group_size=ROWS_PER_GROUP),
    )


def read_columns(table: DeltaTable, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield the named columns in batches, one after another: nothing is read ahead."""
    from pyarrow.dataset import ParquetFragmentScanOptions

    options = ParquetFragmentScanOptions(pre_buffer=False, use_buffered_stream=True)
    yield from table.to_pyarrow_dataset().to_batches(
        columns=columns,
        batch_size=BATCH_ROWS,
        batch_readahead=0,
        fragment_readahead=0,
        use_threads=False,
        fragment_scan_options=options,
    )


def summarise(uri: str, table: DeltaTable) -> LakeSummary:
    """Return what this version holds; computed once a version, which never changes.

    `content_digest` is the SHA-256 over the row digests in their order, each once.
    """
    objects = side_objects(uri)
    name = f"version-{table.version()}.json"
    cached = get_object(objects, name)
    if cached is not None:
        return LakeSummary.model_validate_json(cached)
    watermark, n_interactions, n_feedback = None, 0, 0
    content = hashlib.sha256()
    with scratch(uri) as folder:
        for batch in read_columns(table, ["kind", "row_digest", "event_ts"]):
            latest = pc.max(batch["event_ts"]).as_py()
            watermark = max(latest, watermark) if watermark and latest else latest or watermark
            _part(folder, batch)
        for path in sorted(folder.iterdir()):  # by their first byte: in order as a whole
            digests = np.unique(np.fromfile(path, _DIGEST))
            content.update(np.ascontiguousarray(digests["digest"]).tobytes())
            n_feedback += int(digests["feedback"].sum())
            n_interactions += int(len(digests) - digests["feedback"].sum())
    summary = LakeSummary(
        n_interactions=n_interactions,
        n_feedback=n_feedback,
        content_digest=content.hexdigest(),
        watermark=watermark.isoformat() if watermark else None,
    )
    objects.put(name, summary.model_dump_json().encode())
    return summary


def _part(folder: Path, batch: pa.RecordBatch) -> None:
    """Append a batch's digests to the files of their first bytes."""
    parts = np.empty(len(batch), _DIGEST)
    raw = bytes.fromhex("".join(batch["row_digest"].to_pylist()))
    parts["digest"] = np.frombuffer(raw, "S32")
    parts["feedback"] = pc.equal(batch["kind"], "feedback").to_numpy(zero_copy_only=False)
    firsts = np.frombuffer(raw, np.uint8)[::32]
    for first in np.unique(firsts):
        with (folder / f"{first:02x}").open("ab") as file:
            parts[firsts == first].tofile(file)
