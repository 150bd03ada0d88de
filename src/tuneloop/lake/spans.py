"""OpenTelemetry spans and log records in any spelling → one plain form.

OTLP/JSON (`resourceSpans`, typed attribute values), the SDKs' console exporters, ClickHouse's
columns, and flat rows with `gen_ai.*` as columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tuneloop.lake.compose import number_of
from tuneloop.lake.fields import ident, mapping, parse_json, rows, take
from tuneloop.lake.times import UNDATED, parse_time

_TYPED = ("stringValue", "intValue", "doubleValue", "boolValue", "bytesValue")
_GROUPS = (
    ("resourceSpans", "scopeSpans", "spans"),
    ("resource_spans", "scope_spans", "spans"),
    ("resourceSpans", "instrumentationLibrarySpans", "spans"),
    ("resourceLogs", "scopeLogs", "logRecords"),
    ("resource_logs", "scope_logs", "log_records"),
)
_TURNS = ("gen_ai.system.message", "gen_ai.user.message", "gen_ai.assistant.message",
          "gen_ai.tool.message", "gen_ai.choice")  # fmt: skip


@dataclass
class Span:
    """One span, or what log records say of one.

    Attributes:
        events: (name, attributes and body together, time) of its events.
    """

    id: str | None
    trace_id: str | None
    parent_id: str | None
    name: str
    start: Any
    end: Any
    failed: bool
    attributes: dict[str, Any]
    resource: dict[str, Any]
    events: list[tuple[str, dict[str, Any], Any]] = field(default_factory=list)

    @property
    def latency_ms(self) -> float | None:
        """How long it took, where both ends are known."""
        if self.end in (None, "") or self.start in (None, "", UNDATED):
            return None
        passed = (parse_time(self.end) - parse_time(self.start)).total_seconds() * 1000
        return round(passed, 3) if passed >= 0 else None


def split_export(element: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """Yield the spans and log records of one export request, each with its resource.

    Log records that are the turns of one chat come together, as they have one span.
    """
    plain = True
    for outer, middle, inner in _GROUPS:
        for group in rows(element.get(outer)):
            plain = False
            resource = attributes_of(mapping(group.get("resource")).get("attributes"))
            chats: dict[str, list[Any]] = {}
            for scope in rows(group.get(middle)):
                for one in rows(scope.get(inner)):
                    if inner == "spans":
                        yield {"otlp": [one], "resource": resource}
                    elif event_name(one) in _TURNS and take(one, "spanId", "span_id"):
                        chats.setdefault(str(take(one, "spanId", "span_id")), []).append(one)
                    else:
                        yield {"otlp_log": [one], "resource": resource}
            for records in chats.values():
                yield {"otlp_log": records, "resource": resource}
    if plain:
        yield element


def read_span(record: Mapping[str, Any]) -> Span:
    """Return a record (see `split_export`, or a flat row) as a span."""
    resource = mapping(record.get("resource"))
    if "otlp_log" in record:
        return _from_logs(record["otlp_log"], resource)
    row = mapping(record["otlp"][0]) if "otlp" in record else dict(record)
    context = mapping(row.get("context") or row.get("spanContext") or row.get("span_context"))
    start = take(row, "startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime",
                 "Timestamp", "timestamp", "timeUnixNano", "time_unix_nano", "time")  # fmt: skip
    end = take(row, "endTimeUnixNano", "end_time_unix_nano", "end_time", "endTime")
    lasted = number_of(take(row, "Duration", "duration_nano"))
    if end is None and lasted is not None and start is not None:
        end = parse_time(start).timestamp() + lasted / 1e9
    ids = [
        take(row, *names) or take(context, *names)
        for names in (
            ("spanId", "span_id", "SpanId"),
            ("traceId", "trace_id", "TraceId"),
            ("parentSpanId", "parent_span_id", "ParentSpanId", "parent_id"),
        )
    ]
    span_id, trace_id, parent_id = (_hex(one) for one in ids)
    return Span(
        id=span_id,
        trace_id=trace_id,
        parent_id=parent_id,
        name=str(take(row, "name", "SpanName", "event_name") or ""),
        start=start or UNDATED,
        end=end,
        failed=_failed(row),
        attributes=_row_attributes(row),
        resource=attributes_of(resource.get("attributes", resource)),
        events=[_event(one) for one in _events(row)],
    )


def attributes_of(value: Any) -> dict[str, Any]:
    """Return attributes by name, from an object or OTLP's list of keys and typed values."""
    value = parse_json(value)
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return {str(kv.get("key")): _plain(kv.get("value")) for kv in value if isinstance(kv, dict)}
    return {str(k): _plain(v) for k, v in mapping(value).items()}


