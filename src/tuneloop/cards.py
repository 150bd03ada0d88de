"""Cards of sets, and what changed from one set to another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tuneloop.artefacts.store import Artefact, Store
from tuneloop.errors import DataError

KINDS = ("sft", "preference", "kto")
SPLITS = ("train", "validation")
N_EXAMPLES = 3
MOST_CHARS = 300
_MARKS = {"added": "+", "removed": "-", "changed": "~"}

Rows = dict[str, tuple[str, float, str]]
"""Row id → (rule, weight, split)."""


def built_set(store: Store, digest: str) -> Artefact:
    """Return the newest built set with this digest, or a digest that begins so.

    Raises:
        DataError: if that is the digest of something else.
    """
    found = store.by_digest(digest)
    sets = [artefact for artefact in found if artefact.kind == "build"]
    if not sets:
        raise DataError(
            f"{digest!r} is a {found[0].kind}, not a built set",
            where=store.root,
            hint="`tuneloop status` shows the digests of the build stage",
        )
    return max(sets, key=lambda artefact: artefact.manifest.started_at)


def card_report(store: Store, digest: str) -> dict[str, Any]:
    """Return a set's card, and its text as `markdown`.

    Of a set that an erasure left, `rewritten_from` is the set as it was, and `rows_left` its rows
    by kind: its card's counts are of before.
    """
    built = built_set(store, digest)
    if "card.json" not in built.manifest.files:
        raise DataError(
            f"{built.digest[:12]} was built without a card",
            where=store.root,
            hint="run `tuneloop build --force` once",
        )
    text = built.path("card.md").read_text(encoding="utf-8")
    report = {"digest": built.digest, "card": built.json("card.json"), "markdown": text}
    before = built.manifest.details.get("rewritten_from")
    if before is None:
        return report
    left = {kind: len(_rows(built, kind)) for kind in KINDS}
    return report | {"rewritten_from": before, "rows_left": left}


def card_lines(report: dict[str, Any]) -> list[str]:
    """Return a card as lines for people."""
    text: str = report["markdown"]
    lines = [f"set {report['digest']}"]
    if "rewritten_from" in report:
        left = ", ".join(f"{n:,} {kind}" for kind, n in report["rows_left"].items())
        lines.append(
            f"rewritten by an erasure from {report['rewritten_from'][:12]}: {left} rows are left; "
            "the counts below are of before"
        )
    return [*lines, "", *text.splitlines()]


def diff_sets(store: Store, old: str, new: str) -> dict[str, Any]:
    """Return what changed from one set to another.

    A row is the same where its kind, prompt and texts are; `changed` rows are those whose rule,
    weight or split is another.

    Returns:
        `old`, `new` (digests); `kinds`: by kind, counts of added, removed, changed and kept
        rows, `by_rule` with the rows of both, `shifts` (what the cards say of both sides), and
        `examples`.
    """
    before, after = built_set(store, old), built_set(store, new)
    kinds: dict[str, Any] = {}
    for kind in KINDS:
        then, now = _rows(before, kind), _rows(after, kind)
        ids = {
            "added": sorted(now.keys() - then.keys()),
            "removed": sorted(then.keys() - now.keys()),
            "changed": sorted(i for i in then.keys() & now.keys() if then[i] != now[i]),
        }
        kinds[kind] = {
            **{name: len(found) for name, found in ids.items()},
            "kept": len(then.keys() & now.keys()) - len(ids["changed"]),
            "by_rule": _by_rule(then, now),
            "shifts": _shifts(before, after, kind),
            "examples": {
                name: _examples(before if name == "removed" else after, kind, found[:N_EXAMPLES])
                for name, found in ids.items()
            },
        }
    config = _config_changes(before.manifest.config, after.manifest.config)
    return {"old": before.digest, "new": after.digest, "config": config, "kinds": kinds}


def _rows(built: Artefact, kind: str) -> Rows:
    found: Rows = {}
    for split in SPLITS:
        for table in _groups(built, f"{kind}_{split}.parquet", ["row_id", "rule", "weight"]):
            columns = (table.column(name).to_pylist() for name in ("row_id", "rule", "weight"))
            found |= {i: (rule, weight, split) for i, rule, weight in zip(*columns, strict=True)}
    return found


def _groups(built: Artefact, name: str, columns: list[str] | None = None) -> Iterator[Any]:
    import pyarrow.parquet as pq

    if name in built.manifest.files:
        file = pq.ParquetFile(built.path(name), pre_buffer=False)
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=columns)


def _by_rule(then: Rows, now: Rows) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for side, rows in (("old", then), ("new", now)):
        for rule, _, _ in rows.values():
            counts.setdefault(rule, {"old": 0, "new": 0})[side] += 1
    return dict(sorted(counts.items()))


def _shifts(before: Artefact, after: Artefact, kind: str) -> dict[str, Any]:
    """Return lengths, weights and length bias of both sides where their summaries hold them."""
    sides = [artefact.json("summary.json") for artefact in (before, after)]
    found: dict[str, Any] = {}
    for name in ("prompt_chars", "answer_chars", "weight"):
        old, new = ((side.get(kind) or {}).get(name) for side in sides)
        if old and new:
            found[name] = {
                figure: {"old": old[figure], "new": new[figure]}
                for figure in ("mean", "p50", "p95")
            }
    if kind == "preference":
        bias = [(side.get("length_bias") or {}).get("after") or {} for side in sides]
        found["share_longer"] = {
            name: b.get("share_longer") for name, b in zip(("old", "new"), bias, strict=True)
        }
    return found


def _examples(built: Artefact, kind: str, ids: list[str]) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array(ids, pa.string())
    rows: list[dict[str, Any]] = []
    for split in SPLITS if ids else ():
        for table in _groups(built, f"{kind}_{split}.parquet"):
            rows += table.filter(pc.is_in(table.column("row_id"), wanted)).to_pylist()
    return sorted(rows, key=lambda row: row["row_id"])


def _config_changes(then: dict[str, Any], now: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the keys of the two configs that differ, with both values."""
    found: dict[str, Any] = {}
    for key in sorted(then.keys() | now.keys()):
        old, new = then.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found |= _config_changes(old, new, f"{prefix}{key}.")
        elif old != new:
            found[f"{prefix}{key}"] = {"old": old, "new": new}
    return found


