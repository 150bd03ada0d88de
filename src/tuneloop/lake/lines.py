"""One line of an event file: read within bounds, parsed, validated, or refused with a reason."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from tuneloop.artefacts.digest import canonical_json, digest_json
from tuneloop.artefacts.events import EVENT, Feedback, Interaction

MAX_LINE_BYTES = 16 * 1024 * 1024
RAW_CHARS = 2_000
BOM = b"\xef\xbb\xbf"
_MAY_OVERFLOW = re.compile(r"[eE]\+?\d{3}|\d{200}")  # 1e999 parses as infinity
_MAY_BE_DEEP = 190  # brackets; the parser goes 200 deep


class RefusedError(Exception):
    """A line that cannot be an event: a short reason for counting, a detail for people."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


@dataclass(frozen=True, slots=True)
class Row:
    """One event as a row of the lake."""

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

    @property
    def identity(self) -> bytes:
        """16 bytes that stand for (kind, tenant, id, revision)."""
        return identity(self.kind, self.tenant, self.id, self.revision)


def identity(kind: str, tenant: str, id: str, revision: int) -> bytes:
    """Return 16 bytes that stand for an event's identity."""
    text = f"{kind}:{revision}:{len(tenant)}:{tenant}:{id}"
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def read_lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (line number, bytes, complete) for every line that is not blank.

    A line above `MAX_LINE_BYTES` comes cut and not complete, whatever its length, so that no
    line can fill the memory.
    """
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            complete = len(raw) <= MAX_LINE_BYTES or raw.endswith(b"\n")
            kept = raw if complete else raw[: RAW_CHARS * 4]
            while not complete and raw and not raw.endswith(b"\n"):
                raw = file.readline(MAX_LINE_BYTES)
            if number == 1:
                kept = kept.removeprefix(BOM)
            if kept.strip():
                yield number, kept, complete


def parse_line(raw: bytes, *, complete: bool, tenant_default: str) -> Row:
    """Return the line as a row.

    Raises:
        RefusedError: with the reason, where it is no valid event.
    """
    if not complete:
        raise RefusedError("too_long", f"the line has more than {MAX_LINE_BYTES} bytes")
    try:
        data = _parse_json(raw)
        if not isinstance(data, dict):
            raise RefusedError("not_an_object", f"the line is a JSON {type(data).__name__}")
        if "type" not in data:
            data["type"] = _infer_type(data)
        data.setdefault("tenant", tenant_default)
        return _as_row(EVENT.validate_python(data))
    except RefusedError:
        raise
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"][1:]) or "type"
        raise RefusedError("schema", f"{field}: {first['msg']}") from error
    except Exception as error:  # whatever is wrong with one line, the others go on
        raise RefusedError("schema", f"a value is out of range: {error}") from error


def _parse_json(raw: bytes) -> Any:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RefusedError("bad_encoding", f"byte {error.start} is not UTF-8") from error
    try:
        data = from_json(text, allow_inf_nan=False)
        if _MAY_OVERFLOW.search(text):
            json.dumps(data, allow_nan=False)
    except ValueError as error:
        reason = "too_deep" if "recursion limit" in str(error) else "bad_json"
        raise RefusedError(reason, str(error)) from error
    return data


def _infer_type(data: dict[str, Any]) -> str:
    if "request" in data:
        return "interaction"
    if "signal" in data:
        return "feedback"
    raise RefusedError("unknown_type", "no type, and neither request nor signal to infer it from")


def _as_row(event: Interaction | Feedback) -> Row:
    stamp = event.event_ts
    stamp = stamp.astimezone(UTC) if stamp.tzinfo else stamp.replace(tzinfo=UTC)
    content = event.model_dump(mode="json", exclude_none=True)
    content["event_ts"] = stamp.isoformat()
    payload = canonical_json(content)
    if payload.count("{") + payload.count("[") > _MAY_BE_DEEP:
        from_json(payload)  # `extra` made it deeper, and whoever reads the lake must be able to
    content.pop("ingest_ts", None)  # taken in twice is still the same event
    digest = digest_json(content)
    if isinstance(event, Interaction):
        session, episode, subject = event.session_id, event.episode_id, event.subject_key
        target_kind, target_id, revision = None, None, 0
    else:
        session = episode = subject = None
        target_kind, target_id = event.target.kind, event.target.id
        revision = event.revision
    return Row(
        kind=event.type,
        tenant=event.tenant,
        id=event.id,
        revision=revision,
        event_ts=stamp,
        session_id=session,
        episode_id=episode,
        subject_key=subject,
        target_kind=target_kind,
        target_id=target_id,
        payload=payload,
        row_digest=digest,
    )
