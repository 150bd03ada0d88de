"""Langfuse: traces, observations and scores, from the API, the interface or the bucket export.

Source: https://langfuse.com/docs/api-and-data-platform/features/blob-storage-export-fields
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.answers import read_answer
from tuneloop.lake.chats import read_messages
from tuneloop.lake.compose import interaction, number_of
from tuneloop.lake.fields import (
    amount,
    as_text,
    ident,
    mapping,
    parse_json,
    rest,
    rows,
    take,
    texts,
)
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id
from tuneloop.lake.ratings import actor_of, judged, opinion, revision, together
from tuneloop.lake.times import UNDATED

_TYPES = {"GENERATION", "SPAN", "EVENT", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EVALUATOR",
          "EMBEDDING", "GUARDRAIL"}  # fmt: skip
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_CALL = (
    "id", "trace_id", "type", "input", "output", "start_time", "end_time", "user_id", "session_id",
    "completion_start_time", "parent_observation_id", "model", "provided_model_name", "tags",
    "model_parameters", "usage_details", "usage", "cost_details", "total_cost", "prompt_name",
    "prompt_version", "environment", "latency", "time_to_first_token", "timestamp", "scores",
    "observations", "created_at", "updated_at", "project_id", "html_path", "level",
)  # fmt: skip
_SCORE = (
    "id", "trace_id", "observation_id", "session_id", "name", "value", "data_type", "string_value",
    "source", "comment", "timestamp", "created_at", "updated_at", "author_user_id", "metadata",
    "config", "trace", "user_id",
)  # fmt: skip


def recognise(record: Mapping[str, Any]) -> float:
    """An observation's type, a score's target and type, or a trace with its own fields."""
    row = _snake(record)
    if str(row.get("type")) in _TYPES and ("trace_id" in row or "parent_observation_id" in row):
        return 1.0
    if "name" in row and ("value" in row or "string_value" in row):
        own = bool({"data_type", "observation_id", "dataset_run_id"} & row.keys())
        own = own or row.get("source") in ("API", "ANNOTATION", "EVAL")
        return 1.0 if own and ("trace_id" in row or "session_id" in row) else 0.0
    if "id" in row and "timestamp" in row and {"input", "output"} & row.keys():
        marks = {"observations", "scores", "session_id", "user_id", "bookmarked", "public",
                 "html_path", "release"} & row.keys()  # fmt: skip
        return 0.9 if len(marks) >= 2 else 0.0
    return 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Return the generations as interactions, then scores on them, their trace or session."""
    row = _snake(record)
    if str(row.get("type")) in _TYPES:
        return _observation(row)
    if "name" in row and ("value" in row or "string_value" in row) and "input" not in row:
        return [_score(row, {})]
    return _trace(row)


