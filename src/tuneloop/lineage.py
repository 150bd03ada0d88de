"""From a decision back to the events it rests on; from a person to all that learned from them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuneloop.artefacts import erasures
from tuneloop.artefacts.aliases import generations, list_aliases
from tuneloop.artefacts.digest import digest_file
from tuneloop.artefacts.manifest import FileRef, Parent, contents_digest
from tuneloop.artefacts.store import Artefact, Store
from tuneloop.errors import StoreError

TRAINED_ON = {"sft": "sft", "dpo": "preference", "kto": "kto"}
"""Which of an example set's sets a training stage reads."""

Events = tuple[set[str], set[str]]
"""Ids of interactions, ids of feedback."""


def lineage_report(store: Store, what: str, *, events: bool = False) -> dict[str, Any]:
    """Return an artefact and, below `parents`, everything it was made from.

    Args:
        store: Where the artefacts are.
        what: Path of a decision.json, or a digest or the beginning of one.
        events: Also list the events behind the rows that were trained on, and their lake.

    Raises:
        StoreError: if the store does not know it, or a parent is gone or holds something else.
    """
    artefact = _resolve(store, what)
    report = _node(store, artefact, role="", seen=set())
    if events:
        report["events"] = _events(store, artefact)
    return report


def subject_report(store: Store, subject: str) -> dict[str, Any]:
    """Return every adapter, decision and alias generation that learned from a person's events.

    Theirs are the interactions with that `subject_key` and the feedback that names them as its
    actor. An adapter learned from them where a row it was trained on rests on one of them, or
    where it goes on from an adapter that did.

    Args:
        store: Where the artefacts are.
        subject: The person's `subject_key`.
    """
    theirs: Events = (set(), set())
    for curated in store.list_artefacts("curate"):
        if erasures.tombstone(store, curated.digest) is None:
            _add(theirs, _events_of(curated, subject))
    touched: dict[tuple[str, str, str], Artefact] = {}
    trained = [artefact for kind in TRAINED_ON for artefact in store.list_artefacts(kind)]
    # Each training stage can go on from any other one: a child may be met before its start.
    waiting = [*trained, *store.list_artefacts("evaluate"), *store.list_artefacts("decide")]
    learned_here = {id(a) for a in trained if _meet(_learned(store, a), theirs)}
    while new := [
        a for a in waiting
        if id(a) in learned_here
        or any((p.kind, p.key, p.digest) in touched for p in a.manifest.parents)
    ]:  # fmt: skip
        touched |= {(a.kind, a.manifest.key, a.digest): a for a in new}
        waiting = [a for a in waiting if (a.kind, a.manifest.key, a.digest) not in touched]
    erased = [r for r in erasures.records(store) if subject in r["subject_keys"]]
    learned = {
        "adapters": [_short(a) for a in touched.values() if a.kind in TRAINED_ON],
        "decisions": [_short(a) for a in touched.values() if a.kind == "decide"],
    }
    for name, rows in learned.items():  # what learned before the erasure still has
        rows += [row for record in erased for row in record[name] if row not in rows]
    adapters = {row["digest"] for row in learned["adapters"]}
    return {
        "subject": subject,
        "erased": [record["when"] for record in erased],
        "interactions": sorted(theirs[0]),
        "feedback": sorted(theirs[1]),
        **learned,
        "generations": [
            alias.model_dump() | {"number": g.number, "system": g.digest, "adapter": adapter}
            for alias in list_aliases(store)
            for g in generations(store, alias)
            if (adapter := g.system.adapter) in adapters
        ],
    }


def _resolve(store: Store, what: str) -> Artefact:
    path = Path(what)
    if path.is_file():
        ref = FileRef(digest=digest_file(path), n_bytes=path.stat().st_size)
        what = contents_digest("decide", {"decision.json": ref})
    return store.by_digest(what)[0]


def _parent(store: Store, ref: Parent) -> Artefact:
    """Return the very artefact that went in: made by that execution, with those contents."""
    found = store.find(ref.kind, ref.key, digest=ref.digest) if ref.key else None
    if found is None:
        other = store.find(ref.kind, ref.key) if ref.key else None
        found_instead = f"; its key now holds {other.digest[:12]}" if other else ""
        raise StoreError(
            f"parent {ref.kind} {ref.digest[:12]} is gone{found_instead}", where=store.root
        )
    return found


def _node(store: Store, artefact: Artefact, *, role: str, seen: set[str]) -> dict[str, Any]:
    manifest = artefact.manifest
    node: dict[str, Any] = {
        "role": role,
        "kind": manifest.kind,
        "digest": manifest.digest,
        "key": manifest.key,
        "counts": manifest.counts.model_dump(),
        "started_at": manifest.started_at,
    }
    if stone := erasures.tombstone(store, manifest.digest):
        node["erased"] = stone.when
    mark = f"{manifest.key}:{manifest.digest}"
    if mark in seen:
        return node | {"parents": "shown above"}
    seen.add(mark)
    parents = [
        _node(store, _parent(store, ref), role=ref.role, seen=seen)
        if ref.key
        else {"role": ref.role, "kind": ref.kind, "digest": ref.digest}
        for ref in manifest.parents
    ]
    return node | {"details": manifest.details, "parents": parents}


