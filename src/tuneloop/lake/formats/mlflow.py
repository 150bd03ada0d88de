"""MLflow: traces with assessments (2 and 3, nested or as table rows) and evaluation datasets.

Source: https://mlflow.org/docs/latest/genai/tracing/, …/genai/assessments/feedback/
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.answers import read_answer
from tuneloop.lake.chats import read_messages
from tuneloop.lake.compose import feedback, has, interaction, number_of
from tuneloop.lake.fields import as_text, ident, mapping, parse_json, rest, rows, take
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id
from tuneloop.lake.ratings import actor_of, demonstration, judged, opinion, revision, together
from tuneloop.lake.times import UNDATED

_MODEL_CALLS = {"LLM", "CHAT_MODEL"}
_EXPECTED = ("expected_response", "expected_output", "expected_answer", "ground_truth", "response")
_INFO = (
    "trace_id", "request_id", "request_time", "timestamp_ms", "execution_duration_ms",
    "execution_time_ms", "execution_duration", "state", "status", "trace_metadata", "tags",
    "request_metadata", "assessments", "request", "response", "inputs", "outputs", "spans", "trace",
    "request_preview", "response_preview", "info", "data",
)  # fmt: skip


def recognise(record: Mapping[str, Any]) -> float:
    """A trace's info and data, a row of `search_traces`, or a dataset's record."""
    info, data = mapping(record.get("info")), mapping(record.get("data"))
    if info and ("spans" in data or {"trace_id", "request_id"} & info.keys()):
        return 1.0 if {"assessments", "trace_metadata", "request_metadata"} & info.keys() else 0.8
    if {"trace_id", "request_id"} & record.keys() and "spans" in record:
        return 0.9 if {"assessments", "trace_metadata", "request_metadata"} & record.keys() else 0.4
    if has(record, "inputs", "expectations"):
        return 0.9
    return 0.9 if has(record, "dataset_record_id", "inputs") else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Return a trace's model calls, then the assessments; a dataset's record with its truth."""
    if "inputs" in record and ("expectations" in record or "dataset_record_id" in record):
        return _dataset(record)
    info = (
        mapping(record.get("info")) or mapping(mapping(record.get("trace")).get("info")) or record
    )
    data = mapping(record.get("data")) or mapping(mapping(record.get("trace")).get("data"))
    spans = rows(data.get("spans") or record.get("spans"))
    trace_id = str(take(info, "trace_id", "request_id") or content_id("mlflow", record))
    kinds = [str(_attributes(span).get("mlflow.spanType")) for span in spans]
    calls = [span for span, kind in zip(spans, kinds, strict=True) if kind in _MODEL_CALLS]
    ids = {_span_id(span): f"{trace_id}/{_span_id(span)}" for span in calls}
    assessments = rows(info.get("assessments"))
    return together(
        (calls or [{}], lambda span: [_call(span, info, data, trace_id)]),
        (assessments, lambda one: [_assessment(one, trace_id, ids)]),
    )


