"""Candidates for the golden set, from feedback that people confirmed; nothing is taken unseen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tuneloop.artefacts.golden import GoldenPrompt, GoldenSource
from tuneloop.curate.overlap import Overlap
from tuneloop.golden_set.edit import NEAR, question, slice_counts
from tuneloop.golden_set.traffic import Row

MIN_WEIGHT = 0.8
"""Evidence below this is a hint, no confirmation."""
MIN_SCORE = 0.5
SEEN = "seen-in-training"
"""Tag of a candidate from the training part: adapters of earlier runs may know it."""


@dataclass(frozen=True)
class Proposal:
    """A candidate and why it was chosen."""

    prompt: GoldenPrompt
    why: dict[str, Any]


def propose(rows: Iterable[Row], golden: Sequence[GoldenPrompt], *, n: int) -> list[Proposal]:
    """Return up to `n` candidates: confirmed by people, diverse, uncovered slices first.

    A row is confirmed by a correction in force (which becomes the reference) or by explicit
    feedback that agrees the answer is good (which becomes it). One row of each cluster of near
    questions is taken, and none that nearly repeats a golden prompt of any status: what was
    rejected once is not proposed again. Within an intent, reviewers come before users, and rows
    that were held out of training before rows that were not.

    Args:
        rows: A curated set.
        golden: Every prompt of the golden file, whatever its status.
        n: How many.
    """
    confirmed: dict[str, Row] = {}
    traffic: Counter[str] = Counter()
    for row in rows:
        traffic[_intent(row)] += 1
        best = confirmed.get(row.cluster)
        if _confirmed(row) and (best is None or _rank(row) < _rank(best)):
            confirmed[row.cluster] = row
    fresh = _unlike(sorted(confirmed.values(), key=_rank), golden)
    covered = slice_counts([*golden, *(p for p in golden if p.status == "candidate")])
    waiting: dict[str, list[Row]] = {}
    for row in fresh:
        waiting.setdefault(_intent(row), []).append(row)
    chosen: list[Proposal] = []
    held = {intent: covered[intent] + covered[f"intent:{intent}"] for intent in waiting}
    while waiting and len(chosen) < n:
        # Whose golden prompts are fewest for its share of the traffic.
        intent = min(waiting, key=lambda name: ((held[name] + 1) / traffic[name], name))
        chosen.append(_proposal(waiting[intent].pop(0), held[intent], traffic))
        held[intent] += 1
        if not waiting[intent]:
            del waiting[intent]
    return chosen


def _confirmed(row: Row) -> bool:
    plain = all(m["role"] in ("system", "developer", "user", "assistant") and m["content"]
                for m in row.messages)  # fmt: skip
    if not plain or not row.question.strip() or row.weight < MIN_WEIGHT:
        return False
    if row.correction is not None:
        return True
    return row.score >= MIN_SCORE and bool(_people(row, {"thumb", "stars", "score", "preference"}))


def _people(row: Row, signals: set[str]) -> list[dict[str, Any]]:
    """Return the pieces of feedback of these kinds that people gave."""
    return [s for s in row.signals if s["signal"] in signals and _actor(s) in ("user", "reviewer")]


def _actor(signal: dict[str, Any]) -> str:
    return str(signal["actor"]).partition(":")[0]


def _rank(row: Row) -> tuple[bool, bool, bool, float, float, str]:
    reviewed = any(_actor(signal) == "reviewer" for signal in row.signals)
    return (
        not reviewed, row.split != "validation", row.correction is None,
        -row.weight, -abs(row.score), row.id,
    )  # fmt: skip


def _unlike(rows: list[Row], golden: Sequence[GoldenPrompt]) -> list[Row]:
    """Return the rows that nearly repeat no golden prompt."""
    held = Overlap([question(prompt) for prompt in golden], near=NEAR, contained=2)
    found = held.match(pa.array([row.question for row in rows], type=pa.large_string()))
    sources = {id for prompt in golden for id in prompt.source.interaction_ids}
    return [
        row for row, kind in zip(rows, found.kind.tolist(), strict=True)
        if not kind and row.id not in sources
    ]  # fmt: skip


def _intent(row: Row) -> str:
    return row.cohorts.get("intent", "")


def _proposal(row: Row, n_golden: int, traffic: Counter[str]) -> Proposal:
    intent = _intent(row)
    corrected = row.correction is not None
    basis = _people(row, {"correction"} if corrected else {"thumb", "stars", "score", "preference"})
    prompt = GoldenPrompt(
        id=f"c-{row.id}",
        messages=[{"role": m["role"], "content": m["content"]} for m in row.messages],
        reference=row.correction if corrected else row.answer,
        slices=[f"{name}:{value}" for name, value in row.cohorts.items()],
        status="candidate",
        source=GoldenSource(
            interaction_ids=[row.id], feedback_ids=[signal["feedback_id"] for signal in basis]
        ),
        tags=[] if row.split == "validation" else [SEEN],
    )
    why = {
        "id": prompt.id,
        "basis": "corrected" if corrected else "confirmed",
        "reviewed": any(_actor(signal) == "reviewer" for signal in basis),
        "score": round(row.score, 3),
        "weight": round(row.weight, 3),
        "intent": intent or None,
        "intent_share": round(traffic[intent] / traffic.total(), 4),
        "golden_prompts_of_it": n_golden,
    }
    return Proposal(prompt, why)
