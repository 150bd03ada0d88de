"""What people said of which answer, joined on disk: a lake's events in a file of SQLite.

Every event is put there once; nothing but one item's statements is in memory.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tuneloop.lake.table import read_columns

if TYPE_CHECKING:
    from deltalake import DeltaTable

Payload = dict[str, Any]
_COLUMNS = ["kind", "tenant", "id", "revision", "event_ts", "session_id", "episode_id",
            "target_kind", "target_id", "payload"]  # fmt: skip
_TABLES = """
CREATE TABLE interaction (
    tenant TEXT, id TEXT, ts INTEGER, session TEXT, episode TEXT, turn INTEGER, payload TEXT,
    PRIMARY KEY (tenant, id)
);
CREATE TABLE feedback (
    tenant TEXT, id TEXT, revision INTEGER, ts INTEGER, target_kind TEXT, target TEXT,
    signal TEXT, op TEXT, first TEXT, second TEXT, payload TEXT, PRIMARY KEY (tenant, id)
);
"""
_INDEXES = """
CREATE INDEX by_episode ON interaction (tenant, episode, ts, turn, id);
CREATE INDEX by_session ON interaction (tenant, session, ts, turn, id);
"""
_PUT_INTERACTION = """
INSERT OR IGNORE INTO interaction
VALUES (?1, ?2, ?3, ?4, ?5, json_extract(?6, '$.turn'), ?6)
"""
_PUT_FEEDBACK = """
INSERT INTO feedback VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant, id) DO UPDATE SET
    revision = excluded.revision, ts = excluded.ts, target_kind = excluded.target_kind,
    target = excluded.target, signal = excluded.signal, op = excluded.op,
    first = excluded.first, second = excluded.second, payload = excluded.payload
WHERE excluded.revision > feedback.revision
"""
# What is said of an episode or a session is said of its last answer.
_LAST_OF_EPISODE = """
SELECT payload FROM interaction i WHERE i.tenant = ? AND i.episode = ?
ORDER BY i.ts DESC, i.turn DESC, i.id DESC LIMIT 1
"""
_STATEMENTS = """
WITH aimed AS (
    SELECT tenant, id, ts, payload, CASE target_kind
        WHEN 'episode' THEN (
            SELECT id FROM interaction i WHERE i.tenant = f.tenant AND i.episode = f.target
            ORDER BY i.ts DESC, i.turn DESC, i.id DESC LIMIT 1)
        WHEN 'session' THEN (
            SELECT id FROM interaction i WHERE i.tenant = f.tenant AND i.session = f.target
            ORDER BY i.ts DESC, i.turn DESC, i.id DESC LIMIT 1)
        ELSE target END AS about
    FROM feedback f
    WHERE op = 'set' AND signal IN ('thumb', 'stars', 'score', 'correction')
)
SELECT a.tenant, a.about, a.payload FROM aimed a
LEFT JOIN interaction i ON i.tenant = a.tenant AND i.id = a.about
ORDER BY i.ts IS NULL, i.ts, a.tenant, a.about, a.ts, a.id
"""
_VOTES = """
SELECT v.tenant, v.first, v.second, v.payload FROM feedback v
LEFT JOIN interaction i ON i.tenant = v.tenant AND i.id = v.first
WHERE v.op = 'set' AND v.signal = 'preference'
ORDER BY i.ts IS NULL, i.ts, v.tenant, v.first, v.second, v.ts, v.id
"""


@dataclass
class Stated:
    """What was said of one answer, in the order of its time.

    Attributes:
        interaction: The event, None where the lake has none of that id.
        said: The feedback events.
    """

    interaction: Payload | None
    said: list[Payload]


@dataclass
class Compared:
    """What was said of two answers; which is first means nothing.

    Attributes:
        first: The event, None where the lake has none of that id.
        second: The other.
        ends: By id, the last answer of each one's conversation, where the verdict was on the
            whole of it (`n_answers`; the episode is called like its first answer).
        said: The feedback events.
    """

    first: Payload | None
    second: Payload | None
    ends: dict[str, Payload]
    said: list[Payload]


class Shelf:
    """The events of one version of a lake, by what they are about."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _TABLES)

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def fill(self, table: DeltaTable) -> None:
        """Put every interaction, and every piece of feedback in its last revision."""
        self._db.execute("BEGIN")
        for batch in read_columns(table, _COLUMNS):
            held = {name: batch[name] for name in _COLUMNS}
            held["event_ts"] = held["event_ts"].cast(pa.int64())  # microseconds since 1970
            interactions, feedback = [], []
            for kind, tenant, id, revision, ts, session, episode, *aim in zip(
                *(held[name].to_pylist() for name in _COLUMNS), strict=True
            ):
                if kind == "interaction":
                    interactions.append((tenant, id, ts, session, episode, aim[-1]))
                else:
                    feedback.append((tenant, id, revision, ts, *_aim(*aim)))
            self._db.executemany(_PUT_INTERACTION, interactions)
            self._db.executemany(_PUT_FEEDBACK, feedback)
        self._db.execute("COMMIT")
        self._db.executescript(_INDEXES)

    def judged(self) -> Iterator[Stated]:
        """Yield every answer that somebody judged, oldest first."""
        rows = self._db.execute(_STATEMENTS)
        for (tenant, about), said in groupby(rows, key=lambda row: row[:2]):
            yield Stated(self._interaction(tenant, about), [json.loads(row[2]) for row in said])

    def compared(self) -> Iterator[Compared]:
        """Yield every two answers that somebody compared, oldest first."""
        rows = self._db.execute(_VOTES)
        for (tenant, first, second), said in groupby(rows, key=lambda row: row[:3]):
            pair = [self._interaction(tenant, id) for id in (first, second)]
            votes = [json.loads(row[3]) for row in said]
            as_wholes = any((vote.get("metadata") or {}).get("n_answers") for vote in votes)
            ends = {
                event["id"]: self._end(tenant, event) if as_wholes else event
                for event in pair
                if event
            }
            yield Compared(pair[0], pair[1], ends, votes)

    def _end(self, tenant: str, event: Payload) -> Payload:
        """Return the last answer of the conversation that begins with this one."""
        if event.get("episode_id") != event["id"]:
            return event
        found = self._db.execute(_LAST_OF_EPISODE, (tenant, event["id"])).fetchone()
        return json.loads(found[0])  # type: ignore[no-any-return]

    def _interaction(self, tenant: str, id: str | None) -> Payload | None:
        found = self._db.execute(
            "SELECT payload FROM interaction WHERE tenant = ? AND id = ?", (tenant, id)
        ).fetchone()
        return json.loads(found[0]) if found else None


def _aim(kind: str, target: str, payload: str) -> tuple[Any, ...]:
    """Return target, signal, op, the two ids that a preference compares, and the payload."""
    event = json.loads(payload)
    signal, op, value = event["signal"], event.get("op", "set"), event.get("value")
    ids: tuple[str | None, ...] = (None, None)
    if signal == "preference" and isinstance(value, dict):
        ids = tuple(sorted((value["winner"], value["loser"])))
    return (kind, target, signal, op, *ids, payload)
