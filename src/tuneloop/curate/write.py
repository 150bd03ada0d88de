"""The curated set's files, in a stable order and form."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tuneloop.artefacts.digest import canonical_json
from tuneloop.artefacts.manifest import Counts
from tuneloop.curate.leak import Leak
from tuneloop.curate.load import Joined
from tuneloop.curate.rows import Dropped, FeedbackRow, Row

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
CURATED = pa.schema(
    [
        ("interaction_id", pa.string()),
        ("tenant", pa.string()),
        ("session_id", pa.string()),
        ("subject_key", pa.string()),
        ("group_id", pa.string()),
        ("cluster_id", pa.string()),
        ("split", pa.string()),
        ("system", pa.string()),
        ("event_ts", pa.string()),
        ("prompt", MESSAGES),
        ("answer", pa.string()),
        ("correction", pa.string()),
        ("score", pa.float64()),
        ("weight", pa.float64()),
        (
            "signals",
            pa.list_(
                pa.struct(
                    [
                        ("feedback_id", pa.string()),
                        ("signal", pa.string()),
                        ("value_json", pa.string()),
                        ("actor", pa.string()),
                    ]
                )
            ),
        ),
    ]
)
PREFERENCES = pa.schema(
    [
        ("winner_id", pa.string()),
        ("loser_id", pa.string()),
        ("feedback_id", pa.string()),
        ("outcome", pa.string()),
        ("weight", pa.float64()),
    ]
)
DROPPED = pa.schema([(name, pa.string()) for name in ("id", "kind", "reason", "detail")])
HISTOGRAM_BINS = 20


@dataclass
class Curation:
    """All that curation found out, ready to be written."""

    joined: Joined
    rows: list[Row]
    dropped: Dropped
    redacted: dict[str, int]
    n_clusters: int
    brigades: list[dict[str, Any]]
    leaks: list[Leak]


def write(result: Curation, folder: Path) -> tuple[dict[str, Path], Counts]:
    """Write the four files; return them by name, and the counts of interactions."""
    preferences = _preferences(result.joined.preferences, result.rows, result.dropped)
    tables = {
        "curated.parquet": pa.Table.from_pylist([_curated(r) for r in result.rows], CURATED),
        "preferences.parquet": pa.Table.from_pylist(preferences, PREFERENCES),
        "dropped.parquet": _dropped(result.dropped),
    }
    files = {}
    for name, table in tables.items():
        files[name] = folder / name
        pq.write_table(table, files[name], compression="zstd")
    files["summary.json"] = folder / "summary.json"
    files["summary.json"].write_text(canonical_json(_summary(result, preferences)), "utf-8")
    counts = Counts(
        n_in=result.joined.n_interactions,
        dropped=result.dropped.counts("interaction"),
        n_out=len(result.rows),
    )
    return files, counts


def _curated(row: Row) -> dict[str, Any]:
    return {
        "interaction_id": row.id,
        "tenant": row.tenant,
        "session_id": row.session_id,
        "subject_key": row.subject_key,
        "group_id": row.group_id,
        "cluster_id": row.cluster_id,
        "split": row.split,
        "system": row.system,
        "event_ts": row.event_ts,
        "prompt": row.messages,
        "answer": row.answer,
        "correction": row.correction,
        "score": row.score,
        "weight": row.weight,
        "signals": [
            {
                "feedback_id": item.id,
                "signal": item.signal,
                "value_json": canonical_json(item.value),
                "actor": item.actor,
            }
            for item in sorted(row.feedback, key=lambda item: (item.ts, item.id))
        ],
    }


def _preferences(
    stated: list[FeedbackRow], rows: list[Row], dropped: Dropped
) -> list[dict[str, Any]]:
    """Return the comparisons whose two interactions and whose feedback all came through."""
    held: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        for item in row.feedback:
            if item.signal == "preference":
                held[item.tenant, item.id].add(row.id)
    gone = {id for id, kind, _, _ in dropped.lines if kind == "feedback"}
    kept = []
    for item in sorted(stated, key=lambda item: (item.id, item.tenant)):
        winner, loser = item.value["winner"], item.value["loser"]
        if {winner, loser} <= held[item.tenant, item.id]:
            outcome = item.value.get("outcome", "better")
            kept.append(
                {
                    "winner_id": winner,
                    "loser_id": loser,
                    "feedback_id": item.id,
                    "outcome": outcome,
                    "weight": 1.0,
                }
            )
        elif item.id not in gone:
            dropped.feedback(item, "target_dropped", "one of the two answers did not come through")
    return kept


def _dropped(dropped: Dropped) -> pa.Table:
    lines = sorted(dropped.lines)
    columns = [[line[i] for line in lines] for i in range(len(DROPPED))]
    return pa.Table.from_arrays([pa.array(c, pa.string()) for c in columns], schema=DROPPED)


def _summary(result: Curation, preferences: list[dict[str, Any]]) -> dict[str, Any]:
    rows, joined = result.rows, result.joined
    scores = np.array([row.score for row in rows])
    heights, edges = np.histogram(scores, bins=HISTOGRAM_BINS, range=(-1.0, 1.0))
    return {
        "interactions": {
            "n_in": joined.n_interactions,
            "n_out": len(rows),
            "dropped": result.dropped.counts("interaction"),
        },
        "feedback": {
            "n_in": joined.n_feedback,
            "n_out": len({(item.tenant, item.id) for row in rows for item in row.feedback}),
            "n_waiting": joined.n_waiting,
            "dropped": result.dropped.counts("feedback"),
        },
        "preferences": dict(sorted(Counter(p["outcome"] for p in preferences).items())),
        "redactions": dict(sorted(result.redacted.items())),
        "clusters": {
            "n_seen": result.n_clusters,
            "n_out": len({row.cluster_id for row in rows}),
            "largest": max(Counter(row.cluster_id for row in rows).values(), default=0),
        },
        "splits": dict(sorted(Counter(row.split for row in rows).items())),
        "groups": len({row.group_id for row in rows}),
        "brigades": result.brigades,
        "leaks": [asdict(leak) for leak in result.leaks],
        "scores": {
            "edges": [round(float(edge), 2) for edge in edges],
            "counts": heights.tolist(),
            "mean": round(float(scores.mean()), 6) if len(scores) else None,
        },
        "by_system": _by_system(rows),
        "by_signal": dict(
            sorted(Counter(item.signal for row in rows for item in row.feedback).items())
        ),
    }


def _by_system(rows: list[Row]) -> dict[str, dict[str, Any]]:
    scores: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        scores[row.system or "unknown"].append(row.score)
    return {
        system: {"n": len(found), "mean_score": round(sum(found) / len(found), 6)}
        for system, found in sorted(scores.items())
    }
