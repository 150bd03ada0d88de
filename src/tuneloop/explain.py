"""Where one training row comes from: its rule, events and versions; and who learned from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tuneloop.artefacts.store import Artefact, Store
from tuneloop.errors import DataError
from tuneloop.lineage import TRAINED_ON

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = ("sft", "preference", "kto")
SPLITS = ("train", "validation")
MIN_PREFIX = 4
MOST_CHARS = 2_000
FACTS = ("event_ts", "system", "source", "segment", "intent", "output_terms", "score", "weight")
VERSIONS = ("key", "code", "seed", "environment")


@dataclass(frozen=True)
class _Found:
    """One row of one built set."""

    built: Artefact
    kind: str
    split: str
    row: dict[str, Any]


def explain(store: Store, row_id: str, *, built: str | None = None) -> dict[str, Any]:
    """Return everything behind a row of the newest set that holds it.

    Args:
        store: Where the artefacts are.
        row_id: The row's id, or the beginning of it.
        built: Only this set: its digest, or the beginning of it.

    Returns:
        `row` (its messages, rule, weight), `rule` (as the config declares it), `interactions`
        (each with its curated row and its feedback: signal, value, actor, weight, and whether
        the row rests on it), `versions` (set, curated set, lake, code), `adapters` that were
        trained on it, and `sets` (every set that holds it).

    Raises:
        DataError: if no set holds such a row, or the prefix fits several rows.
    """
    if len(row_id) < MIN_PREFIX:
        raise DataError(f"{row_id!r} is too short", where="explain", hint="give four digits")
    found = list(_find(store, row_id, built))
    ids = sorted({one.row["row_id"] for one in found})
    if not ids:
        raise DataError(
            f"no built set holds a row {row_id!r}",
            where=store.root,
            hint="row ids stand in the files of a set: `tuneloop card DIGEST` shows some",
        )
    if len(ids) > 1:
        shown = ", ".join(ids[:5])
        raise DataError(f"{row_id!r} fits {len(ids)} rows: {shown}", hint="give more digits")
    newest = max(found, key=lambda one: (one.built.manifest.started_at, one.built.digest))
    curated = _parent(store, newest.built, "curated")
    return {
        "row": newest.row,
        "kind": newest.kind,
        "split": newest.split,
        "rule": _rule(newest),
        "interactions": _interactions(curated, newest.row) if curated else [],
        "versions": _versions(store, newest.built, curated),
        "adapters": _adapters(store, newest),
        "sets": sorted({one.built.digest for one in found}),
    }


def _find(store: Store, row_id: str, built: str | None) -> Iterator[_Found]:
    for artefact in store.list_artefacts("build"):
        if built is not None and not artefact.digest.startswith(built):
            continue
        for kind in KINDS:
            for split in SPLITS:
                name = f"{kind}_{split}.parquet"
                if name in artefact.manifest.files:
                    for row in _matching(artefact, name, row_id):
                        yield _Found(artefact, kind, split, row)


def _matching(artefact: Artefact, name: str, row_id: str) -> Iterator[dict[str, Any]]:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    file = pq.ParquetFile(artefact.path(name), pre_buffer=False)
    for group in range(file.num_row_groups):
        ids = file.read_row_group(group, columns=["row_id"]).column("row_id")
        hits = pc.starts_with(ids, row_id)
        if pc.any(hits).as_py():
            yield from file.read_row_group(group).filter(hits).to_pylist()


def _rule(found: _Found) -> dict[str, Any]:
    """Return the rule as the set's own config declared it."""
    name = found.row["rule"]
    declared = found.built.manifest.config.get("rules", {}).get(name)
    if declared is None and name == "replay":
        declared = found.built.manifest.config.get("replay")
    return {"name": name, "declared": declared}