def _snake(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields as the bucket export names them."""
    row = {_HUMP.sub("_", name).lower(): value for name, value in record.items()}
    if "total_cost" not in row and "calculated_total_cost" in row:
        row["total_cost"] = row.pop("calculated_total_cost")
    return row


def _trace(trace: Record) -> list[Event]:
    """A trace's generations, or the trace itself where none are inside."""
    if not trace.get("id"):
        raise UnfitError("no_id", "the trace has no id")
    found = [_snake(one) for one in rows(trace.get("observations"))]
    found.sort(key=lambda o: (str(o.get("start_time")), str(o.get("id"))))
    calls = [row for row in found if row.get("type") == "GENERATION"]
    if not calls and trace.get("input") and trace.get("output"):
        calls = [trace | {"trace_id": trace["id"]}]
    events = together(
        (calls, lambda row: [_call(row, trace)]),
        (_scores_of(trace), lambda score: [_score(score, trace)]),
        *(
            (
                _scores_of(row),
                lambda score, on=row: [_score(score | {"observation_id": on["id"]}, on)],
            )
            for row in found
            if row.get("id")
        ),
    )
    if not events:
        raise UnfitError("no_answer", "the trace has no generation, no input and output, no score")
    return events


def _observation(row: Record) -> list[Event]:
    """One generation; spans, tools and events are no model calls."""
    if row.get("type") != "GENERATION":
        return []
    on = {"observation_id": row.get("id")}
    return together(
        ([row], lambda row: [_call(row, {})]),
        (_scores_of(row), lambda score: [_score(score | on, row)]),
    )


def _call(row: Record, trace: Record) -> Event:
    asked = parse_json(row.get("input"))
    prompt = read_messages(asked)
    if not prompt:
        raise UnfitError("no_prompt", "the input is empty")
    failed = row.get("level") == "ERROR"
    tools = mapping(asked).get("tools") or parse_json(row.get("tool_definitions"))
    request: dict[str, Any] = {"tools": rows(tools),
               "sampling": mapping(row.get("model_parameters"))}  # fmt: skip
    if name := ident(row.get("prompt_name")):
        version = ident(row.get("prompt_version"))
        request["template"] = {"name": name} | ({"version": version} if version else {})
    usage = parse_json(row.get("usage_details") or row.get("usage"))
    latency, first = amount(row.get("latency")), amount(row.get("time_to_first_token"))
    trace_id = ident(row.get("trace_id")) or ident(trace.get("id"))
    return interaction(
        str(row.get("id") or content_id("langfuse", row)),
        prompt,
        {} if failed and not row.get("output") else read_answer(row.get("output") or None),
        event_ts=take(row, "start_time", "timestamp") or trace.get("timestamp") or UNDATED,
        outcome="error" if failed else "ok",
        trace_id=trace_id,
        episode_id=trace_id,
        parent_id=ident(row.get("parent_observation_id")),
        session_id=ident(row.get("session_id") or trace.get("session_id")),
        subject_key=ident(row.get("user_id") or trace.get("user_id")),
        env=ident(row.get("environment") or trace.get("environment")),
        system=ident(take(row, "provided_model_name", "model")),
        request={k: v for k, v in request.items() if v},
        latency_ms=latency * 1000 if latency is not None else None,
        ttft_ms=first * 1000 if first is not None else None,
        usage=usage if isinstance(usage, dict) and usage else None,
        cost=number_of(row.get("total_cost")),
        tags=texts(row.get("tags") or trace.get("tags")),
        extra=rest(row, *_CALL) or None,
    )


def _scores_of(row: Record) -> list[Record]:
    """Return the scores inside a trace or observation: a list, or values by name."""
    scores = parse_json(row.get("scores"))
    if isinstance(scores, Mapping):
        return [
            {"id": content_id("score", row.get("id"), name, n), "name": name, "value": value}
            for name, values in scores.items()
            for n, value in enumerate(values if isinstance(values, list) else [values])
            if value is not None
        ]
    return [_snake(score) for score in rows(scores)]


def _score(row: Record, around: Record) -> Event:
    trace = ident(row.get("trace_id")) or ident(around.get("trace_id") or around.get("id"))
    places = (("interaction", ident(row.get("observation_id"))), ("episode", trace),
              ("session", ident(row.get("session_id"))))  # fmt: skip
    kind, target = next(((k, t) for k, t in places if t), ("", ""))
    if not target:
        raise UnfitError("no_target", "the score is on no trace, observation or session")
    return opinion(
        target,
        _said(row),
        id=str(row.get("id") or content_id("score", row)),
        kind=kind,
        event_ts=take(row, "timestamp", "created_at") or around.get("timestamp") or UNDATED,
        actor=actor_of(row.get("source") or "api", row.get("author_user_id") or row.get("user_id")),
        dimension=row.get("name"),
        comment=row.get("comment"),
        metadata=mapping(row.get("metadata")),
        extra=rest(row, *_SCORE) or None,
        **revision(row.get("created_at"), row.get("updated_at")),
    )


def _said(row: Record) -> dict[str, Any]:
    """Return the judgement: a category counts by its name, not by its place in the list."""
    kind, value, label = (
        str(row.get("data_type") or "").upper(), row.get("value"), row.get("string_value"),
    )  # fmt: skip
    if kind == "CORRECTION":
        held = take(row, "string_value", "value", "comment")
        return {"signal": "correction", "value": as_text(held or "")}
    if kind == "TEXT":
        return {"signal": "comment", "value": as_text(take(row, "string_value", "comment") or "")}
    name = row.get("name")
    if kind == "BOOLEAN":
        truth = number_of(value)
        return judged(bool(truth) if truth is not None else value if isinstance(value, bool)
                      else label, name=name)  # fmt: skip
    if kind == "CATEGORICAL" or (value is None and label):
        return judged(label if label not in (None, "") else as_text(value), name=name)
    config = mapping(row.get("config"))
    scale = (take(config, "minValue", "min_value"), take(config, "maxValue", "max_value"))
    if value is None and row.get("comment"):
        return {"signal": "comment", "value": as_text(row["comment"])}
    return judged(value, name=name, scale=scale)


FORMAT = Format(
    name="langfuse",
    title="Langfuse",
    recognise=recognise,
    convert=convert,
    fields=(
        ("observation (GENERATION)", "interaction", "spans, tools and events are left out"),
        ("trace without observations", "interaction", "from its input and output"),
        ("traceId, sessionId, userId", "trace_id = episode_id, session_id, subject_key", ""),
        ("input, output", "request.messages, response", "text, messages or JSON"),
        ("model, modelParameters, promptName, promptVersion", "system, request", ""),
        ("latency, timeToFirstToken (s)", "latency_ms, ttft_ms", ""),
        ("level: ERROR", "outcome error", ""),
        ("score on an observation", "feedback on the interaction", ""),
        ("score on a trace, a session", "feedback on the episode, the session", ""),
        ("dataType NUMERIC", "score", "scale from config; else 0–1, or assumed and marked so"),
        ("dataType BOOLEAN", "thumb", ""),
        ("dataType CATEGORICAL", "thumb where the word is known, else comment", "by stringValue"),
        ("dataType TEXT, CORRECTION", "comment, correction", ""),
        ("source API, ANNOTATION, EVAL", "actor user, reviewer, judge", ""),
        ("createdAt, updatedAt", "revision", "seconds between them"),
    ),
    examples=(
        {
            "id": "trace-1",
            "timestamp": "2024-06-01T10:00:00.000Z",
            "name": "support",
            "userId": "customer-3",
            "sessionId": "chat-77",
            "input": {"question": "How do I reset it?"},
            "output": "Hold the button.",
            "observations": [
                {
                    "id": "obs-1",
                    "traceId": "trace-1",
                    "type": "GENERATION",
                    "startTime": "2024-06-01T10:00:00.100Z",
                    "endTime": "2024-06-01T10:00:01.100Z",
                    "model": "gpt-4o",
                    "modelParameters": {"temperature": 0},
                    "input": [{"role": "user", "content": "How do I reset it?"}],
                    "output": {"role": "assistant", "content": "Hold the button."},
                    "latency": 1.0,
                    "level": "DEFAULT",
                },
                {
                    "id": "obs-2",
                    "traceId": "trace-1",
                    "type": "SPAN",
                    "startTime": "2024-06-01T10:00:00.000Z",
                    "name": "retrieve",
                },
            ],
            "scores": [
                {
                    "id": "score-1",
                    "traceId": "trace-1",
                    "name": "user-feedback",
                    "value": 1,
                    "dataType": "BOOLEAN",
                    "stringValue": "True",
                    "source": "API",
                    "timestamp": "2024-06-01T10:01:00.000Z",
                }
            ],
        },
        {
            "id": "obs-9",
            "trace_id": "trace-9",
            "project_id": "p",
            "environment": "production",
            "type": "GENERATION",
            "start_time": "2024-05-29 13:46:19.963000",
            "end_time": "2024-05-29 13:46:20.963000",
            "user_id": "customer-4",
            "session_id": "chat-78",
            "input": '[{"role": "user", "content": "Is it free?"}]',
            "output": '{"role": "assistant", "content": "The first month is."}',
            "provided_model_name": "gpt-4o",
            "model_parameters": '{"temperature": 0.7}',
            "usage_details": {"input": 10, "output": 5},
            "total_cost": 0.001,
            "latency": 1.0,
            "time_to_first_token": None,
            "prompt_name": "pricing",
            "prompt_version": 3,
        },
        {
            "id": "score-9",
            "timestamp": "2024-05-29 14:00:00.000000",
            "project_id": "p",
            "environment": "production",
            "trace_id": "trace-9",
            "observation_id": "obs-9",
            "session_id": None,
            "name": "tone",
            "value": 2,
            "source": "ANNOTATION",
            "comment": "friendly",
            "data_type": "CATEGORICAL",
            "string_value": "good",
            "created_at": "2024-05-29 14:00:00.000000",
            "updated_at": "2024-05-29 14:00:05.000000",
        },
        {
            "id": "score-10",
            "traceId": "trace-9",
            "observationId": "obs-9",
            "name": "output",
            "value": "The first month is free, then 4 € a month.",
            "dataType": "CORRECTION",
            "source": "ANNOTATION",
            "authorUserId": "editor-1",
            "timestamp": "2024-05-29T15:00:00Z",
        },
        {
            "id": "score-11",
            "sessionId": "chat-78",
            "name": "satisfaction",
            "value": 4,
            "config": {"minValue": 1, "maxValue": 5},
            "dataType": "NUMERIC",
            "source": "EVAL",
            "timestamp": "2024-05-29T16:00:00Z",
        },
    ),
)
