"""One event as a row of the lake: validated, under a pseudonym, with its identity and digest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import msgspec
from pydantic import ValidationError
from pydantic_core import from_json

from tuneloop.artefacts.digest import canonical_json
from tuneloop.artefacts.events import EVENT, Interaction
from tuneloop.lake.format import Event, UnfitError
from tuneloop.lake.pseudonyms import Pseudonyms, hashed, replaced
from tuneloop.lake.times import parse_time

_MAY_BE_DEEP = 190  # brackets; the parser goes 200 deep
_ENCODER = msgspec.json.Encoder(order="sorted")
# Where sources repeat who it was. Not in ids, which join events to one another, and not in what
# people wrote, which curation redacts.
_FREE = frozenset(("extra", "metadata", "tags", "assignment", "usage", "segment", "intent"))
_UNKNOWN = ("extra", "metadata")
_FREE_IN_MESSAGE = frozenset(("name", "extra"))


ERASED = "erased"
"""The reason of which nothing may be kept, not even in the dead letters."""


class Row(NamedTuple):
    """One event as a row; the fields are the columns of `lake.table.SCHEMA` in their order."""

    kind: str
    tenant: str
    id: str
    revision: int
    event_ts: datetime
    session_id: str | None
    episode_id: str | None
    subject_key: str | None
    target_kind: str | None
    target_id: str | None
    payload: str
    row_digest: str
    identity: bytes


@dataclass(frozen=True)
class Reader:
    """What is the same for all events of one file.

    Attributes:
        source: Name of the format.
        tenant: Tenant of events that name none.
        pseudonyms: None: people are pseudonyms already.
        erased: Marks (see `mark`) of people who were erased and of what was theirs, and when.
    """

    source: str
    tenant: str = "default"
    pseudonyms: Pseudonyms | None = None
    erased: Mapping[str, datetime] = field(default_factory=dict)

    def row(self, event: Event) -> Row:
        """Return the event as a row.

        Raises:
            UnfitError: with the reason, where it is no valid event.
        """
        try:
            data = self._completed(event)
            names = self._renamed(data) if self.pseudonyms else {}
            if self.erased:
                self._refuse_erased(data)
            return _as_row(data, names, self._hashed if self.pseudonyms else None)
        except UnfitError:
            raise
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"][1:]) or "type"
            raise UnfitError("schema", f"{place}: {first['msg']}") from error
        except Exception as error:  # whatever is wrong with one record, the others go on
            raise UnfitError("schema", f"a value is out of range: {error}") from error

    def people(self, event: Event) -> set[str]:
        """Return how the source names the people in an event.

        Reviewers are appointed, and their names may be shown; their addresses may not.
        """
        actor = event.get("actor")
        names = [event.get("subject_key")]
        if isinstance(actor, dict):
            kind, id = actor.get("kind", "user"), actor.get("id")
            if kind == "user" or (kind == "reviewer" and "@" in str(id)):
                names.append(id)
        return {str(name) for name in names if isinstance(name, str | int) and name}

    def _refuse_erased(self, data: Event) -> None:
        named = [("person", data["tenant"], key) for key in self.people(data)]
        for what, tenant, name in (*named, *_belongs_to(data)):
            when = self.erased.get(mark(what, tenant, name))
            if when and (data["event_ts"] <= when or what in ("interaction", "feedback")):
                raise UnfitError(ERASED, "the person was erased after this")

    def _completed(self, event: Event) -> Event:
        data = dict(event)
        if data.get("tenant") is None:
            data["tenant"] = self.tenant
        for name in ("event_ts", "ingest_ts"):
            if data.get(name) is not None:
                data[name] = parse_time(data[name])
        if data.get("type") == "interaction" and data.get("source") is None:
            data["source"] = self.source
        return data

    def _renamed(self, data: Event) -> dict[str, str]:
        """Put pseudonyms in place; return those of the people named in the event."""
        assert self.pseudonyms
        tenant = str(data["tenant"])
        names = {name: self.pseudonyms(tenant, name) for name in self.people(data)}
        if data.get("subject_key") is not None:
            data["subject_key"] = names.get(str(data["subject_key"]), data["subject_key"])
        actor = data.get("actor")
        if isinstance(actor, dict) and str(actor.get("id")) in names:
            data["actor"] = actor | {"id": names[str(actor["id"])]}
        return names

    def _hashed(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return an event with pseudonyms in unknown fields that are called like a person."""
        assert self.pseudonyms
        name = partial(self.pseudonyms, content["tenant"])
        found = content | {k: hashed(content[k], name) for k in _UNKNOWN if content.get(k)}
        if (response := content.get("response")) and response.get("extra"):
            found["response"] = response | {"extra": hashed(response["extra"], name)}
        return found


