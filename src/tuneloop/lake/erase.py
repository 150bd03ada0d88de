"""Take a person out of a lake: rows, old versions, the log's statistics, the dead letters."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic_core import from_json

from tuneloop.artefacts.mentions import Needles
from tuneloop.lake import table as lake_table
from tuneloop.lake.letters import default_letters

if TYPE_CHECKING:
    from deltalake import DeltaTable

COLUMNS = [
    "kind", "tenant", "id", "session_id", "episode_id", "subject_key", "target_kind",
    "target_id", "payload",
]  # fmt: skip


@dataclass
class Theirs:
    """What in one lake belongs to a person of one tenant.

    Interactions of their sessions that name nobody are theirs too; so is all feedback they gave
    and all feedback on what is theirs.
    """

    tenant: str
    keys: frozenset[str]
    interactions: set[str] = field(default_factory=set)
    feedback: set[str] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.interactions) + len(self.feedback)


def find_rows(uri: str, tenant: str, keys: Iterable[str]) -> Theirs:
    """Return what in the newest version of a lake belongs to the person with these keys."""
    theirs = Theirs(tenant, frozenset(keys))
    table = lake_table.open_table(uri)
    if table is None:
        return theirs
    for batch in _batches(table, theirs, "interaction"):
        named = batch.filter(pc.is_in(batch["subject_key"], pa.array(sorted(theirs.keys))))
        _add_interactions(theirs, named)
        theirs.sessions |= set(named["session_id"].drop_null().to_pylist())
    if theirs.sessions:
        sessions = pa.array(sorted(theirs.sessions), pa.string())
        for batch in _batches(table, theirs, "interaction"):
            nameless = pc.is_null(batch["subject_key"])
            mask = pc.and_(nameless, pc.is_in(batch["session_id"], sessions))
            _add_interactions(theirs, batch.filter(mask))
    for batch in _batches(table, theirs, "feedback"):
        for id, kind, target, payload in zip(
            *(batch[c].to_pylist() for c in ("id", "target_kind", "target_id", "payload")),
            strict=True,
        ):
            if _is_theirs(theirs, kind, target, payload):
                theirs.feedback.add(id)
                theirs.texts |= set(_long_texts(from_json(payload)))
    _forget_common_texts(table, theirs)
    return theirs


def erase_rows(uri: str, theirs: Theirs) -> tuple[int, int]:
    """Rewrite the table without these rows; return the version that was, and the one that is.

    One commit replaces the contents; then files nobody refers to are deleted, and the log up to
    a checkpoint, since its statistics hold the smallest and largest texts. Versions go on
    counting: an old number is never another table.
    """
    from deltalake import DeltaTable, WriterProperties, write_deltalake

    with lake_table.writers_lock(uri):
        table = lake_table.open_table(uri)
        if table is None:
            return 0, 0
        before = table.version()
        dataset = table.to_pyarrow_dataset()  # here: not from within the writer's runtime
        reader = pa.RecordBatchReader.from_batches(lake_table.SCHEMA, _others(dataset, theirs))
        write_deltalake(
            uri,
            reader,
            mode="overwrite",
            writer_properties=WriterProperties(
                compression="ZSTD", max_row_group_size=lake_table.ROWS_PER_GROUP
            ),
        )
        DeltaTable(uri).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
        table = DeltaTable(uri)
        table.create_checkpoint()
        _cut_log(uri, table.version())
        _clean_side(uri, theirs, table.version())
        return before, table.version()


def erased_keys(uri: str) -> dict[str, datetime]:
    """Return tenant/key → when that person was erased: older events of theirs stay out."""
    data = lake_table.get_object(lake_table.side_objects(uri), lake_table.ERASED)
    known: dict[str, str] = json.loads(data) if data else {}
    return {name: datetime.fromisoformat(when) for name, when in known.items()}


def _batches(table: DeltaTable, theirs: Theirs, kind: str) -> Iterator[pa.RecordBatch]:
    dataset = table.to_pyarrow_dataset()
    wanted = (pc.field("kind") == kind) & (pc.field("tenant") == theirs.tenant)
    yield from dataset.to_batches(columns=COLUMNS, filter=wanted)


def _add_interactions(theirs: Theirs, batch: pa.RecordBatch) -> None:
    theirs.interactions |= set(batch["id"].to_pylist())
    for payload in batch["payload"].to_pylist():
        theirs.texts |= set(_long_texts(from_json(payload)))


def _is_theirs(theirs: Theirs, kind: str | None, target: str | None, payload: str) -> bool:
    if kind == "session" and target in theirs.sessions:
        return True
    if kind != "session" and target in theirs.interactions:
        return True
    event = from_json(payload)
    if event.get("actor", {}).get("id") in theirs.keys:
        return True
    value = event.get("value")
    pair = {value.get("winner"), value.get("loser")} if isinstance(value, dict) else set()
    return bool(pair & theirs.interactions)


def _forget_common_texts(table: DeltaTable, theirs: Theirs) -> None:
    """Forget texts that others wrote too: they tell nothing of this person."""
    needles = Needles.of((), texts=theirs.texts)
    others: set[str] = set()
    for batch in _others(table.to_pyarrow_dataset(), theirs):
        for payload in batch["payload"].filter(needles.hits(batch["payload"])).to_pylist():
            others |= {text[: Needles.MOST_CHARS] for text in _strings(from_json(payload))}
    theirs.texts = {text for text in theirs.texts if text[: Needles.MOST_CHARS] not in others}


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _long_texts(event: dict[str, Any]) -> Iterator[str]:
    """Yield what the person wrote, as far as it is long enough to be theirs alone."""
    said = [m.get("content") for m in event.get("request", {}).get("messages", [])
            if m.get("role") == "user"]  # fmt: skip
    said += [event.get("comment")]
    said += [event.get("value")] if event.get("signal") in ("correction", "comment", "edit") else []
    for text in said:
        if isinstance(text, str) and len(text) >= Needles.LEAST_CHARS:
            yield text


def _others(dataset: Any, theirs: Theirs) -> Iterator[pa.RecordBatch]:
    gone = {"interaction": theirs.interactions, "feedback": theirs.feedback}
    names = [field.name for field in lake_table.SCHEMA]
    for batch in dataset.to_batches(columns=names):
        mask = pc.equal(batch["tenant"], theirs.tenant)
        hit = pa.array([False] * len(batch))
        for kind, ids in gone.items():
            listed = pc.is_in(batch["id"], pa.array(sorted(ids), pa.string()))
            hit = pc.or_(hit, pc.and_(pc.equal(batch["kind"], kind), listed))
        kept = batch.filter(pc.invert(pc.and_(mask, hit)))
        yield pa.RecordBatch.from_arrays(kept.cast(lake_table.SCHEMA).columns,
                                         schema=lake_table.SCHEMA)  # fmt: skip


def _cut_log(uri: str, version: int) -> None:
    """Delete the log before the checkpoint of this version."""
    import obstore.store

    log = f"{uri.rstrip('/')}/_delta_log"
    remote = "://" in uri
    objects = obstore.store.from_url(log) if remote else obstore.store.LocalStore(Path(log))
    for batch in objects.list():
        for meta in batch:
            number = str(meta["path"]).split(".", 1)[0].rsplit("/", 1)[-1]
            if number.isdigit() and int(number) < version:
                objects.delete(meta["path"])


def _clean_side(uri: str, theirs: Theirs, version: int) -> None:
    """Clean the remembered dead letters, forget summaries of versions that are gone, remember."""
    objects = lake_table.side_objects(uri)
    needles = Needles.of(theirs.keys, theirs.interactions | theirs.feedback, theirs.texts)
    for path in [str(meta["path"]) for batch in objects.list() for meta in batch]:
        if path.endswith(".dead.jsonl"):
            lines = pa.array(bytes(objects.get(path).bytes()).split(b"\n"), pa.large_binary())
            objects.put(path, b"\n".join(lines.filter(~needles.hits(lines)).to_pylist()))
        elif path.startswith("version-") and path != f"version-{version}.json":
            objects.delete(path)
    _clean_letters(uri, needles)
    now = datetime.now(UTC).isoformat()
    known = {name: when.isoformat() for name, when in erased_keys(uri).items()}
    known |= {f"{theirs.tenant}/{key}": now for key in theirs.keys}
    objects.put(lake_table.ERASED, json.dumps(known, sort_keys=True).encode())


def _clean_letters(uri: str, needles: Needles) -> None:
    """Clean the file of dead letters that lies beside a local lake by default."""
    path = default_letters(uri)
    if not path.is_file():
        return
    partial = path.with_name(f".{path.name}.part")
    with path.open("rb") as file, partial.open("wb") as kept:
        while lines := file.readlines(4 * 1024 * 1024):
            held = pa.array(lines, pa.large_binary())
            kept.writelines(held.filter(~needles.hits(held)).to_pylist())
    os.replace(partial, path)
