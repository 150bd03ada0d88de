"""How well the golden set covers what is asked in production."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.curate.overlap import Overlap
from tuneloop.curate.semantic import nearest
from tuneloop.golden_set.edit import question, slice_counts
from tuneloop.golden_set.traffic import Row

if TYPE_CHECKING:
    from tuneloop.runtime.encoder import Encoder

MIN_SHARE = 0.01
"""A cohort of less traffic is no gap."""
GAP = 0.25
"""A cohort is a gap where its share of the golden set is under this part of its traffic's."""
FAR = 0.5
"""Below this cosine (or likeness of words) nothing golden asks anything like it."""
N_COMPARED = 2_000
BINS = [round(0.1 * i, 1) for i in range(11)]
MAX_LISTED = 10


def summarise(prompts: Sequence[GoldenPrompt]) -> dict[str, Any]:
    """Return what a golden file holds."""
    active = [prompt for prompt in prompts if prompt.status == "active"]
    return {
        "by_status": dict(sorted(Counter(prompt.status for prompt in prompts).items())),
        "by_owner": dict(sorted(Counter(prompt.owner or "" for prompt in active).items())),
        "slices": dict(sorted(slice_counts(prompts).items())),
        "without_checks_and_reference": [
            prompt.id for prompt in active if not prompt.checks and prompt.reference is None
        ],
        "waiting": [prompt.id for prompt in prompts if prompt.status == "candidate"],
    }


def coverage(
    rows: Iterable[Row], prompts: Sequence[GoldenPrompt], encoder: Encoder | None
) -> dict[str, Any]:
    """Return shares of traffic beside shares of the active golden set, and the gaps.

    A golden slice covers a cohort if it is called like it: `intent:refund`, or `refund`.
    Questions are compared by meaning with an encoder, by shared rare words without; of many,
    the 2,000 that are asked most often.
    """
    active = [prompt for prompt in prompts if prompt.status == "active"]
    cohorts: Counter[tuple[str, str]] = Counter()
    clusters: Counter[str] = Counter()
    asked: dict[str, str] = {}
    n_rows = 0
    for row in rows:
        n_rows += 1
        cohorts.update(row.cohorts.items())
        clusters[row.cluster] += 1
        asked.setdefault(row.cluster, row.question)
    table = [
        _cohort(kind, name, n / n_rows, active)
        for (kind, name), n in sorted(cohorts.items(), key=lambda item: (-item[1], item[0]))
    ]
    most = [key for key, _ in sorted(clusters.items(), key=lambda item: (-item[1], item[0]))]
    most = most[:N_COMPARED]
    similarity = _similarity([asked[key] for key in most], active, encoder)
    weights = np.array([clusters[key] for key in most], dtype=np.int64)
    counts, _ = np.histogram(np.clip(similarity, 0, 1), bins=BINS, weights=weights)
    far = [i for i in np.flatnonzero(similarity < FAR).tolist() if weights[i] > 1][:MAX_LISTED]
    return {
        "n_rows": n_rows,
        "n_questions": len(clusters),
        "cohorts": table,
        "gaps": [f"{row['kind']}:{row['name']}" for row in table if row["gap"]],
        "nearest": {
            "by": "meaning" if encoder else "words",
            "bins": BINS,
            "rows": [int(n) for n in counts],
            "share_far": round(float(weights[similarity < FAR].sum() / max(weights.sum(), 1)), 4),
        },
        "far_questions": [
            {"question": asked[most[i]], "rows": int(weights[i]),
             "similarity": round(float(similarity[i]), 3)}
            for i in far
        ],
    }  # fmt: skip


def _cohort(kind: str, name: str, share: float, active: Sequence[GoldenPrompt]) -> dict[str, Any]:
    n = sum(1 for prompt in active if {name, f"{kind}:{name}"} & set(prompt.slices))
    golden = n / max(len(active), 1)
    gap = share >= MIN_SHARE and golden < GAP * share
    return {"kind": kind, "name": name, "traffic": round(share, 4), "golden": round(golden, 4),
            "n_golden": n, "gap": gap}  # fmt: skip


def _similarity(
    questions: list[str], active: Sequence[GoldenPrompt], encoder: Encoder | None
) -> np.ndarray:
    if not questions or not active:
        return np.zeros(len(questions), dtype=np.float32)
    held = [question(prompt) for prompt in active]
    if encoder is not None:
        return nearest(encoder.encode(questions), encoder.encode(held))[1]
    return Overlap(held, near=1, contained=2).likeness(pa.array(questions, type=pa.large_string()))


def summary_lines(report: dict[str, Any]) -> list[str]:
    """Return a status report as lines for people."""
    counts = ", ".join(f"{n} {status}" for status, n in report["by_status"].items())
    used = "used by a run" if report.get("in_store") else "not used by any run yet"
    lines = [f"golden set {report['digest'][:12]} ({used}): {counts or 'empty'}"]
    owners = ", ".join(f"{name or 'nobody'} {n}" for name, n in report["by_owner"].items())
    lines += [f"  owners: {owners}"] if owners else []
    lines += [f"  {n:>5}  {name}" for name, n in report["slices"].items()]
    bare = report["without_checks_and_reference"]
    lines += [f"  {len(bare)} active prompts have neither checks nor a reference"] if bare else []
    waiting = report["waiting"]
    lines += [f"  {len(waiting)} candidates wait for `golden review`"] if waiting else []
    return lines + (_coverage_lines(report["coverage"]) if report.get("coverage") else [])


def _coverage_lines(found: dict[str, Any]) -> list[str]:
    lines = [f"traffic: {found['n_rows']:,} rows, {found['n_questions']:,} different questions"]
    lines += [
        f"  {row['kind']}:{row['name']:<28} traffic {row['traffic']:>6.1%}  "
        f"golden {row['golden']:>6.1%} ({row['n_golden']}){'  GAP' if row['gap'] else ''}"
        for row in found["cohorts"]
    ]
    near = found["nearest"]
    most = max([*near["rows"], 1])
    lines.append(f"nearest golden prompt, by {near['by']} (rows):")
    lines += [
        f"  {low:.1f}-{high:.1f} {n:>8,} {'#' * round(40 * n / most)}"
        for low, high, n in zip(near["bins"], near["bins"][1:], near["rows"], strict=False)
    ]
    if found["far_questions"]:
        lines.append("asked often, and unlike anything golden:")
    lines += [f"  {row['rows']:>5}  {row['question'][:90]}" for row in found["far_questions"]]
    return lines
