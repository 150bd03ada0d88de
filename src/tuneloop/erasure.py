"""Take a person out of everything that was written, and say who learned from them.

The order is such that a killed erasure, run again, finishes: what learned is looked up and
recorded first, artefacts go before the lake. Weights are not changed: an adapter that learned
from a person is listed, and it is for people to retire it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneloop.artefacts import erasures
from tuneloop.artefacts.mentions import Needles, mentions, rows_that_mention
from tuneloop.artefacts.stage import Progress
from tuneloop.artefacts.store import Artefact, Store
from tuneloop.errors import DataError
from tuneloop.lineage import subject_report

if TYPE_CHECKING:
    from tuneloop.lake.erase import Theirs

MARK = "[erased]"
BURIED_WHOLE = frozenset({"report"})
"""Pages show rows without their ids: they go with what they show, and can be rendered again."""
KEPT = frozenset({"sft", "dpo"})
"""Weights: listed, not changed."""


@dataclass
class Erasure:
    """One erasure under way.

    Args:
        store: The store that is cleaned.
        tenant: Whose user it is.
        keys: All names under which the person may be recorded: hashed and as given.
        raw: The id as it was given, which may stand in dead letters.
    """

    store: Store
    tenant: str
    keys: frozenset[str]
    raw: str
    reason: str = "the person asked for it"
    lakes: dict[str, Theirs] = field(default_factory=dict)

    @property
    def recorded(self) -> frozenset[str]:
        """The names that may stay, in records and tombstones: not the id as it was given."""
        return self.keys - {self.raw} or self.keys

    @property
    def needles(self) -> Needles:
        """What every file is searched for."""
        ids = {i for t in self.lakes.values() for i in t.interactions | t.feedback}
        texts = {text for t in self.lakes.values() for text in t.texts}
        return Needles.of({*self.keys, self.raw}, ids, texts)


def erase(
    erasure: Erasure, *, lakes: Iterable[str] = (), dry_run: bool = False, progress: Progress
) -> dict[str, Any]:
    """Remove a person from the lakes and every artefact; return what was done.

    Returns:
        `lakes` (uri, rows, versions), `artefacts` (kind, digest, rewritten_as), `adapters`,
        `decisions`, `generations` (who learned from them; see `lineage.subject_report`), `files`
        (copies and caches removed), `mentions` (what still mentions them: should be empty).

    Raises:
        DataError: if nobody of that name is known anywhere.
    """
    from tuneloop.lake.erase import erase_rows, find_rows

    store = erasure.store
    for uri in _all_lakes(store, lakes):
        progress.start(f"erase: look into {uri}")
        erasure.lakes[uri] = find_rows(uri, erasure.tenant, erasure.keys)
    learned = _learned(erasure)
    needles = erasure.needles
    touched = list(_touched(store, needles, progress))
    n_rows = sum(len(theirs) for theirs in erasure.lakes.values())
    if not (n_rows or touched or learned["adapters"]):
        raise DataError(
            f"nobody named {erasure.raw!r} is known to tenant {erasure.tenant!r}",
            where=store.root,
            hint="--tenant says whose user it is; --lake names lakes outside the store",
        )
    report: dict[str, Any] = {
        "subject_keys": sorted(erasure.recorded),
        "tenant": erasure.tenant,
        "reason": erasure.reason,
        "dry_run": dry_run,
        "when": datetime.now(UTC).isoformat(),
        "lakes": [_lake_row(uri, theirs) for uri, theirs in erasure.lakes.items() if len(theirs)],
        "artefacts": [{"kind": a.kind, "digest": a.digest} for a in touched],
        **learned,
    }
    if dry_run:
        return report
    now = datetime.fromisoformat(report["when"])
    report["record"] = erasures.new_record(now)
    erasures.record(store, report["record"], report)  # killed from here on, it knows who learned
    report["artefacts"] = _clean(erasure, touched, needles, now, progress)
    for row in report["lakes"]:
        row["version_before"], row["version_after"] = erase_rows(
            row["uri"], erasure.lakes[row["uri"]]
        )
    report["files"] = _clean_files(store, needles, progress)
    report["mentions"] = search(store, needles, erasure.lakes, progress)
    erasures.record(store, report["record"], report)
    progress.done(f"{n_rows} events, {len(touched)} artefacts")
    return report


def search(store: Store, needles: Needles, lakes: Iterable[str], progress: Progress) -> list[str]:
    """Return every file below the store and the lakes that mentions the person.

    Tombstones of keys, which keep the person out in future, are not counted.
    """
    roots = [Path(uri) for uri in lakes if "://" not in uri]
    roots += [store.local_root, store.work] if store.local_root else [store.work]
    progress.start("erase: search again")
    found = []
    for path in sorted({p for root in roots if root.is_dir() for p in root.rglob("*")}):
        ours = path.name == "erased.json" or "erasures" in path.parts
        if path.is_file() and not ours and mentions(path, needles):
            found.append(str(path))
    return found


def _all_lakes(store: Store, named: Iterable[str]) -> list[str]:
    """Return every lake the store's artefacts were read from, and those named."""
    found: dict[str, None] = dict.fromkeys(
        str(Path(u).resolve()) if "://" not in u else u for u in named
    )
    for artefact in store.list_artefacts("lake"):
        found.setdefault(str(artefact.manifest.details["uri"]), None)
    folder = store.local_root / "lakes" if store.local_root else None
    for log in sorted(folder.glob("*/*/*/_delta_log")) if folder else ():
        found.setdefault(str(log.parent.resolve()), None)
    return [uri for uri in found if "://" in uri or Path(uri).is_dir()]


