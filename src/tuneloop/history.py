"""Looking back: runs, champions, and the way from a decision to its events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tuneloop.artefacts import runs
from tuneloop.artefacts.aliases import AliasName, generations, list_aliases
from tuneloop.artefacts.digest import digest_file
from tuneloop.artefacts.manifest import FileRef, contents_digest
from tuneloop.artefacts.store import Artefact, Store
from tuneloop.errors import StoreError


def status_report(store: Store, name: str, alias: AliasName) -> dict[str, Any]:
    """Return the runs of `name`, each stage with its digest, and the champion."""
    history = generations(store, alias)
    return {
        "store": store.root,
        "runs": [
            {"run": run.run_id, "name": run.name, "stages": run.stages}
            for run in runs.list_runs(store, name)
        ],
        "champion": history[-1].model_dump(mode="json") if history else None,
    }


def status_lines(report: dict[str, Any]) -> list[str]:
    """Return a status report as lines for people."""
    lines = [f"store {report['store']}"]
    for run in report["runs"]:
        done = "  ".join(f"{s} {row['digest'][:8]}" for s, row in run["stages"].items())
        lines.append(f"{run['run']}  {done or 'nothing finished'}")
    champion = report["champion"]
    if champion:
        lines.append(f"champion: {champion['system']['name']} {champion['digest'][:12]} "
                     f"(generation {champion['number']}, {champion['at']})")  # fmt: skip
    else:
        lines.append("champion: none promoted yet; the base model is")
    return lines


def registry_report(store: Store) -> list[dict[str, Any]]:
    """Return every alias with its generations, oldest first."""
    return [
        alias.model_dump()
        | {"generations": [g.model_dump(mode="json") for g in generations(store, alias)]}
        for alias in list_aliases(store)
    ]


def registry_lines(report: list[dict[str, Any]]) -> list[str]:
    """Return the registry as lines for people."""
    lines = []
    for alias in report:
        lines.append(f"{alias['tenant']}/{alias['task']}/{alias['env']} {alias['name']}")
        for row in alias["generations"]:
            mark = "*" if row is alias["generations"][-1] else " "
            lines.append(
                f" {mark} {row['number']:>3}  {row['system']['name']} {row['digest'][:12]}  "
                f"{row['at'][:19]}  {row['actor']}: {row['reason']}"
            )
    return lines or ["no champion was promoted yet"]


def lineage_report(store: Store, what: str, *, events: bool = False) -> dict[str, Any]:
    """Return an artefact and, below `parents`, everything it was made from.

    Args:
        store: Where the artefacts are.
        what: Path of a decision.json, or a digest or the beginning of one.
        events: Also list the interactions behind the training rows and the lake they are in.

    Raises:
        StoreError: if the store does not know it, or a parent is gone.
    """
    artefact = _resolve(store, what)
    report = _node(store, artefact, role="", seen={})
    if events:
        report["events"] = _events(_ancestors(store, artefact))
    return report


def _resolve(store: Store, what: str) -> Artefact:
    path = Path(what)
    if path.is_file():
        ref = FileRef(digest=digest_file(path), n_bytes=path.stat().st_size)
        what = contents_digest("decide", {"decision.json": ref})
    return store.by_digest(what)[0]


def _node(store: Store, artefact: Artefact, *, role: str, seen: dict[str, bool]) -> dict[str, Any]:
    manifest = artefact.manifest
    node: dict[str, Any] = {
        "role": role,
        "kind": manifest.kind,
        "digest": manifest.digest,
        "key": manifest.key,
        "counts": manifest.counts.model_dump(),
        "started_at": manifest.started_at,
    }
    if manifest.key in seen:
        return node | {"parents": "shown above"}
    seen[manifest.key] = True
    node["details"] = manifest.details
    parents = []
    for ref in manifest.parents:
        if ref.key is None:
            parents.append({"role": ref.role, "kind": ref.kind, "digest": ref.digest})
            continue
        found = store.find(ref.kind, ref.key)
        if found is None:
            raise StoreError(f"parent {ref.kind} {ref.digest[:12]} is gone", where=store.root)
        parents.append(_node(store, found, role=ref.role, seen=seen))
    return node | {"parents": parents}


def _ancestors(store: Store, artefact: Artefact) -> dict[str, Artefact]:
    found = {artefact.kind: artefact}
    for ref in artefact.manifest.parents:
        above = store.find(ref.kind, ref.key) if ref.key else None
        if above:
            found |= _ancestors(store, above)
    return found


def _events(ancestors: dict[str, Artefact]) -> dict[str, Any]:
    """Return the interactions and feedback that the training rows were made from."""
    import pyarrow.parquet as pq

    if "build" not in ancestors or "curate" not in ancestors:
        raise StoreError("no training set is behind this artefact")
    interactions: set[str] = set()
    build = ancestors["build"]
    for name in build.manifest.files:
        if name.endswith("_train.parquet"):
            table = pq.read_table(build.path(name), columns=["interaction_id"])
            interactions.update(table.column("interaction_id").to_pylist())
    rows = pq.read_table(
        ancestors["curate"].path("curated.parquet"), columns=["interaction_id", "signals"]
    ).to_pylist()
    feedback = {
        signal["feedback_id"]
        for row in rows
        if row["interaction_id"] in interactions
        for signal in row["signals"]
    }
    lake = ancestors["lake"].manifest.details if "lake" in ancestors else {}
    return {
        "lake": {"uri": lake.get("uri"), "version": lake.get("version")},
        "interactions": sorted(interactions),
        "feedback": sorted(feedback),
    }


def lineage_lines(report: dict[str, Any], depth: int = 0) -> list[str]:
    """Return a lineage report as an indented tree."""
    indent = "  " * depth
    role = f"{report['role']}: " if report.get("role") and report["role"] != report["kind"] else ""
    counts = report.get("counts") or {}
    shown = f"  {counts['n_in']:,} → {counts['n_out']:,}" if counts.get("n_in") else ""
    lines = [f"{indent}{role}{report['kind']} {report['digest'][:12]}{shown}"]
    if report["kind"] == "lake" and report.get("details"):
        details = report["details"]
        lines.append(f"{indent}  table {details.get('uri')} version {details.get('version')}")
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
