"""The pairs of answers that people compare, and what the judge made of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuneloop.artefacts.digest import digest_json
from tuneloop.artefacts.stage import Evaluation
from tuneloop.errors import DataError


@dataclass(frozen=True)
class AnswerPair:
    """Two answers to one prompt. `share` is the judge's for the candidate, None where unknown."""

    id: str
    messages: Sequence[Mapping[str, Any]]
    champion: str
    candidate: str
    share: float | None = None
    slices: frozenset[str] = field(default_factory=frozenset)
    reference: str | None = None
    family: str | None = None


def pairs_digest(pairs: Sequence[AnswerPair]) -> str:
    """Return what a set of pairs is known by: its prompts and answers, whoever judged them."""
    return digest_json(sorted((p.id, p.champion, p.candidate) for p in pairs))


def evaluation_pairs(evaluation: Evaluation) -> list[AnswerPair]:
    """Return the prompts that both systems answered, with the judge's mean share.

    Raises:
        DataError: if there is no such prompt.
    """
    answers: dict[tuple[str, str], str] = {
        (row["prompt_id"], row["side"]): row["text"] or ""
        for row in _rows(evaluation, "answers")
        if row["status"] == "ok"
    }
    shares = _shares(_rows(evaluation, "judgments"))
    found = [
        AnswerPair(
            id=p["id"],
            messages=p["messages"],
            champion=answers[p["id"], "champion"],
            candidate=answers[p["id"], "candidate"],
            share=shares.get(p["id"]),
            slices=frozenset(p.get("slices") or ()),
            reference=p.get("reference"),
            family=p.get("family"),
        )
        for p in evaluation.json("evaluation.json")["prompts"]
        if (p["id"], "champion") in answers and (p["id"], "candidate") in answers
    ]
    if not found:
        raise DataError("no prompt was answered by both systems", where=evaluation.digest[:12])
    return found


def _shares(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return each prompt's mean over orders of the mean score; it only guides the drawing."""
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["status"] == "ok" and row["score"] is not None:
            scores[row["prompt_id"]][row["order"]].append(row["score"])
    return {
        prompt: sum(sum(s) / len(s) for s in orders.values()) / len(orders)
        for prompt, orders in scores.items()
    }


def _rows(evaluation: Evaluation, name: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    if f"{name}.parquet" not in evaluation.manifest.files:
        return []
    return list(pq.read_table(evaluation.path(f"{name}.parquet")).to_pylist())