def _learned(erasure: Erasure) -> dict[str, Any]:
    """Return who learned from the person, under any of their keys."""
    whole: dict[str, list[Any]] = {"adapters": [], "decisions": [], "generations": []}
    for key in sorted(erasure.keys):
        report = subject_report(erasure.store, key)
        for name, rows in whole.items():
            rows += [row for row in report[name] if row not in rows]
    return whole


def _lake_row(uri: str, theirs: Theirs) -> dict[str, Any]:
    return {
        "uri": uri,
        "n_interactions": len(theirs.interactions),
        "n_feedback": len(theirs.feedback),
    }


def _touched(store: Store, needles: Needles, progress: Progress) -> Iterator[Artefact]:
    """Yield artefacts that hold something of the person, and pages that show such ones."""
    hit: set[str] = set()
    for kind in sorted(_kinds(store), key=lambda kind: kind in BURIED_WHOLE):
        if kind in KEPT:
            continue
        for artefact in store.list_artefacts(kind):
            progress.start(f"erase: look into {kind} {artefact.digest[:12]}")
            if erasures.tombstone(store, artefact.digest) or artefact.digest in hit:
                continue
            shows = any(parent.digest in hit for parent in artefact.manifest.parents)
            if (kind in BURIED_WHOLE and shows) or _holds(artefact, needles):
                hit.add(artefact.digest)
                yield artefact


def _kinds(store: Store) -> list[str]:
    return sorted({path.split("/")[1] for path in store.list_paths("manifests")})


def _holds(artefact: Artefact, needles: Needles) -> bool:
    folder = artefact.folder()
    return any(mentions(folder / name, needles) for name in artefact.manifest.files)


def _clean(
    erasure: Erasure, touched: list[Artefact], needles: Needles, now: datetime, progress: Progress
) -> list[dict[str, Any]]:
    """Write each artefact anew without the person, then bury it; pages are only buried."""
    store = erasure.store
    gone = {artefact.digest for artefact in touched}
    kept = {
        ref.digest
        for kind in _kinds(store)
        for other in store.list_artefacts(kind)
        if other.digest not in gone and not erasures.tombstone(store, other.digest)
        for ref in other.manifest.files.values()
    }
    rows = []
    for artefact in touched:
        progress.start(f"erase: write {artefact.kind} {artefact.digest[:12]} anew")
        left = None
        if artefact.kind not in BURIED_WHOLE:
            work = store.work / "erasing" / artefact.digest
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            files = {n: _without(artefact.path(n), work / n, needles)
                     for n in artefact.manifest.files}  # fmt: skip
            new = erasures.rewrite(store, artefact, files)
            shutil.rmtree(work)
            left = new.digest
            kept |= {ref.digest for ref in new.manifest.files.values()}
        stone = erasures.Erased(
            digest=artefact.digest, kind=artefact.kind, key=artefact.manifest.key, when=now,
            reason=erasure.reason, rewritten_as=left,
        )  # fmt: skip
        erasures.bury(store, artefact, stone, keep=kept)
        rows.append({"kind": artefact.kind, "digest": artefact.digest, "rewritten_as": left})
    return rows


