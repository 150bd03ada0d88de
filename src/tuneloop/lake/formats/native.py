"""Native events: what `docs/reference/event.schema.json` describes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.compose import has
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError


def recognise(record: Mapping[str, Any]) -> float:
    """Look for `request` and `response`, or for `signal` and `target`."""
    kind = record.get("type")
    interaction = has(record, "request", "response", "event_ts")
    feedback = has(record, "signal", "target", "event_ts")
    if (interaction and kind in (None, "interaction")) or (feedback and kind in (None, "feedback")):
        return 1.0
    return 0.6 if kind in ("interaction", "feedback") else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Yield the record itself, with its type where it does not say one."""
    if record.get("type") is None:
        if "request" in record:
            return [record | {"type": "interaction"}]
        if "signal" in record:
            return [record | {"type": "feedback"}]
        raise UnfitError("unknown_type", "no type, and neither request nor signal to tell it from")
    return [record]


FORMAT = Format(
    name="native",
    title="tuneloop events",
    recognise=recognise,
    convert=convert,
    fields=(
        ("every field", "the same", "as in `event.schema.json`; unknown ones go into `extra`"),
        ("`type`", "`type`", "may be missing: told from `request` or `signal`"),
        ("`tenant`", "`tenant`", "may be missing: the run's, or `--tenant`"),
    ),
    examples=(
        {
            "type": "interaction",
            "id": "i-1",
            "event_ts": "2025-03-01T10:00:00Z",
            "subject_key": "person-17",
            "request": {"messages": [{"role": "user", "content": "Where is my parcel?"}]},
            "response": {"content": "It arrives tomorrow."},
            "system": "base@1",
        },
        {
            "id": "f-1",
            "event_ts": "2025-03-01T10:01:00Z",
            "target": {"kind": "interaction", "id": "i-1"},
            "actor": {"kind": "user", "id": "person-17"},
            "signal": "thumb",
            "value": True,
        },
    ),
)
