"""A large log for the benchmarks, written straight into a lake's table.

Lengths are log-normal (question 30 words, answer 120, in the mean), words follow Zipf's law,
17 % of the questions repeat an earlier one (most of those word by word), conversations have
several turns, people come back, and one question in twenty holds personal data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.lake import table as lake_table
from tuneloop.lake.rows import identity

BATCH = 20_000
START = datetime(2026, 1, 1, tzinfo=UTC)
SYSTEM = "You are the assistant of a telecom shop. Answer briefly, and only from the manual."
SIGNALS = (  # signal, events an interaction
    ("dwell", 0.7), ("thumb", 0.55), ("copy", 0.3), ("stars", 0.15), ("reformulation", 0.1),
    ("regenerate", 0.08), ("correction", 0.06), ("comment", 0.06),
)  # fmt: skip


def vocabulary(n: int, rng: np.random.Generator) -> pa.Array:
    """Return n different made-up words of two to four syllables."""
    first, second = list("bcdfghjklmnprstvwz"), list("aeiou")
    found: dict[str, None] = {}
    while len(found) < n:
        size = int(rng.integers(2, 5))
        found["".join(str(rng.choice(first)) + str(rng.choice(second)) for _ in range(size))] = None
    return pa.array(list(found))


class Writer:
    """Makes texts of words: batches of them at once."""

    def __init__(self, seed: int, n_words: int = 30_000) -> None:
        self.rng = np.random.default_rng(seed)
        self.words = vocabulary(n_words, self.rng)
        weight = 1.0 / np.arange(2, n_words + 2) ** 1.0
        self.ranks = np.searchsorted(
            np.cumsum(weight) / weight.sum(), self.rng.random(1 << 22)
        ).astype(np.int32)

    def texts(self, n: int, mean: float, sigma: float = 0.6) -> list[str]:
        """Return n texts with log-normal lengths."""
        mu = np.log(mean) - sigma**2 / 2
        sizes = np.clip(self.rng.lognormal(mu, sigma, n).astype(np.int64), 3, 1500)
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
        picks = self.rng.integers(0, len(self.ranks), offsets[-1])
        codes = np.minimum(self.ranks[picks], len(self.words) - 1)
        lists = pa.ListArray.from_arrays(pa.array(offsets), self.words.take(pa.array(codes)))
        joined: list[str] = pc.binary_join(lists, " ").to_pylist()
        return joined

    def personal(self) -> str:
        """Return a phrase with something that must not be trained on."""
        n = int(self.rng.integers(10**6, 10**7))
        kinds = (f"mail me at user{n}@example.com", f"call +44 20 {n:07d}", f"password: Qx{n}!z")
        return kinds[n % 3]


def batches(n: int, seed: int = 0) -> Iterator[pa.RecordBatch]:
    """Yield the rows of `n` interactions and about two events of feedback for each."""
    writer = Writer(seed)
    popular = writer.texts(max(20, min(n // 100, 20_000)), 30)
    span_s = 90 * 86_400.0
    session = 0
    for start in range(0, n, BATCH):
        size = min(BATCH, n - start)
        rng = writer.rng
        new = rng.random(size) < 0.45  # two turns a conversation
        new[0] = True
        sessions = session + np.cumsum(new)
        session = int(sessions[-1])
        ts = (start + np.arange(size)) / n * span_s
        yield from _batch(writer, popular, sessions, ts, start)


def _batch(
    writer: Writer, popular: list[str], sessions: np.ndarray, ts: np.ndarray, start: int
) -> Iterator[pa.RecordBatch]:
    rng, size = writer.rng, len(ts)
    questions = asked(writer, popular, size)
    answers = writer.texts(size, 120)
    people = rng.zipf(1.3, len(ts)) % 10_007 + (sessions * 7919) % max(10, (start + size) // 4)
    systems = rng.integers(0, 3, size)
    rows, history, last = [], "", -1
    for i in range(size):
        head = f'{{"content":"{SYSTEM}","extra":{{}},"role":"system"}}'
        history = history if sessions[i] == last else head
        last = sessions[i]
        history += f',{{"content":"{questions[i]}","extra":{{}},"role":"user"}}'
        user, id = f"u-{people[i]:024x}", f"i-{start + i:012d}"
        stamp = (START + timedelta(seconds=float(ts[i]))).replace(microsecond=0)
        payload = (
            f'{{"env":"production","event_ts":"{stamp.isoformat()}","extra":{{}},"id":"{id}",'
            f'"intent":"intent {systems[i] * 7 % 5}","outcome":"ok","request":{{"extra":{{}},'
            f'"messages":[{history}]}},"response":{{"content":"{answers[i]}","extra":{{}}}},'
            f'"role":"primary","schema_version":1,"session_id":"s{last}","shown":true,'
            f'"subject_key":"{user}","system":"model@{systems[i]}","tags":[],"task":"helpdesk",'
            f'"tenant":"shop","type":"interaction"}}'
        )
        rows.append(("interaction", id, stamp, f"s{last}", user, None, payload))
        history += f',{{"content":"{answers[i]}","extra":{{}},"role":"assistant"}}'
    yield _as_batch(rows)
    yield _as_batch(_feedback(writer, rows, answers, start))


def asked(writer: Writer, popular: list[str], size: int) -> list[str]:
    """Return questions, 17 % of them repeated or nearly, 5 % with personal data."""
    rng = writer.rng
    questions = writer.texts(size, 30)
    draw, which = rng.random(size), rng.zipf(1.2, size) % len(popular)
    for i in np.flatnonzero(draw < 0.17).tolist():
        words = popular[which[i]].split(" ")
        if draw[i] < 0.07:
            words[int(rng.integers(len(words)))] = "please"
        questions[i] = " ".join(words)
    for i in np.flatnonzero(draw > 0.95).tolist():
        questions[i] += " " + writer.personal()
    return questions


def _feedback(writer: Writer, rows: list[tuple], answers: list[str], start: int) -> list[tuple]:
    rng, size = writer.rng, len(rows)
    made = []
    for code, (signal, rate) in enumerate(SIGNALS):
        chosen = np.flatnonzero(rng.random(size) < rate).tolist()
        said = writer.texts(len(chosen), 15) if signal in ("correction", "comment") else None
        for k, i in enumerate(chosen):
            _, target, stamp, _, user, *_ = rows[i]
            late = stamp + timedelta(seconds=int(rng.integers(5, 900)))
            if said is None:
                value = _value(signal, float(rng.random()))
            elif signal == "correction":
                value = f',"value":"{answers[i][: len(answers[i]) // 2]} {said[k]}"'
            else:
                value = f',"value":"{said[k]}"'
            id = f"f-{start + i:012d}-{code}"
            payload = (
                f'{{"actor":{{"id":"{user}","kind":"user"}},"event_ts":"{late.isoformat()}",'
                f'"extra":{{}},"id":"{id}","metadata":{{}},"op":"set","revision":0,'
                f'"schema_version":1,"signal":"{signal}","target":{{"id":"{target}",'
                f'"kind":"interaction"}},"tenant":"shop","type":"feedback"{value}}}'
            )
            made.append(("feedback", id, late, None, None, target, payload))
    return made


def _value(signal: str, draw: float) -> str:
    if signal == "thumb":
        return f',"value":{"true" if draw < 0.6 else "false"}'
    if signal == "stars":
        return f',"value":{1 + int(draw * 5)}'
    return f',"value":{draw * 120:.1f}' if signal == "dwell" else ""


def _as_batch(rows: list[tuple]) -> pa.RecordBatch:
    kind, id, stamp, session, subject, target, payload = zip(*rows, strict=True)
    size = len(rows)
    columns = {
        "kind": kind, "tenant": ["shop"] * size, "id": id, "revision": [0] * size,
        "event_ts": stamp, "session_id": session, "episode_id": [None] * size,
        "subject_key": subject, "target_kind": ["interaction" if t else None for t in target],
        "target_id": target, "payload": payload,
        "row_digest": [hashlib.sha256(text.encode()).hexdigest() for text in payload],
        "identity": [identity(kind[0], "shop", one, 0) for one in id],
    }  # fmt: skip
    arrays = [pa.array(columns[column.name], column.type) for column in lake_table.SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=lake_table.SCHEMA)


def write_lake(uri: str, n: int, seed: int = 0) -> None:
    """Write the whole log as one commit."""
    lake_table.append(uri, batches(n, seed))