def _without(source: Path, target: Path, needles: Needles) -> Path:
    """Write a file without what mentions the person: rows, lines, elements."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".parquet":
        _table_without(source, target, needles)
    elif source.suffix == ".json":
        body = _json_without(json.loads(source.read_text("utf-8")), needles)
        target.write_text(json.dumps(body, ensure_ascii=False, sort_keys=True), "utf-8")
    else:
        with source.open("rb") as lines, target.open("wb") as out:
            for line in lines:
                if not needles.found_in(line):
                    out.write(line)
    return target


def _table_without(source: Path, target: Path, needles: Needles) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    with (
        pq.ParquetFile(source) as table,
        pq.ParquetWriter(target, table.schema_arrow, compression="zstd") as writer,
    ):
        for group in range(table.num_row_groups):
            rows = table.read_row_group(group)
            hits = np.zeros(len(rows), dtype=bool)
            for column in rows.columns:
                hits |= rows_that_mention(column, needles)
            writer.write_table(rows.filter(pa.array(~hits)))


def _json_without(value: Any, needles: Needles) -> Any:
    """Return JSON without list elements that mention the person; else the mention is marked."""
    if not needles.hit(value):
        return value
    if isinstance(value, list):
        return [_json_without(v, needles) for v in value
                if not needles.hit(v) or isinstance(v, list)]  # fmt: skip
    if isinstance(value, dict):
        return {k: _json_without(v, needles) for k, v in value.items() if not needles.hit(k)}
    return MARK


def _clean_files(store: Store, needles: Needles, progress: Progress) -> list[str]:
    """Remove copies for people and work in progress that mention the person."""
    removed = []
    folders = [(store.local_root or store.work) / "reports", store.work]
    for folder in folders:
        progress.start(f"erase: look into {folder.name}")
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.is_file() and mentions(path, needles):
                path.unlink()
                removed.append(str(path))
    return removed


def erasure_lines(report: dict[str, Any]) -> list[str]:
    """Return an erasure's report as lines for people."""
    would = "would remove" if report["dry_run"] else "removed"
    lines = [
        f"{would} {row['n_interactions']} interactions, {row['n_feedback']} pieces of feedback"
        f" from {row['uri']}"
        + (f" (now version {row['version_after']})" if "version_after" in row else "")
        for row in report["lakes"]
    ]
    for row in report["artefacts"]:
        left = row.get("rewritten_as")
        end = f", rewritten as {left[:12]}" if left else ""
        lines.append(f"{would} from {row['kind']} {row['digest'][:12]}{end}")
    lines += [f"{would} {path}" for path in report.get("files", [])]
    if report["adapters"]:
        lines += ["", "learned from them, and still do:"]
        lines += [f"  adapter {row['kind']} {row['digest'][:12]}" for row in report["adapters"]]
        lines += [f"  decision {row['digest'][:12]}" for row in report["decisions"]]
        lines += [
            f"  {row['tenant']}/{row['task']}/{row['env']} {row['name']} generation {row['number']}"
            for row in report["generations"]
        ]
    if not report["dry_run"]:
        lines += ["", f"record {report['record']}"]
        lines += [f"STILL MENTIONED in {path}" for path in report["mentions"]] or [
            "searched again: no file mentions them"
        ]
    lines.append("event files outside the store are yours to clean; they are not taken in again")
    return lines
