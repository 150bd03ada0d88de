"""Read one version of the lake and join feedback to the interactions it is about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic_core import from_json

from tuneloop.artefacts.digest import canonical_json
from tuneloop.curate.rows import Dropped, FeedbackRow, Row

Key = tuple[str, str]


@dataclass
class Joined:
    """Interactions that somebody reacted to, and what is known of the rest."""

    rows: dict[Key, Row]
    n_interactions: int
    n_feedback: int
    n_waiting: int
    without_feedback: list[str]
    watermark: float
    preferences: list[FeedbackRow] = field(default_factory=list)
    activity: dict[Key, tuple[float, float]] = field(default_factory=dict)
    """(tenant, subject) → first and last time seen, over all interactions."""


def load(uri: str, version: int, dropped: Dropped, *, tenant: str | None = None) -> Joined:
    """Return the joined interactions of one version of the lake, of one tenant or of all.

    Payloads are parsed only for interactions that feedback points at. Feedback whose
    interaction is not there yet waits: it is counted and not an error.
    """
    import daft
    from daft import col

    table = daft.read_deltalake(uri, version=version)
    if tenant is not None:
        others = table.where(col("tenant") != tenant).select("kind", "tenant", "id", "revision")
        dropped.others.update(others.distinct().to_pydict()["kind"])
        table = table.where(col("tenant") == tenant)
    interactions = table.where(col("kind") == "interaction")
    heads = interactions.select(
        "tenant", "id", "event_ts", "session_id", "episode_id", "subject_key"
    ).to_pydict()
    raw = table.where(col("kind") == "feedback").select("tenant", "id", "revision", "payload")
    n_feedback, feedback = _in_force(raw.to_pydict(), dropped)
    index = _Index(heads)
    pointed: dict[Key, list[FeedbackRow]] = defaultdict(list)
    preferences, n_waiting = [], 0
    for item in feedback:
        targets = index.targets(item)
        if not targets:
            n_waiting += 1
            continue
        if item.signal == "preference":
            preferences.append(item)
        for target in targets:
            pointed[target].append(item)
    wanted = daft.from_pydict(
        {"tenant": [key[0] for key in pointed], "id": [key[1] for key in pointed]}
    )
    payloads = interactions.select("tenant", "id", "payload").join(
        wanted, on=["tenant", "id"], how="semi"
    )
    rows: dict[Key, Row] = {}
    for text in payloads.to_pydict()["payload"] if pointed else []:
        row = _as_row(from_json(text))
        rows.setdefault(row.key, row)
    for key, items in pointed.items():
        rows[key].feedback = _last_word(items, dropped)
    return Joined(
        rows=rows,
        n_interactions=len(index.known) + dropped.others["interaction"],
        n_feedback=n_feedback + dropped.others["feedback"],
        n_waiting=n_waiting,
        without_feedback=sorted(id for tenant, id in index.known if (tenant, id) not in rows),
        watermark=index.watermark,
        preferences=preferences,
        activity=index.activity,
    )


class _Index:
    """Where feedback can point: interactions, and the last one of each session and episode."""

    def __init__(self, heads: dict[str, list[Any]]) -> None:
        self.known: set[Key] = set(zip(heads["tenant"], heads["id"], strict=True))
        self.last: dict[tuple[str, str, str], tuple[float, str]] = {}
        self.activity: dict[Key, tuple[float, float]] = {}
        self.watermark = 0.0
        for tenant, id, stamp, session, episode, subject in zip(*heads.values(), strict=True):
            ts = stamp.timestamp()
            self.watermark = max(self.watermark, ts)
            for kind, name in (("session", session), ("episode", episode)):
                if name is not None:
                    place = (kind, tenant, name)
                    self.last[place] = max(self.last.get(place, (ts, id)), (ts, id))
            if subject is not None:
                first, last = self.activity.get((tenant, subject), (ts, ts))
                self.activity[tenant, subject] = (min(first, ts), max(last, ts))

    def targets(self, item: FeedbackRow) -> list[Key]:
        if item.signal == "preference":
            pair = [(item.tenant, item.value["winner"]), (item.tenant, item.value["loser"])]
            return pair if pair[0] != pair[1] and all(p in self.known for p in pair) else []
        if item.target_kind in ("session", "episode"):
            last = self.last.get((item.target_kind, item.tenant, item.target_id))
            return [(item.tenant, last[1])] if last else []
        target = (item.tenant, item.target_id)
        return [target] if target in self.known else []


def _in_force(raw: dict[str, list[Any]], dropped: Dropped) -> tuple[int, list[FeedbackRow]]:
    """Return how many there were, and the latest revision of each that was not retracted."""
    latest: dict[Key, tuple[int, str]] = {}
    seen: set[tuple[str, str, int]] = set()
    for tenant, id, revision, payload in zip(*raw.values(), strict=True):
        if (tenant, id, revision) in seen:  # appended twice by two machines
            continue
        seen.add((tenant, id, revision))
        older = latest.get((tenant, id))
        if older is None or revision > older[0]:
            latest[tenant, id] = (revision, payload)
        if older is not None:
            dropped.lines.append((id, "feedback", "superseded", "a later revision"))
    in_force = []
    for revision, payload in latest.values():
        item = _as_feedback(from_json(payload))
        if item.op == "retract" and (revision > 0 or item.signal == "preference"):
            dropped.feedback(item, "retracted")
        else:
            in_force.append(item)
    return len(seen), in_force


def _last_word(items: Iterable[FeedbackRow], dropped: Dropped) -> list[FeedbackRow]:
    """Keep what each actor said last by each signal; a retraction leaves nothing."""
    last: dict[tuple[str, ...], FeedbackRow] = {}
    for item in sorted(items, key=lambda item: (item.ts, item.id)):
        known = item.actor if item.actor_id else item.id  # nameless people may be many
        one_of_many = item.id if item.signal == "preference" else ""
        place = (known, item.signal, item.dimension or "", one_of_many)
        if place in last:
            dropped.feedback(last[place], "superseded", "the same person said otherwise later")
        last[place] = item
    kept = []
    for item in last.values():
        if item.op == "retract":
            dropped.feedback(item, "retracted")
        else:
            kept.append(item)
    return kept


def _as_feedback(event: dict[str, Any]) -> FeedbackRow:
    return FeedbackRow(
        tenant=event["tenant"],
        id=event["id"],
        ts=datetime.fromisoformat(event["event_ts"]).timestamp(),
        target_kind=event["target"]["kind"],
        target_id=event["target"]["id"],
        actor_kind=event["actor"]["kind"],
        actor_id=event["actor"].get("id"),
        signal=event["signal"],
        dimension=event.get("dimension"),
        value=event.get("value"),
        op=event["op"],
    )


def _as_row(event: dict[str, Any]) -> Row:
    return Row(
        tenant=event["tenant"],
        id=event["id"],
        ts=datetime.fromisoformat(event["event_ts"]).timestamp(),
        event_ts=event["event_ts"],
        session_id=event.get("session_id"),
        subject_key=event.get("subject_key"),
        system=event.get("system"),
        messages=[_flatten(message) for message in event["request"]["messages"]],
        answer=event["response"].get("content") or "",
        outcome=event["outcome"],
        role=event["role"],
        shown=event["shown"],
        consent=event.get("consent"),
        task=event.get("task"),
        env=event.get("env"),
    )


def _flatten(message: dict[str, Any]) -> dict[str, str]:
    """Return a message as role and text: text parts joined, others named, calls as JSON."""
    content = message.get("content")
    if isinstance(content, list):
        texts = [part.get("text") or f"[{part.get('type', 'part')}]" for part in content]
        content = "\n".join(str(text) for text in texts)
    if not content and message.get("tool_calls"):
        content = canonical_json(message["tool_calls"])
    role = "system" if message["role"] == "developer" else message["role"]
    return {"role": role, "content": content or ""}
