"""Native events: what `docs/reference/event.schema.json` describes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.compose import has, number_of
from tuneloop.lake.fields import nest, parse_json
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError

_NUMBERS = ("thumb", "stars", "score", "dwell")
_TRUTHS = {"true": True, "false": False}
_TEXTS = ("id", "comment", "dimension", "request.template.name", "response.content")


def recognise(record: Mapping[str, Any]) -> float:
    """Look for `request` and `response`, or for `signal` and `target`."""
    record = _row(record)
    kind = record.get("type")
    interaction = has(record, "request", "response", "event_ts")
    feedback = has(record, "signal", "target", "event_ts")
    if (interaction and kind in (None, "interaction")) or (feedback and kind in (None, "feedback")):
        return 1.0
    return 0.6 if kind in ("interaction", "feedback") else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Yield the record itself, with its type where it does not say one."""
    record = _row(record)
    if record.get("type") is None:
        if "request" in record:
            return [record | {"type": "interaction"}]
        if "signal" in record:
            return [record | {"type": "feedback"}]
        raise UnfitError("unknown_type", "no type, and neither request nor signal to tell it from")
    return [record]


def _row(record: Mapping[str, Any]) -> Record:
    """Return an event; that of a table, where everything is a text, with its types and shape."""
    if not all(value is None or isinstance(value, str) for value in record.values()):
        return dict(record)
    told = {k: v if k in _TEXTS else parse_json(v) for k, v in record.items() if v is not None}
    event = nest(told) if any("." in name for name in told) else told
    value = event.get("value")
    if event.get("signal") in _NUMBERS and isinstance(value, str):
        number = number_of(value)
        event["value"] = _TRUTHS.get(value.strip().lower(), value) if number is None else number
    return event


FORMAT = Format(
    name="native",
    title="tuneloop events",
    recognise=recognise,
    convert=convert,
    fields=(
        ("every field", "the same", "as in `event.schema.json`; unknown ones go into `extra`"),
        ("`type`", "`type`", "may be missing: told from `request` or `signal`"),
        ("`tenant`", "`tenant`", "may be missing: the run's, or `--tenant`"),
        ("columns of a table: `target.id`", "`target.id`", "objects are JSON or dotted columns"),
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
