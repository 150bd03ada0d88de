"""Take a person out of a lake: rows, old versions, the log's statistics, the dead letters."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic_core import from_json

from tuneloop.artefacts.mentions import Needles, distinct
from tuneloop.lake import table as lake_table
from tuneloop.lake.letters import default_letters
from tuneloop.lake.pseudonyms import PREFIX
from tuneloop.lake.rows import mark

if TYPE_CHECKING:
    from deltalake import DeltaTable

COLUMNS = [
    "kind", "tenant", "id", "session_id", "episode_id", "subject_key", "target_kind",
    "target_id", "payload",
]  # fmt: skip
_HASHED = re.compile(PREFIX + "[0-9a-f]{24}")


@dataclass(frozen=True)
class Person:
    """Who is erased.

    Attributes:
        tenant: Whose user.
        keys: All names they may have in a lake: hashed, and as it was given.
        aliases: Their hashed names where records that could not be read were refused: whose user
            they speak of was not known.
    """

    tenant: str
    keys: frozenset[str]
    aliases: frozenset[str] = frozenset()


@dataclass
class Theirs:
    """What in one lake belongs to a person of one tenant.

    Interactions of their sessions that name nobody are theirs too; so is all feedback they gave,
    all feedback on what is theirs, and whatever else names them.

    Attributes:
        found: Which of the person's names the lake has.
        shared: Ids of theirs, or names they have, that another tenant uses too.
    """

    person: Person
    interactions: set[str] = field(default_factory=set)
    feedback: set[str] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    found: set[str] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.interactions) + len(self.feedback)


def find_rows(uri: str, person: Person) -> Theirs:
    """Return what in the newest version of a lake belongs to the person."""
    theirs = Theirs(person)
    table = lake_table.open_table(uri)
    if table is None:
        return theirs
    names = Needles.of(key for key in person.keys if distinct(key))
    for batch in _batches(table, theirs, "interaction"):
        same = pc.is_in(batch["subject_key"], _values(person.keys))
        named = batch.filter(pc.or_(same, pa.array(names.hits(batch["payload"]))))
        _add_interactions(theirs, named)
        theirs.found |= set(batch.filter(same)["subject_key"].to_pylist())
        theirs.sessions |= set(named["session_id"].drop_null().to_pylist())
    if theirs.sessions:
        sessions = _values(theirs.sessions)
        for batch in _batches(table, theirs, "interaction"):
            nameless = pc.is_null(batch["subject_key"])
            mask = pc.and_(nameless, pc.is_in(batch["session_id"], sessions))
            _add_interactions(theirs, batch.filter(mask))
    for batch in _batches(table, theirs, "feedback"):
        named = names.hits(batch["payload"]).tolist()
        columns = [batch[c].to_pylist() for c in ("id", "target_kind", "target_id", "payload")]
        for id, kind, target, payload, told in zip(*columns, named, strict=True):
            if _is_theirs(theirs, kind, target, payload) or told:
                theirs.feedback.add(id)
                theirs.texts |= set(_long_texts(from_json(payload)))
    _note_shared(table, theirs)
    return theirs


def erase_rows(uri: str, person: Person, texts: Iterable[str] = ()) -> tuple[int, int]:
    """Rewrite the table without a person; return the version that was, and the one that is.

    Dead letters go that hold one of `texts`, or an id.

    Marks that keep them out come first. One commit replaces the contents; then files nobody
    refers to are deleted, and the log up to a checkpoint, since its statistics hold the smallest
    and largest texts. Versions go on counting: an old number is never another table. Killed at
    any point and run again, it finishes.
    """
    from deltalake import DeltaTable, WriterProperties, write_deltalake

    with lake_table.writers_lock(uri), lake_table.scratch(uri):
        theirs = find_rows(uri, person)  # what was taken in meanwhile, too
        table = lake_table.open_table(uri)
        if table is None:
            return 0, 0
        before = table.version()
        begun = erased_before(uri, person)  # and perhaps killed
        _clean_letters(uri, theirs, texts)
        if not (len(theirs) or begun):
            return before, before
        _mark(uri, theirs)
        if len(theirs):
            dataset = table.to_pyarrow_dataset()  # here: not from within the writer's runtime
            batches = _others(dataset, theirs)
            write_deltalake(
                uri,
                pa.RecordBatchReader.from_batches(lake_table.SCHEMA, batches),
                mode="overwrite",
                writer_properties=WriterProperties(
                    compression="ZSTD", max_row_group_size=lake_table.ROWS_PER_GROUP
                ),
            )
        DeltaTable(uri).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
        table = DeltaTable(uri)
        table.create_checkpoint()
        _cut_log(uri, table.version())
        _forget_summaries(uri, table.version())
        return before, table.version()


def erased_before(uri: str, person: Person) -> bool:
    """Return whether a lake remembers that the person was erased."""
    names = {mark("person", person.tenant, key) for key in person.keys}
    return not names.isdisjoint(erased_marks(uri))


def erased_marks(uri: str) -> dict[str, datetime]:
    """Return what remains of people who were erased: mark (see `rows.mark`) → when."""
    data = lake_table.get_object(lake_table.side_objects(uri), lake_table.ERASED)
    known: dict[str, str] = json.loads(data) if data else {}
    return {name: datetime.fromisoformat(when) for name, when in known.items()}


def _batches(table: DeltaTable, theirs: Theirs, kind: str) -> Iterator[pa.RecordBatch]:
    dataset = table.to_pyarrow_dataset()
    wanted = (pc.field("kind") == kind) & (pc.field("tenant") == theirs.person.tenant)
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
    if (actor := event.get("actor", {}).get("id")) in theirs.person.keys:
        theirs.found.add(actor)
        return True
    value = event.get("value")
    pair = {value.get("winner"), value.get("loser")} if isinstance(value, dict) else set()
    return bool(pair & theirs.interactions)


def _note_shared(table: DeltaTable, theirs: Theirs) -> None:
    ids = {"interaction": theirs.interactions, "feedback": theirs.feedback}
    for batch in _others(table.to_pyarrow_dataset(), theirs):
        for kind, named in ids.items():
            same = pc.and_(pc.equal(batch["kind"], kind), pc.is_in(batch["id"], _values(named)))
            theirs.shared |= set(batch.filter(same)["id"].to_pylist())
        named_so = pc.is_in(batch["subject_key"], _values(theirs.person.keys))
        theirs.shared |= set(batch.filter(named_so)["subject_key"].to_pylist())


def told_by_others(uri: str, theirs: Theirs, texts: Iterable[str]) -> set[str]:
    """Return what others in a lake said that begins like one of these texts."""
    table = lake_table.open_table(uri)
    needles = Needles.of((), {text[: Needles.MOST_CHARS] for text in texts})
    found: set[str] = set()
    for batch in _others(table.to_pyarrow_dataset(), theirs) if table else ():
        for payload in batch["payload"].filter(pa.array(needles.hits(batch["payload"]))):
            found |= set(_strings(from_json(payload.as_py())))
    return found


def _values(names: Iterable[str]) -> pa.Array:
    return pa.array(sorted(names), pa.string())


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
        mask = pc.equal(batch["tenant"], theirs.person.tenant)
        hit = pa.array([False] * len(batch))
        for kind, ids in gone.items():
            listed = pc.is_in(batch["id"], _values(ids))
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


def _mark(uri: str, theirs: Theirs) -> None:
    """Remember, as hashes, who was erased and what was theirs."""
    now = datetime.now(UTC).isoformat()
    known = {name: when.isoformat() for name, when in erased_marks(uri).items()}
    told = json.dumps(known | dict.fromkeys(_marks(theirs), now), sort_keys=True)
    lake_table.side_objects(uri).put(lake_table.ERASED, told.encode())


def _marks(theirs: Theirs) -> set[str]:
    # A name as it was given is hashed only where the lake has it: others could be guessed.
    keys = theirs.person.keys
    known = {key for key in keys if key in theirs.found or _HASHED.fullmatch(key)}
    named = {
        "person": known, "session": theirs.sessions,
        "interaction": theirs.interactions, "feedback": theirs.feedback,
    }  # fmt: skip
    return {mark(what, theirs.person.tenant, name) for what, ids in named.items() for name in ids}


def _clean_letters(uri: str, theirs: Theirs, texts: Iterable[str]) -> None:
    """Clean the remembered dead letters, and those that lie beside a local lake by default."""
    objects = lake_table.side_objects(uri)
    ids = {*theirs.person.keys, *theirs.person.aliases, *theirs.interactions, *theirs.feedback}
    needles = Needles.of(ids, texts)
    for path in [str(meta["path"]) for batch in objects.list() for meta in batch]:
        if path.endswith(".dead.jsonl"):
            lines = pa.array(bytes(objects.get(path).bytes()).split(b"\n"), pa.large_binary())
            objects.put(path, b"\n".join(lines.filter(pa.array(~needles.hits(lines))).to_pylist()))
    beside = default_letters(uri)
    if not beside.is_file():
        return
    partial = beside.with_name(f".{beside.name}.part")
    with beside.open("rb") as file, partial.open("wb") as kept:
        while some := file.readlines(4 * 1024 * 1024):
            held = pa.array(some, pa.large_binary())
            kept.writelines(held.filter(pa.array(~needles.hits(held))).to_pylist())
    os.replace(partial, beside)


def _forget_summaries(uri: str, version: int) -> None:
    objects = lake_table.side_objects(uri)
    for path in [str(meta["path"]) for batch in objects.list() for meta in batch]:
        if path.startswith("version-") and path != f"version-{version}.json":
            objects.delete(path)