def _interactions(curated: Artefact, row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the curated rows behind a row, and of each all feedback, in the row's order."""
    used = set(row["feedback_ids"])
    stated = _stated(curated, used)
    rows = {r["interaction_id"]: r for r in _curated_rows(curated, row["interaction_ids"])}
    found = []
    for id in row["interaction_ids"]:
        curated_row = rows.get(id)
        if curated_row is None:
            found.append({"interaction_id": id, "curated": None, "feedback": []})
            continue
        feedback = curated_row.pop("signals")
        feedback += [f for f in stated if id in (f["winner_id"], f["loser_id"])
                     and f["feedback_id"] not in {s["feedback_id"] for s in feedback}]  # fmt: skip
        for said in feedback:
            said["used"] = said["feedback_id"] in used
            if said["signal"] in ("correction", "edit"):
                said["changed"] = _changed(curated_row["answer"], said["value_json"])
        found.append({"interaction_id": id, "curated": curated_row, "feedback": feedback})
    return found


def _changed(answer: str | None, value: str | None) -> dict[str, float] | None:
    """Return what a correction or an edit changed, as shares; None where it is no text."""
    from tuneloop.curate.signals.edits import describe_edit

    text = json.loads(value or "null")
    if not isinstance(text, str):
        return None
    edit = asdict(describe_edit(answer or "", text))
    return {name: round(share, 4) for name, share in edit.items()}


def _curated_rows(curated: Artefact, ids: list[str]) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array(ids, pa.string())

    def behind(table: pa.Table) -> pa.Table:
        return table.filter(pc.is_in(table.column("interaction_id"), wanted))

    return [
        row for table in _groups(curated, "curated.parquet") for row in behind(table).to_pylist()
    ]


def _stated(curated: Artefact, used: set[str]) -> list[dict[str, Any]]:
    """Return the comparisons that are among the feedback used, one entry a piece."""
    return [
        row | {"signal": "preference", "feedback_id": id}
        for table in _groups(curated, "preferences.parquet")
        for row in table.to_pylist()
        for id in row.pop("feedback_ids", None) or [row["feedback_id"]]
        if id in used
    ]


def _groups(artefact: Artefact, name: str) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    if name not in artefact.manifest.files:
        return
    file = pq.ParquetFile(artefact.path(name), pre_buffer=False)
    for group in range(file.num_row_groups):
        yield file.read_row_group(group)


def _parent(store: Store, artefact: Artefact, role: str) -> Artefact | None:
    """Return the very artefact that went in, or None where it is gone."""
    for ref in artefact.manifest.parents:
        if ref.role == role and ref.key:
            return store.find(ref.kind, ref.key, digest=ref.digest)
    return None


def _versions(store: Store, built: Artefact, curated: Artefact | None) -> dict[str, Any]:
    lake = _parent(store, curated, "lake") if curated else None
    return {
        name: None
        if artefact is None
        else {"digest": artefact.digest, "details": _place(artefact)}
        | {field: getattr(artefact.manifest, field) for field in VERSIONS}
        for name, artefact in (("set", built), ("curated", curated), ("lake", lake))
    }


def _place(artefact: Artefact) -> dict[str, Any]:
    details = artefact.manifest.details
    return {name: details[name] for name in ("uri", "version") if name in details}


def _adapters(store: Store, found: _Found) -> list[dict[str, Any]]:
    """Return the adapters trained on the set and kind of a row, and what they saw it as."""
    trained = []
    for kind, reads in TRAINED_ON.items():
        if reads != found.kind:
            continue
        for adapter in store.list_artefacts(kind):
            digests = {p.digest for p in adapter.manifest.parents if p.role == "examples"}
            stops_early = adapter.manifest.config.get("early_stopping_patience") is not None
            if found.built.digest in digests and (found.split == "train" or stops_early):
                use = "trained on" if found.split == "train" else "chose when to stop"
                trained.append({"kind": kind, "digest": adapter.digest, "use": use})
    return trained


def explain_lines(report: dict[str, Any]) -> list[str]:
    """Return an explanation as lines for people."""
    row, rule = report["row"], report["rule"]
    lines = [f"{report['kind']} row {row['row_id']} ({report['split']}), weight {row['weight']:g}"]
    lines += [f"  {name}/{m['role']}: {_short(m['content'] or m['tool_calls'])}"
              for name in ("prompt", "completion", "chosen", "rejected")
              for m in row.get(name) or []]  # fmt: skip
    if row.get("label") is not None:
        lines.append(f"  label: {'good' if row['label'] else 'bad'}")
    declared = {k: v for k, v in (rule["declared"] or {}).items() if v not in (None, [], False)}
    said = ", ".join(f"{name} {_listed(value)}" for name, value in declared.items())
    lines += [f"made by rule {rule['name']}: {said or 'which its config does not declare'}"]
    for one in report["interactions"]:
        lines += _interaction_lines(one)
    for name, version in report["versions"].items():
        if version:
            place = " ".join(f"{k} {v}" for k, v in version["details"].items())
            lines.append(
                f"{name} {version['digest'][:12]}, code {version['code'][:12]} {place}".rstrip()
            )
    lines += [f"{a['use']}: {a['kind']} {a['digest'][:12]}" for a in report["adapters"]]
    return lines if report["adapters"] else [*lines, "no adapter was trained on it"]


def _interaction_lines(one: dict[str, Any]) -> list[str]:
    curated = one["curated"]
    if curated is None:
        return [f"interaction {one['interaction_id']}: no longer in the curated set"]
    facts = [f"{name} {curated[name]}" for name in FACTS if curated.get(name) is not None]
    lines = [f"interaction {one['interaction_id']}: {', '.join(facts)}"]
    for said in one["feedback"]:
        value = said.get("value_json") or said.get("outcome")
        weight = said.get("weight")
        counted = "" if weight is None else f", weight {weight:g}"
        mark = "used" if said["used"] else "not used"
        lines.append(f"  {said['signal']} {_short(value)} by {said.get('actor') or 'somebody'}"
                     f"{counted} ({said['feedback_id']}, {mark})")  # fmt: skip
        if said.get("comment"):
            lines.append(f"    comment: {_short(said['comment'])}")
        if changed := said.get("changed"):
            kinds = ("replaced", "inserted", "deleted")
            shares = ", ".join(f"{changed[kind]:.0%} {kind}" for kind in kinds)
            lines.append(f"    of its words {shares}; {changed['similarity']:.0%} alike")
    return lines


def _listed(value: Any) -> str:
    return "/".join(map(str, value)) if isinstance(value, list) else str(value)


def _short(text: str | None) -> str:
    plain = " ".join((text or "").split())
    return plain if len(plain) <= MOST_CHARS else f"{plain[:MOST_CHARS]}…"
