"""What was found, as rows that a person can judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from tuneloop.curate.columns import SIGNALS, Ints
from tuneloop.curate.similar import components
from tuneloop.curate.trust.scene import Scene
from tuneloop.curate.trust.wording import written_texts

MAX_EXAMPLES = 20
MAX_CHARS = 500


def merge(pieces: list[Ints]) -> Iterator[tuple[list[int], Ints]]:
    """Yield (places of the sets that share pieces, all their pieces), in order of the places."""
    full = [i for i, chosen in enumerate(pieces) if len(chosen)]
    if not full:
        return
    flat = np.concatenate([pieces[i] for i in full])
    owner = np.repeat(np.arange(len(full)), [len(pieces[i]) for i in full])
    _, code = np.unique(flat, return_inverse=True)
    labels = components(owner, code + len(full), len(full) + len(flat))[: len(full)]
    for label in dict.fromkeys(labels.tolist()):
        members = [full[i] for i in np.flatnonzero(labels == label)]
        yield members, np.unique(np.concatenate([pieces[i] for i in members]))


def report(scene: Scene, pieces: Ints, kind: str, facts: Mapping[str, float]) -> dict[str, Any]:
    """Return one finding; `facts` are probabilities and counts, rounded here."""
    account = scene.account[pieces]
    names = scene.feedback.account_names.take(np.unique(account)).to_pylist()
    first = int(pieces[np.lexsort((pieces, scene.ts[pieces]))[0]])
    row, way, example = _example(scene, first)
    question = _question(scene, row)
    return {
        "kind": kind,
        "n_events": len(pieces),
        "n_accounts": len(names),
        "accounts": sorted(names)[:MAX_EXAMPLES],
        "first": _moment(scene.ts[pieces].min()),
        "last": _moment(scene.ts[pieces].max()),
        "direction": way,
        "example": example[:MAX_CHARS],
        "question": question[:MAX_CHARS],
        **{name: float(f"{value:.2e}") for name, value in facts.items()},
    }


def _moment(ts: float) -> str:
    return datetime.fromtimestamp(float(ts), UTC).isoformat()


def _example(scene: Scene, piece: int) -> tuple[int, str, str]:
    """Return the row, the direction and the value of a piece, as a person would say it."""
    m = len(scene.feedback)
    if piece >= m:
        preferred = scene.preferences
        outcome = int(preferred.outcome[piece - m])
        said = {1: "first better", -1: "second better", 0: "tie", 2: "both bad"}[outcome]
        return int(preferred.first[piece - m]), "preference", said
    feedback = scene.feedback
    signal, row = SIGNALS[feedback.signal[piece]], int(feedback.row[piece])
    if feedback.text[piece]:
        text = written_texts(scene.texts, np.array([piece]), m)[0].as_py()
        return row, signal, str(text)
    opinion = float(np.nan_to_num(feedback.opinion[piece]))
    way = "up" if opinion > 0 else "down" if opinion < 0 else signal
    return row, way, f"{signal} {feedback.value[piece]:g}"


def _question(scene: Scene, row: int) -> str:
    wanted = np.zeros(len(scene.interactions), dtype=bool)
    wanted[row] = True
    for _, batch in scene.texts.prompts(["question"], wanted):
        for text in batch.column("question").to_pylist():
            return str(text or "")
    return ""
