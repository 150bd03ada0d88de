"""Take a person out of everything that was written, and say who learned from them.

The order is such that a killed erasure, run again, finishes: what learned is looked up and
recorded first, artefacts and copies go before the lake, which alone knows what is theirs. Weights
are not changed: an adapter that learned from a person is listed, and it is for people to retire it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneloop.artefacts import erasures, holdings
from tuneloop.artefacts.holdings import KEPT, file_of
from tuneloop.artefacts.mentions import Needles, distinct, mentions, tell_apart
from tuneloop.artefacts.stage import Progress
from tuneloop.artefacts.store import Artefact, Store
from tuneloop.artefacts.without import WRITABLE, write_without
from tuneloop.errors import DataError
from tuneloop.lineage import subject_report

if TYPE_CHECKING:
    from tuneloop.lake.erase import Person, Theirs

BURIED_WHOLE = frozenset({"report"})
"""Pages show rows without their ids: they go with what they show, and can be rendered again."""
OURS = frozenset(
    {"blobs", "digests", "manifests", "aliases", "runs", "erased", "erasures", "lakes", "work",
     "reports", "systems", "approvals", "ledger"}
)  # fmt: skip
"""What a store holds; whatever else lies in its folder somebody put there."""


@dataclass
class Erasure:
    """One erasure under way.

    Args:
        store: The store that is cleaned.
        person: Who is erased.
        raw: The id as it was given.
    """

    store: Store
    person: Person
    raw: str
    reason: str = "the person asked for it"
    lakes: dict[str, Theirs] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    golden: dict[str, set[str]] = field(default_factory=dict)

    @property
    def recorded(self) -> frozenset[str]:
        """The names that may stay, in records and tombstones: not the id as it was given."""
        return self.person.keys - {self.raw} or self.person.keys

    def needles(self, *more: str, shared: bool = False) -> Needles:
        """Return what files are searched for.

        Args:
            more: Further ids.
            shared: Also for ids of theirs that other tenants use, too.
        """
        every = self.lakes.values()
        ids = {key for key in self.person.keys if distinct(key)}
        ids |= {i for theirs in every for i in theirs.interactions | theirs.feedback}
        if not shared:
            ids -= {i for theirs in every for i in theirs.shared}
        return Needles.of({*ids, *more}, self.told, tenant=self.person.tenant)


def erase(
    erasure: Erasure, *, lakes: Iterable[str] = (), dry_run: bool = False, progress: Progress
) -> dict[str, Any]:
    """Remove a person from the lakes and every artefact; return what was done.

    Returns:
        `lakes` (uri, rows, versions), `artefacts` (kind, digest, rewritten_as), `golden` (prompts
        made from their events, by digest of the set), `adapters`, `decisions`, `generations` (who
        learned from them; see `lineage.subject_report`), `files` (copies and caches removed or
        written anew), `mentions` (what still mentions them: should be empty).

    Raises:
        DataError: if nobody of that name is known anywhere.
    """
    from tuneloop.lake.erase import erase_rows

    store, person = erasure.store, erasure.person
    every = _all_lakes(store, lakes)
    touched, learned = _look(erasure, every, progress)
    report: dict[str, Any] = {
        "subject_keys": sorted(erasure.recorded),
        "tenant": person.tenant,
        "reason": erasure.reason,
        "dry_run": dry_run,
        "when": datetime.now(UTC).isoformat(),
        "lakes": [_lake_row(uri, theirs) for uri, theirs in erasure.lakes.items() if len(theirs)],
        "artefacts": [{"kind": a.kind, "digest": a.digest} for a, _ in touched],
        "golden": [{"digest": d, "prompts": sorted(ids)} for d, ids in erasure.golden.items()],
        **learned,
    }
    if dry_run:
        return report
    now = datetime.fromisoformat(report["when"])
    report["record"] = erasures.new_record(now)
    begun = report | {"golden": []}  # ids of prompts are made of those of events
    erasures.record(store, report["record"], begun)  # killed from here on, it knows who learned
    report["artefacts"] = _clean(erasure, touched, now, progress)
    needles = erasure.needles(*filter(distinct, set().union(*erasure.golden.values())))
    report["files"] = _clean_files(store, needles, progress)
    rows = {row["uri"]: row for row in report["lakes"]}
    for uri in every:
        before, after = erase_rows(uri, person, erasure.told)
        rows.get(uri, {}).update(version_before=before, version_after=after)
    report["mentions"] = search(store, needles, every, progress)
    erasures.record(store, report["record"], report | {"golden": []})
    n_rows = sum(len(theirs) for theirs in erasure.lakes.values())
    progress.done(f"{n_rows} events, {len(touched)} artefacts")
    return report


def _look(
    erasure: Erasure, lakes: list[str], progress: Progress
) -> tuple[list[tuple[Artefact, Needles]], dict[str, Any]]:
    """Return which artefacts hold something of the person, and who learned from them."""
    from tuneloop.lake.erase import erased_before, find_rows

    for uri in lakes:
        progress.start(f"erase: look into {uri}")
        erasure.lakes[uri] = find_rows(uri, erasure.person)
    learned = _learned(erasure)
    erasure.told = _told(erasure)
    touched = list(_touched(erasure, progress))
    known = any(len(erasure.lakes[uri]) or erased_before(uri, erasure.person) for uri in lakes)
    if not (known or touched or learned["adapters"]):
        raise DataError(
            f"nobody named {erasure.raw!r} is known to tenant {erasure.person.tenant!r}",
            where=erasure.store.root,
            hint="--tenant says whose user it is; --lake names lakes outside the store; people "
            "are found by the key of the pseudonyms that their events were taken in with",
        )
    return touched, learned


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
    return [uri for uri in found if "://" in uri or (Path(uri) / "_delta_log").is_dir()]


def _learned(erasure: Erasure) -> dict[str, Any]:
    """Return who learned from the person, under any of their keys."""
    whole: dict[str, list[Any]] = {"adapters": [], "decisions": [], "generations": []}
    for key in sorted(erasure.person.keys):
        report = subject_report(erasure.store, key)
        for name, rows in whole.items():
            rows += [row for row in report[name] if row not in rows]
    return whole


def _told(erasure: Erasure) -> set[str]:
    """Return what the person wrote, raw and redacted, as far as nobody else wrote the same."""
    from tuneloop.lake.erase import told_by_others

    theirs, others = holdings.texts_held(erasure.store, erasure.needles(shared=True))
    theirs |= {text for known in erasure.lakes.values() for text in known.texts}
    for uri, known in erasure.lakes.items():
        others |= told_by_others(uri, known, theirs)
    return tell_apart(theirs, others)


def _lake_row(uri: str, theirs: Theirs) -> dict[str, Any]:
    return {
        "uri": uri,
        "n_interactions": len(theirs.interactions),
        "n_feedback": len(theirs.feedback),
    }


def _touched(erasure: Erasure, progress: Progress) -> Iterator[tuple[Artefact, Needles]]:
    """Yield artefacts that hold something of the person, and pages that show such ones."""
    store, plain = erasure.store, erasure.needles()
    hit: set[str] = set()
    kinds = holdings.kinds(store)  # golden sets first, whose prompts others name; pages last
    for kind in sorted(kinds, key=lambda kind: (kind in BURIED_WHOLE, kind != "golden", kind)):
        for artefact in store.list_artefacts(kind) if kind not in KEPT else ():
            progress.start(f"erase: look into {kind} {artefact.digest[:12]}")
            if erasures.tombstone(store, artefact.digest) or artefact.digest in hit:
                continue
            needles = _needles_for(erasure, artefact, plain)
            shows = any(parent.digest in hit for parent in artefact.manifest.parents)
            files = (file_of(artefact, name) for name in artefact.manifest.files)
            if (kind in BURIED_WHOLE and shows) or any(mentions(f, needles) for f in files):
                if kind == "golden":
                    found = holdings.golden_prompts(artefact, needles)
                    erasure.golden[artefact.digest] = found
                hit.add(artefact.digest)
                yield artefact, needles


def _needles_for(erasure: Erasure, artefact: Artefact, plain: Needles) -> Needles:
    """Return what to look for in one artefact.

    Ids that other tenants use, too, only where the artefact is of this one; golden prompts only
    in what was made with that golden set.
    """
    store, person = erasure.store, erasure.person
    if artefact.kind == "lake":
        return erasure.needles(*person.aliases)
    made_with = holdings.goldens_above(store, artefact)
    golden = {id for digest in made_with for id in erasure.golden.get(digest, ())}
    shared = any(theirs.shared for theirs in erasure.lakes.values())
    if shared and person.tenant in holdings.tenants(store, artefact):
        return erasure.needles(*golden, shared=True)
    return erasure.needles(*golden) if golden else plain


def _clean(
    erasure: Erasure, touched: list[tuple[Artefact, Needles]], now: datetime, progress: Progress
) -> list[dict[str, Any]]:
    """Write each artefact anew without the person; then bury them all; pages are only buried."""
    store = erasure.store
    rows = []
    for artefact, needles in touched:
        left = None
        if artefact.kind not in BURIED_WHOLE:
            progress.start(f"erase: write {artefact.kind} {artefact.digest[:12]} anew")
            work = store.work / "erasing" / artefact.digest
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            files = {n: write_without(artefact.path(n), work / n, needles)
                     for n in artefact.manifest.files}  # fmt: skip
            left = erasures.rewrite(store, artefact, files).digest
            shutil.rmtree(work)
        rows.append({"kind": artefact.kind, "digest": artefact.digest, "rewritten_as": left})
    for artefact, row in zip((artefact for artefact, _ in touched), rows, strict=True):
        stone = erasures.Erased(
            digest=artefact.digest, kind=artefact.kind, key=artefact.manifest.key, when=now,
            reason=erasure.reason, rewritten_as=row["rewritten_as"],
        )  # fmt: skip
        erasures.bury(store, stone)
    erasures.sweep(store)
    return rows


def _clean_files(store: Store, needles: Needles, progress: Progress) -> list[str]:
    """Remove copies for people, caches and work in progress that mention the person.

    Vectors of texts say what the texts do, and not whose: all of them go. Of files that somebody
    else put into the store's folder, what can be read without the mention stays.
    """
    removed = []
    root = store.local_root
    for path in [root / "blobs" / name for name in erasures.orphans(store)] if root else ():
        if mentions(path, needles):  # a killed stage's
            path.unlink()
            removed.append(str(path))
    for cache in (store.work / "encoder", *sorted(store.work.rglob("vectors"))):
        if cache.is_dir():
            shutil.rmtree(cache)
            removed.append(str(cache))
    folders = [(root or store.work) / "reports", store.work]
    foreign = sorted(p for p in root.iterdir() if p.name not in OURS) if root else []
    for folder in (*folders, *foreign):
        progress.start(f"erase: look into {folder.name}")
        for path in sorted([folder, *folder.rglob("*")]):
            if path.is_file() and mentions(path, needles):
                removed.append(str(path))
                if folder in foreign and path.suffix in WRITABLE:
                    partial = path.with_name(f".{path.name}{path.suffix}")
                    write_without(path, partial, needles).replace(path)
                else:
                    path.unlink()
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
    lines += [f"{would} {path}, or them from it" for path in report.get("files", [])]
    if prompts := {id for row in report["golden"] for id in row["prompts"]}:
        lines += ["", "golden prompts made of theirs; take the lines out of your golden file:"]
        lines += [f"  {id}" for id in sorted(prompts)]
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
