"""Feedback of the lake as columns: one batch a part file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.artefacts.digest import canonical_json
from tuneloop.curate import parts
from tuneloop.curate.columns import ACTORS, SIGNALS
from tuneloop.curate.decode import Feedback, decode_feedback
from tuneloop.curate.similar import hash_texts

COLUMNS = ["id", "revision", "event_ts", "target_kind", "target_id", "payload"]
TEXTS = frozenset({"correction", "comment", "edit"})
OUTCOMES = {"better": 1, "tie": 0, "both_bad": 2}
_NAN = float("nan")


@dataclass(frozen=True)
class ReadFeedback:
    """Decodes a batch of feedback into a part of `folder`."""

    folder: Path

    def __call__(self, batch: pa.RecordBatch) -> int:
        """Return the number of the part."""
        ids = hash_texts(batch["id"])
        number = part_number(ids, batch["revision"].to_numpy())
        path = self.folder / f"{number:016x}.said"
        if not path.exists():
            table = _decode(batch, ids)
            parts.write(path, table.to_batches(), table.schema)
        return number


def part_number(ids: np.ndarray, revisions: np.ndarray) -> int:
    """Return the number that names the part of these rows, whatever their order."""
    mixed = (ids ^ revisions.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    return int(np.bitwise_xor.reduce(mixed ^ (mixed >> np.uint64(31)), initial=len(ids)))


def target_keys(kinds: pa.Array, ids: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return the hash of what each piece is about, and another for turns, else 0.

    A turn is named by its interaction's id, or by the session and its number (`s1:2`, `s1/2`).
    """
    plain = pc.is_in(kinds, value_set=pa.array(["interaction", "turn"]))
    named = pc.if_else(plain, ids, pc.binary_join_element_wise(kinds, ids, "\0"))
    turns = pc.if_else(pc.equal(kinds, "turn"), pc.replace_substring_regex(
        ids, r"[/#](\d+)$", r":\1"), pa.scalar(None, pa.string()))  # fmt: skip
    return hash_texts(named), hash_texts(pc.binary_join_element_wise("turn", turns, "\0"))


def _decode(batch: pa.RecordBatch, ids: np.ndarray) -> pa.Table:
    """Return a batch of feedback as columns."""
    events = [
        decode_feedback(text) for text in batch["payload"].cast(pa.large_binary()).to_pylist()
    ]
    values = [_value(event) for event in events]
    pairs = [event.value if event.signal == "preference" else None for event in events]
    sides = [
        hash_texts(pa.array([pair and pair[side] for pair in pairs], pa.large_string()))
        for side in ("winner", "loser")
    ]
    stamps = batch["event_ts"].cast(pa.timestamp("us")).cast(pa.int64()).to_numpy() / 1e6
    targets, turns = target_keys(batch["target_kind"], batch["target_id"])
    columns: dict[str, Any] = {
        "id": batch["id"],
        "key": ids,
        "revision": batch["revision"],
        "ts": stamps,
        "target": targets,
        "turn_target": turns,
        "whole": pc.is_in(batch["target_kind"], value_set=pa.array(["session", "episode"])),
        "actor": pa.array([ACTORS.index(event.actor.kind) for event in events], pa.int8()),
        "actor_id": pa.array([event.actor.id for event in events], pa.string()),
        "signal": pa.array([SIGNALS.index(event.signal) for event in events], pa.int8()),
        "dimension": pa.array([event.dimension for event in events], pa.string()),
        "value": pa.array([value for value, _ in values], pa.float64()),
        "value_json": pa.array([text for _, text in values], pa.string()),
        "text": pa.array([_text(event) for event in events], pa.large_string()),
        "retracts": pa.array([event.op == "retract" for event in events], pa.bool_()),
        "winner": sides[0],
        "loser": sides[1],
        "outcome": pa.array(
            [OUTCOMES[pair.get("outcome", "better")] if pair else 0 for pair in pairs], pa.int8()
        ),
    }
    columns["n_chars"] = pc.utf8_length(columns["text"]).fill_null(0).cast(pa.int32())
    for name in ("actor_id", "dimension", "value_json"):
        columns[name] = columns[name].dictionary_encode()
    return pa.table(columns)


def _value(event: Feedback) -> tuple[float, str | None]:
    """Return the number an event carries, and its value as JSON (texts: NaN and None).

    A comparison's number is that of the answers it was on.
    """
    value, signal = event.value, event.signal
    if signal in TEXTS:
        return _NAN, None
    if isinstance(value, dict):
        return _n_answers(event), canonical_json(value)
    text = _PLAIN.get(value) if isinstance(value, bool | None) else canonical_json(value)
    if signal == "thumb":
        return (1.0 if value in (True, 1, "up") else -1.0), text
    if signal == "score" and event.scale and value is not None:
        low, high = event.scale
        return (float(value) - low) / (high - low), text
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value), text
    if signal in ("stars", "score", "dwell"):  # a retraction
        return _NAN, text
    return (0.0 if value is False else 1.0), text


def _text(event: Feedback) -> str | None:
    """Return what an event says in words: its text, else the comment beside its value."""
    if event.op != "set" or event.signal == "preference":
        return None
    return event.value if event.signal in TEXTS else (event.comment or "").strip() or None


def _n_answers(event: Feedback) -> float:
    """Return how many answers a comparison was on: more than one if it was on a conversation."""
    n = event.metadata.n_answers if event.metadata else None
    return float(n) if isinstance(n, int) and 1 < n < 2**31 else 1.0


_PLAIN = {None: "null", True: "true", False: "false"}