def diff_lines(report: dict[str, Any]) -> list[str]:
    """Return a difference as lines for people."""
    lines = [f"{report['old'][:12]} → {report['new'][:12]}"]
    lines += [f"  config {key}: {value['old']} → {value['new']}"
              for key, value in report["config"].items()]  # fmt: skip
    for kind, found in report["kinds"].items():
        lines.append(f"{kind}: {found['added']:,} added, {found['removed']:,} removed, "
                     f"{found['changed']:,} changed, {found['kept']:,} kept")  # fmt: skip
        lines += [f"  {rule}: {n['old']:,} → {n['new']:,}" for rule, n in found["by_rule"].items()
                  if n["old"] != n["new"]]  # fmt: skip
        for name, shift in found["shifts"].items():
            lines += _shift_lines(name, shift)
        for name, rows in found["examples"].items():
            lines += [
                f"  {_MARKS[name]} {row['row_id']} {row['rule']} {_text(row)}" for row in rows
            ]
    return lines


def _shift_lines(name: str, shift: dict[str, Any]) -> list[str]:
    if "old" in shift:
        return (
            [f"  {name}: {shift['old']} → {shift['new']}"] if shift["old"] != shift["new"] else []
        )
    moved = [f"{figure} {side['old']:g} → {side['new']:g}" for figure, side in shift.items()
             if side["old"] != side["new"]]  # fmt: skip
    return [f"  {name}: {', '.join(moved)}"] if moved else []


def _text(row: dict[str, Any]) -> str:
    sides = [row[name] for name in ("prompt", "completion", "chosen", "rejected") if row.get(name)]
    said = " | ".join(" ".join((side[-1]["content"] or "").split()) for side in sides)
    return said if len(said) <= MOST_CHARS else f"{said[:MOST_CHARS]}…"