def _attributes(span: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as they were before MLflow put each into JSON."""
    return {k: _decoded(v) for k, v in mapping(mapping(span).get("attributes")).items()}


def _decoded(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in '"{[':
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _span_id(span: Mapping[str, Any]) -> str:
    return str(take(span, "span_id") or mapping(span.get("context")).get("span_id") or "")


def _call(span: Record, info: Record, data: Record, trace_id: str) -> Event:
    """One call of a model, or the whole trace where none is marked as one."""
    attributes = _attributes(span)
    if span:
        asked, said = (attributes.get(f"mlflow.span{name}") for name in ("Inputs", "Outputs"))
    else:
        root: dict[str, Any] = next((s for s in rows(data.get("spans")) if not _parent(s)), {})
        held = _attributes(root)
        asked = held.get("mlflow.spanInputs") or _first(info, data, "request", "inputs")
        said = held.get("mlflow.spanOutputs") or _first(info, data, "response", "outputs")
    prompt = read_messages(asked)
    if not prompt:
        raise UnfitError("no_prompt", "the trace has no inputs")
    metadata = mapping(take(info, "trace_metadata", "request_metadata"))
    state = str(take(info, "state", "status") or "OK").upper()
    start = take(span, "start_time_unix_nano", "start_time_ns", "start_time") if span else None
    end = take(span, "end_time_unix_nano", "end_time_ns", "end_time") if span else None
    ends = (number_of(start), number_of(end))
    latency = (ends[1] - ends[0]) / 1e6 if ends[0] and ends[1] else number_of(
        take(info, "execution_duration_ms", "execution_time_ms"))  # fmt: skip
    given = mapping(asked)
    request = {"tools": rows(given.get("tools")),
               "sampling": {k: given[k] for k in ("temperature", "top_p", "max_tokens", "seed")
                            if given.get(k) is not None}}  # fmt: skip
    failed = state.endswith("ERROR")
    return interaction(
        f"{trace_id}/{_span_id(span)}" if span else trace_id,
        prompt,
        {} if failed and not said else read_answer(said),
        event_ts=start or take(info, "request_time", "timestamp_ms") or UNDATED,
        outcome="error" if failed else "ok",
        trace_id=trace_id,
        episode_id=trace_id,
        span_id=_span_id(span) if span else None,
        parent_id=ident(_parent(span)) if span else None,
        session_id=ident(metadata.get("mlflow.trace.session")),
        subject_key=ident(metadata.get("mlflow.trace.user")),
        system=ident(given.get("model") or attributes.get("mlflow.llm.model")
                     or metadata.get("mlflow.modelId")),
        request={k: v for k, v in request.items() if v},
        latency_ms=latency if latency is not None and latency >= 0 else None,
        usage=mapping(attributes.get("mlflow.chat.tokenUsage")) or None,
        tags=[f"{k}={v}" for k, v in sorted(mapping(info.get("tags")).items())
              if not k.startswith("mlflow.")] or None,
        extra=rest(info, *_INFO) or None,
    )  # fmt: skip


def _parent(span: Mapping[str, Any]) -> Any:
    return take(span, "parent_span_id", "parent_id")


def _first(info: Record, data: Record, *names: str) -> Any:
    held = next((r[n] for r in (data, info) for n in names if r.get(n) not in (None, "")), None)
    return _decoded(held)


def _assessment(row: Record, trace_id: str, ids: Mapping[str, str]) -> Event:
    """Feedback by a person, a model or code; an expectation of the answer is a correction."""
    source, name = mapping(row.get("source")), take(row, "assessment_name", "name")
    inner, rationale = mapping(row.get("feedback")), take(row, "rationale", "comment")
    expectation = row.get("expectation")
    said: dict[str, Any]
    if expectation is not None:
        held = mapping(expectation)
        value = held.get("value", mapping(held.get("serialized_value")).get("value", expectation))
        said = {"signal": "correction" if name in _EXPECTED else "comment", "value": as_text(value)}
    elif inner.get("error") or row.get("error"):
        raise UnfitError("failed_judgement", "the assessment ended in an error")
    else:
        value = inner.get("value", row.get("value", row.get("numeric_value")))
        said = judged(value, name=name) if not isinstance(value, dict | list) else {
            "signal": "comment", "value": as_text(value)}  # fmt: skip
    kind = {"human": "user"}.get(str(source.get("source_type")).lower(), source.get("source_type"))
    if expectation is not None and str(kind).lower() == "user":
        kind = "reviewer"
    target = ids.get(str(row.get("span_id")))
    created, changed = (take(row, "create_time", "create_time_ms"),
                        take(row, "last_update_time", "last_update_time_ms"))  # fmt: skip
    return opinion(
        target or trace_id,
        said,
        id=str(take(row, "assessment_id", "id") or content_id("mlflow", trace_id, row)),
        kind="interaction" if target else "episode",
        event_ts=created or UNDATED,
        actor=actor_of(kind, source.get("source_id")),
        dimension=name,
        comment=rationale,
        metadata=mapping(row.get("metadata")),
        op="retract" if row.get("valid") is False else None,
        **revision(created, changed),
    )


def _dataset(record: Record) -> list[Event]:
    """A dataset's record: its answer, and the one that was expected."""
    id = str(record.get("dataset_record_id") or content_id("mlflow", record))
    truth = mapping(record.get("expectations"))
    expected = take(truth, *_EXPECTED)
    output = record.get("outputs")
    prompt = read_messages(parse_json(record.get("inputs")))
    if not prompt:
        raise UnfitError("no_prompt", "the inputs are empty")
    made = interaction(
        id,
        prompt,
        read_answer(parse_json(output if output not in (None, "", {}) else expected)),
        event_ts=take(record, "create_time", "created_at") or UNDATED,
        tags=[f"{k}={v}" for k, v in sorted(mapping(record.get("tags")).items())] or None,
        extra=rest(
            record, "inputs", "outputs", "dataset_record_id", "tags", "create_time", "expectations"
        ),
    )
    if not expected:
        return [made]
    if output in (None, "", {}):
        return [made, demonstration(id)]
    return [made, feedback(f"{id}-expected", id, "correction", as_text(expected),
                           event_ts=made["event_ts"], actor={"kind": "reviewer"})]  # fmt: skip


FORMAT = Format(
    name="mlflow",
    title="MLflow",
    recognise=recognise,
    convert=convert,
    fields=(
        ("span of type LLM, CHAT_MODEL", "interaction", "id: trace/span"),
        ("trace without such spans", "interaction", "from the root's inputs and outputs"),
        ("info.trace_id (request_id)", "trace_id, episode_id", ""),
        ("mlflow.trace.session, mlflow.trace.user", "session_id, subject_key", ""),
        ("state ERROR", "outcome error", ""),
        ("assessment: feedback.value", "thumb, score or comment", ""),
        ("assessment: expectation", "correction", "comment where it is no answer"),
        ("assessment: rationale", "comment", ""),
        ("assessment: valid false", "op retract", ""),
        ("assessment on a model call, on the trace", "on the interaction, the episode", ""),
        ("source_type HUMAN, LLM_JUDGE, CODE", "actor user, judge, rule", ""),
        ("dataset: inputs, outputs", "interaction", ""),
        ("dataset: expectations.expected_response", "correction", "demonstration without outputs"),
    ),
    examples=(
        {
            "info": {
                "trace_id": "tr-7",
                "trace_location": {"type": "MLFLOW_EXPERIMENT"},
                "request_time": "2024-06-01T10:00:00Z",
                "execution_duration_ms": 900,
                "state": "OK",
                "trace_metadata": {"mlflow.trace.session": "s-1", "mlflow.trace.user": "u-1"},
                "tags": {"mlflow.traceName": "chat", "team": "support"},
                "assessments": [
                    {
                        "assessment_id": "a-1",
                        "assessment_name": "helpful",
                        "trace_id": "tr-7",
                        "source": {"source_type": "HUMAN", "source_id": "u-1"},
                        "create_time": "2024-06-01T10:05:00Z",
                        "last_update_time": "2024-06-01T10:05:00Z",
                        "feedback": {"value": False},
                        "rationale": "too short",
                        "valid": True,
                    },
                    {
                        "assessment_id": "a-2",
                        "assessment_name": "expected_response",
                        "trace_id": "tr-7",
                        "source": {"source_type": "HUMAN", "source_id": "editor"},
                        "create_time": "2024-06-01T11:05:00Z",
                        "expectation": {"value": "Open the menu and choose Export."},
                    },
                ],
            },
            "data": {
                "spans": [
                    {
                        "trace_id": "7w==",
                        "span_id": "Aa==",
                        "parent_span_id": "",
                        "name": "chat",
                        "start_time_unix_nano": 1717236000000000000,
                        "end_time_unix_nano": 1717236000900000000,
                        "status": {"code": "STATUS_CODE_OK", "message": ""},
                        "attributes": {
                            "mlflow.spanType": '"CHAT_MODEL"',
                            "mlflow.spanInputs": '{"model": "gpt-4o", "messages": '
                            '[{"role": "user", "content": "How do I export?"}]}',
                            "mlflow.spanOutputs": '{"choices": [{"message": '
                            '{"role": "assistant", "content": "By the menu."}}]}',
                        },
                    }
                ]
            },
        },
        {
            "dataset_record_id": "dr-1",
            "inputs": {"question": "What is the limit?"},
            "outputs": "Ten.",
            "expectations": {"expected_response": "Ten a day."},
            "source": {"human": {"user_name": "editor"}},
            "tags": {},
        },
    ),
)
