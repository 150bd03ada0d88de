"""The files of a curated set, and the summary of what happened to everything that came in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tuneloop.artefacts.digest import canonical_json
from tuneloop.artefacts.stage import StageContext
from tuneloop.curate.columns import SIGNALS
from tuneloop.curate.gates import Gated
from tuneloop.curate.split import VALIDATION
from tuneloop.curate.write import Writer, tell, write_preferences

HISTOGRAM_BINS = 20


def write_set(gated: Gated, context: StageContext, *, tenant: str) -> dict[str, Path]:
    """Write the four files; return them by name."""
    read, folder = gated.read, context.work
    interactions = read.assembled.interactions
    names = ("curated.parquet", "preferences.parquet", "dropped.parquet", "summary.json")
    files = {name: folder / name for name in names}
    told = tell(read.joined, gated.feedback, gated.found, gated.kept)
    writer = Writer(tenant, interactions, gated.kept, gated.side, gated.groups, gated.found, told,
                    read.texts)  # fmt: skip
    writer.write(files["curated.parquet"], context.progress)
    outcomes = write_preferences(
        files["preferences.parquet"], interactions, read.joined.preferences, gated.found,
        gated.kept,
    )  # fmt: skip
    summary = summarise(gated, outcomes)
    read.dropped.write(files["dropped.parquet"])
    files["summary.json"].write_text(canonical_json(summary), "utf-8")
    return files


def summarise(gated: Gated, outcomes: dict[str, int]) -> dict[str, Any]:
    """Return the summary: counts in, out and by reason, and what every gate found."""
    read, kept, groups = gated.read, gated.kept, gated.groups
    dropped, score = read.dropped, gated.found.score[kept]
    heights, edges = np.histogram(score, bins=HISTOGRAM_BINS, range=(-1.0, 1.0))
    held = int((gated.side[kept] == VALIDATION).sum())
    sides = {"train": int(kept.sum()) - held, "validation": held}
    return {
        "interactions": {
            "n_in": read.n_interactions,
            "n_out": int(kept.sum()),
            "dropped": dropped.counts("interaction"),
        },
        "feedback": {
            "n_in": read.n_feedback,
            "n_out": _n_feedback(gated),
            "n_waiting": read.joined.n_waiting,
            "dropped": dropped.counts("feedback"),
        },
        "preferences": outcomes,
        "redactions": {
            kind: n["replaced"] for kind, n in read.redactions.summary()["by_kind"].items()
        },
        "redaction": read.redactions.summary(),
        "clusters": {
            "n_seen": len(np.unique(read.assembled.interactions.cluster)),
            "n_out": groups.n_clusters,
            "largest": groups.largest_cluster,
        },
        "splits": {side: n for side, n in sides.items() if n},
        "groups": groups.n_groups,
        "brigades": gated.distrusted.rows,
        "trust": gated.distrusted.counts,
        "leaks": gated.report["golden"].pop("leaks", []),
        "scores": {
            "edges": [round(float(edge), 2) for edge in edges],
            "counts": heights.tolist(),
            "mean": round(float(score.mean()), 6) if len(score) else None,
        },
        "by_system": _by_system(gated),
        "by_signal": _by_signal(gated),
        "evidence": gated.found.report,
        **gated.report,
    }


def _n_feedback(gated: Gated) -> int:
    feedback, preferences = gated.feedback, gated.read.joined.preferences
    kept = gated.kept
    single = kept[feedback.row] & (feedback.trust > 0) & ~feedback.derived
    double = kept[preferences.first] & kept[preferences.second] & (preferences.trust > 0)
    return int(single.sum() + double.sum())


def _by_signal(gated: Gated) -> dict[str, int]:
    feedback, preferences = gated.feedback, gated.read.joined.preferences
    kept = gated.kept
    used = feedback.signal[kept[feedback.row] & (feedback.trust > 0)]
    counts = dict(zip(SIGNALS, np.bincount(used, minlength=len(SIGNALS)).tolist(), strict=True))
    double = kept[preferences.first] & kept[preferences.second] & (preferences.trust > 0)
    counts["preference"] = int(double.sum())
    return {name: n for name, n in sorted(counts.items()) if n}


def _by_system(gated: Gated) -> dict[str, dict[str, Any]]:
    interactions = gated.read.assembled.interactions
    code, score = interactions.codes["system"][gated.kept], gated.found.score[gated.kept]
    names = [*interactions.names["system"].to_pylist(), "unknown"]
    n = np.bincount(code % len(names), minlength=len(names))
    total = np.bincount(code % len(names), score, minlength=len(names))
    return {
        name: {"n": int(n[i]), "mean_score": round(float(total[i] / n[i]), 6)}
        for name, i in sorted(zip(names, range(len(names)), strict=True))
        if n[i]
    }