def event_name(row: Mapping[str, Any]) -> str:
    """Return which event a log record or a span's event is."""
    name = take(row, "eventName", "event_name", "name")
    return str(name or attributes_of(row.get("attributes")).get("event.name") or "")


def _plain(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    for name in _TYPED:
        if name in value and len(value) == 1:
            held = value[name]
            return int(held) if name == "intValue" and str(held).lstrip("-").isdigit() else held
    if "arrayValue" in value and len(value) == 1:
        return [_plain(one) for one in mapping(value["arrayValue"]).get("values") or []]
    if "kvlistValue" in value and len(value) == 1:
        return attributes_of(mapping(value["kvlistValue"]).get("values") or [])
    return {k: _plain(v) for k, v in value.items()}


def _row_attributes(row: Mapping[str, Any]) -> dict[str, Any]:
    held = attributes_of(take(row, "attributes", "SpanAttributes", "span_attributes",
                              "LogAttributes"))  # fmt: skip
    for key, value in row.items():
        name = key.removeprefix("attributes.")
        if name.startswith(("gen_ai.", "session.", "user.", "enduser.", "error.")):
            held[name] = value
    return held


def _events(row: Mapping[str, Any]) -> list[Any]:
    names = parse_json(row.get("Events.Name"))
    if isinstance(names, list):
        attributes = parse_json(row.get("Events.Attributes")) or [{}] * len(names)
        times = parse_json(row.get("Events.Timestamp")) or [None] * len(names)
        return [{"name": n, "attributes": a, "timestamp": t}
                for n, a, t in zip(names, attributes, times, strict=False)]  # fmt: skip
    return rows(take(row, "events", "Events"))


def _event(one: Any) -> tuple[str, dict[str, Any], Any]:
    """Return an event's name, its attributes with its body among them, and its time."""
    row = mapping(one)
    held = attributes_of(take(row, "attributes", "event_attributes"))
    body = _plain(parse_json(take(row, "body", "Body")))
    inner = parse_json(held.pop("gen_ai.event.content", None))
    for more in (body, inner):
        if isinstance(more, Mapping):
            held |= more
        elif isinstance(more, str) and more:
            held.setdefault("content", more)
    when = take(row, "timeUnixNano", "time_unix_nano", "timestamp", "observedTimeUnixNano", "time")
    return event_name(row), held, when


def _from_logs(records: list[Any], resource: dict[str, Any]) -> Span:
    first = mapping(records[0])
    events = [_event(record) for record in records]
    shared = {k: v for _, held, _ in events for k, v in held.items() if k.startswith("gen_ai.")}
    return Span(
        id=_hex(take(first, "spanId", "span_id")),
        trace_id=_hex(take(first, "traceId", "trace_id")),
        parent_id=None,
        name=events[0][0],
        start=events[0][2] or UNDATED,
        end=None,
        failed=bool(shared.get("error.type")),
        attributes=shared,
        resource=resource,
        events=events,
    )


def _hex(value: Any) -> str | None:
    text = ident(value)
    return text.removeprefix("0x") if text else None


def _failed(row: Mapping[str, Any]) -> bool:
    status = row.get("status")
    code = take(status, "code", "status_code") if isinstance(status, Mapping) else status
    code = code if code is not None else take(row, "StatusCode", "status_code")
    return str(code).upper().rsplit("_", 1)[-1].rsplit(".", 1)[-1] in ("2", "ERROR")
