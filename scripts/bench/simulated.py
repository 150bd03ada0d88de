"""Simulated traffic as curation's columns, without the lake and the gates before trust."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from tuneloop.artefacts.tables import MESSAGES
from tuneloop.config.simulate import SimulateConfig
from tuneloop.curate.columns import (
    ACTORS,
    SIGNALS,
    Feedback,
    Flags,
    Interactions,
    Ints,
    Preferences,
)
from tuneloop.simulate.stage import make_log
from tuneloop.simulate.traffic import Log

OUTCOMES = {"better": 1, "tie": 0, "both_bad": 2}
NAMED = ("session", "episode", "subject", "system", "segment", "intent", "template", "task", "env")


@dataclass
class MemoryTexts:
    """Texts in memory, as `columns.Texts` gives them from disk."""

    prompt: pa.Array
    question: list[str]
    answer: list[str]
    said: list[str]

    def prompts(
        self, columns: list[str], rows: Flags | None = None
    ) -> Iterator[tuple[Ints, pa.RecordBatch]]:
        """Yield one batch of the wanted columns."""
        table = {"question": pa.array(self.question), "answer": pa.array(self.answer),
                 "prompt": self.prompt}  # fmt: skip
        numbers = np.arange(len(self.question)) if rows is None else np.flatnonzero(rows)
        batch = pa.RecordBatch.from_pydict({name: table[name] for name in columns})
        yield numbers, batch.take(pa.array(numbers))

    def feedback(self, rows: Flags | None = None) -> Iterator[tuple[Ints, pa.Array]]:
        """Yield the texts of the wanted pieces that have one."""
        numbers = np.arange(len(self.said)) if rows is None else np.flatnonzero(rows)
        yield numbers, pa.array([self.said[i] for i in numbers], type=pa.string())


@dataclass
class Columns:
    """A log as columns; `hostile` and `person` say the truth about feedback, then preferences."""

    interactions: Interactions
    feedback: Feedback
    preferences: Preferences
    texts: MemoryTexts
    hostile: Flags


def simulated(config: SimulateConfig, *, seed: int) -> tuple[Log, Columns]:
    """Return a simulated log and its columns."""
    log = make_log(config, seed=seed)
    return log, as_columns(log.events, log.truth)


def as_columns(events: list[dict[str, Any]], truth: list[dict[str, Any]]) -> Columns:
    """Return native events as columns; interactions without an answer are left out."""
    honesty = {row["id"]: row["honesty"] for row in truth if row["kind"] == "feedback"}
    asked = [e for e in events if e["type"] == "interaction" and e["response"].get("content")]
    asked.sort(key=lambda event: event["id"])
    place = {event["id"]: i for i, event in enumerate(asked)}
    given = [
        e for e in events
        if e["type"] == "feedback" and e["target"]["id"] in place and _whole(e, place)
    ]  # fmt: skip
    given.sort(key=lambda event: (_ts(event), event["id"]))
    single = [e for e in given if e["signal"] != "preference"]
    compared = [e for e in given if e["signal"] == "preference"]
    names = sorted({e["actor"]["id"] for e in given})
    number = {name: i for i, name in enumerate(names)}
    answers = [event["response"]["content"] for event in asked]
    feedback = _feedback(single, place, number, answers)
    questions = [event["request"]["messages"][-1]["content"] for event in asked]
    texts = MemoryTexts(
        pa.array([event["request"]["messages"] for event in asked], type=MESSAGES),
        questions,
        answers,
        [e["value"] if isinstance(e["value"], str) else "" for e in single],
    )
    hostile = np.array([honesty[e["id"]] == "adversarial" for e in single + compared], dtype=bool)
    return Columns(
        _interactions(asked, questions, answers),
        feedback,
        _preferences(compared, place, number),
        texts,
        hostile,
    )


def _whole(event: dict[str, Any], place: dict[str, int]) -> bool:
    if event["signal"] != "preference":
        return True
    return event["value"]["winner"] in place and event["value"]["loser"] in place


def _interactions(
    asked: list[dict[str, Any]], questions: list[str], answers: list[str]
) -> Interactions:
    n = len(asked)
    values = {name: [e.get(name) for e in asked] for name in NAMED} | {
        "session": [e.get("session_id") for e in asked],
        "subject": [e.get("subject_key") for e in asked],
        "template": [_template(e) for e in asked],
    }
    codes, names = {}, {}
    for name, column in values.items():
        encoded = pa.array(column, type=pa.string()).dictionary_encode()
        codes[name] = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        names[name] = encoded.dictionary
    question = np.array([_hash(text) for text in questions], dtype=np.uint64)
    return Interactions(
        id=pa.array([e["id"] for e in asked]),
        ts=np.array([_ts(e) for e in asked], dtype=np.float64),
        codes=codes,
        names=names,
        turn=np.array([e.get("turn", -1) for e in asked], dtype=np.int32),
        question=question,
        answer=np.array([_hash(text.strip()) for text in answers], dtype=np.uint64),
        n_answer_words=np.array([len(text.split()) for text in answers], dtype=np.int32),
        n_answer_chars=np.array([len(text) for text in answers], dtype=np.int32),
        cluster=np.unique(question, return_inverse=True)[1].astype(np.int32),
        propensity=np.full(n, np.nan),
        p_asked=np.full(n, np.nan),
        asked=np.full(n, -1, dtype=np.int8),
    )


def _feedback(
    single: list[dict[str, Any]], place: dict[str, int], number: dict[str, int], answers: list[str]
) -> Feedback:
    rows = [place[e["target"]["id"]] for e in single]
    said = [_says(e, answers[row]) for e, row in zip(single, rows, strict=True)]
    return Feedback(
        id=pa.array([e["id"] for e in single]),
        ts=np.array([_ts(e) for e in single], dtype=np.float64),
        row=np.array(rows, dtype=np.int32),
        account=np.array([number[e["actor"]["id"]] for e in single], dtype=np.int32),
        account_names=pa.array(list(number)),
        actor=np.array([ACTORS.index(e["actor"]["kind"]) for e in single], dtype=np.int8),
        signal=np.array([SIGNALS.index(e["signal"]) for e in single], dtype=np.int8),
        dimension=np.full(len(single), -1, dtype=np.int32),
        dimensions=[],
        value=np.array([value for value, _ in said], dtype=np.float64),
        text=np.array([_hash(e["value"]) if isinstance(e["value"], str) else 0 for e in single],
                      dtype=np.uint64),
        opinion=np.array([opinion for _, opinion in said], dtype=np.float64),
        trust=np.ones(len(single)),
        derived=np.zeros(len(single), dtype=bool),
    )  # fmt: skip


def _preferences(
    compared: list[dict[str, Any]], place: dict[str, int], number: dict[str, int]
) -> Preferences:
    return Preferences(
        id=pa.array([e["id"] for e in compared], type=pa.string()),
        ts=np.array([_ts(e) for e in compared], dtype=np.float64),
        first=np.array([place[e["value"]["winner"]] for e in compared], dtype=np.int32),
        second=np.array([place[e["value"]["loser"]] for e in compared], dtype=np.int32),
        account=np.array([number[e["actor"]["id"]] for e in compared], dtype=np.int32),
        actor=np.array([ACTORS.index(e["actor"]["kind"]) for e in compared], dtype=np.int8),
        outcome=np.array([OUTCOMES[e["value"]["outcome"]] for e in compared], dtype=np.int8),
        dimension=np.full(len(compared), -1, dtype=np.int32),
        trust=np.ones(len(compared)),
        n_answers=np.ones(len(compared), dtype=np.int32),
    )


def _says(event: dict[str, Any], answer: str) -> tuple[float, float]:
    """Return the value and the opinion of one piece of feedback."""
    signal, value = event["signal"], event["value"]
    if signal == "thumb":
        way = 1.0 if value else -1.0
        return way, way
    if signal == "stars":
        return float(value), (value - 3) / 2
    if signal == "correction":
        return np.nan, 1.0 if value.strip() == answer.strip() else -1.0
    return (float(value), np.nan) if isinstance(value, int | float) else (np.nan, np.nan)


def _template(event: dict[str, Any]) -> str | None:
    template = event["request"].get("template")
    return f"{template['name']}@{template['version']}" if template else None


def _ts(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["event_ts"]).timestamp()


def _hash(text: str) -> int:
    digest = hashlib.blake2b(" ".join(text.lower().split()).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") | 1