def identity(kind: str, tenant: str, id: str, revision: int) -> bytes:
    """Return 16 bytes that stand for an event's identity."""
    text = f"{kind}:{revision}:{len(tenant)}:{tenant}:{id}"
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def mark(what: str, tenant: str, name: str) -> str:
    """Return what remains of a person, session or interaction that was erased: a hash."""
    text = f"{what}:{len(tenant)}:{tenant}:{name}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _belongs_to(data: Event) -> Iterator[tuple[str, str, str]]:
    """Yield, as arguments of `mark`, what an event goes with.

    That is itself; of feedback what it is about; of an interaction that names nobody its session.
    """
    tenant, target, value = data["tenant"], data.get("target"), data.get("value")
    yield str(data.get("type")), tenant, str(data.get("id"))
    if data.get("type") == "interaction":
        if data.get("subject_key") is None and data.get("session_id") is not None:
            yield "session", tenant, str(data["session_id"])
    elif isinstance(target, dict):
        what = "session" if target.get("kind") == "session" else "interaction"
        yield what, tenant, str(target.get("id"))
    if isinstance(value, dict):
        for side in ("winner", "loser"):
            yield "interaction", tenant, str(value.get(side))


def _as_row(
    data: Event, names: dict[str, str], hide: Callable[[Event], Event] | None = None
) -> Row:
    event = EVENT.validate_python(data)
    content: dict[str, Any] = event.model_dump(mode="json", exclude_none=True)
    content["event_ts"] = data["event_ts"].isoformat()
    if hide:
        content = hide(content)
    payload = _encoded(content)
    if any(name in payload for name in names):
        content = _nowhere_named(content, names)
        payload = _encoded(content)
    if payload.count("{") + payload.count("[") > _MAY_BE_DEEP:
        from_json(payload)  # `extra` made it deeper, and whoever reads the lake must be able to
    # Taken in twice it is still the same event.
    told = payload
    if "ingest_ts" in content:
        told = _encoded({k: v for k, v in content.items() if k != "ingest_ts"})
    digest = hashlib.sha256(told.encode()).hexdigest()
    if isinstance(event, Interaction):
        session, episode, subject = event.session_id, event.episode_id, event.subject_key
        target_kind, target_id, revision = None, None, 0
    else:
        session = episode = subject = None
        target_kind, target_id = event.target.kind, event.target.id
        revision = event.revision
    return Row(
        event.type, event.tenant, event.id, revision, data["event_ts"], session, episode,
        subject, target_kind, target_id, payload, digest,
        identity(event.type, event.tenant, event.id, revision),
    )  # fmt: skip


def _encoded(content: dict[str, Any]) -> str:
    """Return JSON with sorted keys: equal events, equal text."""
    try:
        return _ENCODER.encode(content).decode()
    except OverflowError:  # an integer of more than 64 bits
        return canonical_json(content)


def _nowhere_named(content: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Replace people's names wherever the source repeats them beside what people wrote."""
    found = {k: replaced(v, names) if k in _FREE else v for k, v in content.items()}
    if "request" in found:
        messages = [
            {k: replaced(v, names) if k in _FREE_IN_MESSAGE else v for k, v in message.items()}
            for message in content["request"]["messages"]
        ]
        found["request"] = replaced(content["request"], names) | {"messages": messages}
        extra = content["response"].get("extra", {})
        found["response"] = content["response"] | (
            {"extra": replaced(extra, names)} if extra else {}
        )
    return found