def _ancestors(store: Store, artefact: Artefact) -> Iterator[Artefact]:
    """Yield an artefact and all it was made from; one reached by two ways comes twice."""
    yield artefact
    for ref in artefact.manifest.parents:
        if ref.key:
            yield from _ancestors(store, _parent(store, ref))


def _events(store: Store, artefact: Artefact) -> dict[str, Any]:
    """Return the events behind the rows that the adapters below an artefact were trained on."""
    ancestors = list(_ancestors(store, artefact))
    if not any(above.kind in TRAINED_ON for above in ancestors):
        raise StoreError("nothing was trained for this artefact", where=artefact.digest[:12])
    learned: Events = (set(), set())
    for above in ancestors:
        if above.kind in TRAINED_ON:
            _add(learned, _learned(store, above))
    lakes = [above.manifest.details for above in ancestors if above.kind == "lake"]
    lake = lakes[0] if lakes else {}
    return {
        "lake": {"uri": lake.get("uri"), "version": lake.get("version")},
        "interactions": sorted(learned[0]),
        "feedback": sorted(learned[1]),
    }


def _learned(store: Store, adapter: Artefact) -> Events:
    """Return the events behind the rows one training run read.

    Validation rows count where they chose which weights were kept (early stopping).
    """
    import pyarrow.parquet as pq

    name = TRAINED_ON[adapter.kind]
    stops_early = adapter.manifest.config.get("early_stopping_patience") is not None
    learned: Events = (set(), set())
    for ref in adapter.manifest.parents:
        if ref.role != "examples":
            continue
        examples = erasures.replay(store, _parent(store, ref))
        if examples is None:
            continue
        for split in ("train", "validation") if stops_early else ("train",):
            columns = ["interaction_ids", "feedback_ids"]
            for row in pq.read_table(
                examples.path(f"{name}_{split}.parquet"), columns=columns
            ).to_pylist():
                _add(learned, (set(row["interaction_ids"]), set(row["feedback_ids"])))
    return learned


def _events_of(curated: Artefact, subject: str) -> Events:
    import pyarrow.parquet as pq

    columns = ["interaction_id", "subject_key", "signals"]
    theirs: Events = (set(), set())
    for row in pq.read_table(curated.path("curated.parquet"), columns=columns).to_pylist():
        if row["subject_key"] == subject:
            theirs[0].add(row["interaction_id"])
        for signal in row["signals"]:
            if signal["actor"].partition(":")[2] == subject:
                theirs[1].add(signal["feedback_id"])
    return theirs


def _add(to: Events, more: Events) -> None:
    to[0].update(more[0])
    to[1].update(more[1])


def _meet(one: Events, other: Events) -> bool:
    return bool(one[0] & other[0] or one[1] & other[1])


def _short(artefact: Artefact) -> dict[str, str]:
    return {"kind": artefact.kind, "digest": artefact.digest, "key": artefact.manifest.key}


def lineage_lines(report: dict[str, Any], depth: int = 0) -> list[str]:
    """Return a lineage report as an indented tree."""
    indent = "  " * depth
    role = f"{report['role']}: " if report.get("role") and report["role"] != report["kind"] else ""
    counts = report.get("counts") or {}
    shown = f"  {counts['n_in']:,} → {counts['n_out']:,}" if counts.get("n_in") else ""
    gone = f"  erased on {report['erased']:%Y-%m-%d}" if "erased" in report else ""
    lines = [f"{indent}{role}{report['kind']} {report['digest'][:12]}{shown}{gone}"]
    if report["kind"] == "lake" and report.get("details"):
        details = report["details"]
        uri = str(details.get("uri")).removeprefix(f"{Path.cwd()}/")
        lines.append(f"{indent}  table {uri} version {details.get('version')}")
    parents = report.get("parents", [])
    if isinstance(parents, str):
        lines[-1] += f"  ({parents})"
        parents = []
    for node in parents:
        lines += lineage_lines(node, depth + 1)
    if "events" in report:
        events = report["events"]
        lines += [f"{len(events['interactions'])} interactions, "
                  f"{len(events['feedback'])} pieces of feedback"]  # fmt: skip
        lines += [f"  {event}" for event in (*events["interactions"], *events["feedback"])]
    return lines


def subject_lines(report: dict[str, Any]) -> list[str]:
    """Return a subject report as lines for people."""
    lines = [
        f"{report['subject']}: {len(report['interactions'])} interactions, "
        f"{len(report['feedback'])} pieces of feedback in curated sets"
    ]
    lines += [f"  erased on {when[:10]}" for when in report["erased"]]
    lines += [f"  adapter {row['kind']} {row['digest'][:12]}" for row in report["adapters"]]
    lines += [f"  decision {row['digest'][:12]}" for row in report["decisions"]]
    lines += [
        f"  {row['tenant']}/{row['task']}/{row['env']} {row['name']} generation {row['number']}"
        for row in report["generations"]
    ]
    return lines if report["adapters"] else [*lines, "  nothing learned from them"]
