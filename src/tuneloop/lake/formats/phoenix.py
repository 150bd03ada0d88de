"""Arize Phoenix: OpenInference spans (API or dataframe rows) and annotations of them.

Source: https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.answers import read_answer
from tuneloop.lake.chats import read_messages
from tuneloop.lake.compose import interaction, number_of
from tuneloop.lake.fields import as_text, ident, mapping, nest, parse_json, rest, rows, take, texts
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id
from tuneloop.lake.ratings import actor_of, judged, opinion, revision, together
from tuneloop.lake.times import UNDATED, parse_time

_ANNOTATION = (
    "id", "span_id", "trace_id", "session_id", "context", "annotation_name", "name", "result",
    "annotator_kind", "label", "score", "explanation", "metadata", "user_id", "created_at",
    "updated_at", "identifier", "source",
)  # fmt: skip


def recognise(record: Mapping[str, Any]) -> float:
    """An annotation's kind and name, or a span with OpenInference's attributes."""
    if "annotator_kind" in record and ("name" in record or "annotation_name" in record):
        return 1.0
    names = " ".join([*record, *mapping(record.get("attributes"))])
    if "llm.input_messages" in names or "llm.output_messages" in names:
        return 1.0
    if "span_kind" in record and {"context", "context.span_id"} & record.keys():
        return 0.9
    attributes = mapping(record.get("attributes"))
    return 0.9 if {"llm", "openinference"} & attributes.keys() else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Return a model call (other spans say nothing), or an annotation as feedback."""
    row = nest(record)
    if "annotator_kind" in row:
        return [_annotation(row)]
    attributes = mapping(row.get("attributes"))
    kind = str(take(row, "span_kind") or mapping(mapping(attributes.get("openinference"))
               .get("span")).get("kind") or "").upper()  # fmt: skip
    llm = mapping(attributes.get("llm"))
    parent = ident(take(row, "parent_id", "parent_span_id"))
    if kind != "LLM" and not llm.get("output_messages") and (kind or parent):
        return []
    span = ident(mapping(row.get("context")).get("span_id") or row.get("span_id"))
    given = [one | {"span_id": span} for one in rows(row.get("annotations"))]
    return together(
        ([row], lambda row: [_call(row, attributes, llm)]),
        (given, lambda one: [_annotation(one)]),
    )


def _call(row: Record, attributes: Record, llm: Record) -> Event:
    context = mapping(row.get("context"))
    asked = llm.get("input_messages") or _value(attributes, "input")
    said = llm.get("output_messages") or _value(attributes, "output")
    prompt = read_messages(asked)
    if not prompt:
        raise UnfitError("no_prompt", "the span has no input")
    template = mapping(llm.get("prompt_template"))
    tools = [mapping(mapping(t).get("tool")).get("json_schema", mapping(t).get("json_schema"))
             for t in rows(llm.get("tools"))]  # fmt: skip
    request: dict[str, Any] = {
        "sampling": mapping(llm.get("invocation_parameters")),
        "tools": [tool for tool in map(mapping, tools) if tool],
    }
    if template.get("version") or template.get("variables"):
        request["template"] = {
            "name": str(row.get("name") or "prompt"),
            "variables": mapping(template.get("variables")),
        } | ({"version": str(template["version"])} if template.get("version") else {})
    failed = str(row.get("status_code")).upper() == "ERROR"
    start, end = row.get("start_time"), row.get("end_time")
    trace_id = ident(context.get("trace_id") or row.get("trace_id"))
    return interaction(
        str(context.get("span_id") or row.get("span_id") or content_id("phoenix", row)),
        prompt,
        {} if failed and not said else read_answer(said),
        event_ts=start or UNDATED,
        outcome="error" if failed else "ok",
        trace_id=trace_id,
        episode_id=trace_id,
        parent_id=ident(take(row, "parent_id", "parent_span_id")),
        session_id=ident(mapping(attributes.get("session")).get("id")),
        subject_key=ident(mapping(attributes.get("user")).get("id")),
        system=ident(llm.get("model_name")),
        request={k: v for k, v in request.items() if v},
        latency_ms=_latency(start, end),
        usage=mapping(llm.get("token_count")) or None,
        tags=texts(mapping(attributes.get("tag")).get("tags")),
        extra={"metadata": held} if (held := mapping(attributes.get("metadata"))) else None,
    )


def _value(attributes: Record, side: str) -> Any:
    return parse_json(mapping(attributes.get(side)).get("value"))


def _latency(start: Any, end: Any) -> float | None:
    if not start or not end:
        return None
    passed = (parse_time(end) - parse_time(start)).total_seconds() * 1000
    return round(passed, 3) if passed >= 0 else None


def _annotation(row: Record) -> Event:
    """A label, a score, or an explanation alone; with both the score counts and the label stays."""
    result = row | mapping(row.get("result"))
    name = take(row, "annotation_name", "name")
    label, score, why = (result.get(k) for k in ("label", "score", "explanation"))
    if number_of(score) is not None:
        said = judged(score, name=name)
        said["metadata"] = said.get("metadata", {}) | ({"label": label} if label else {})
    elif label:
        said = judged(label, name=name)
    elif why:
        said = {"signal": "comment", "value": as_text(why)}
    else:
        raise UnfitError("no_value", "the annotation has no label, score or explanation")
    context = mapping(row.get("context"))
    places = (
        ("interaction", row.get("span_id") or context.get("span_id")),
        ("episode", row.get("trace_id") or context.get("trace_id")),
        ("session", row.get("session_id")),
    )
    kind, target = next(((k, str(t)) for k, t in places if t), ("", ""))
    if not target:
        raise UnfitError("no_target", "the annotation is on no span, trace or session")
    by = str(row["annotator_kind"]).lower() if row.get("annotator_kind") else "human"
    if by == "human" and str(row.get("source")).upper() == "APP":
        by = "reviewer"
    return opinion(
        target,
        said,
        id=str(row.get("id") or content_id("phoenix", row)),
        kind=kind,
        event_ts=row.get("created_at") or UNDATED,
        actor=actor_of(by, row.get("user_id")),
        dimension=name,
        comment=why,
        metadata=mapping(row.get("metadata")),
        extra=rest(row, *_ANNOTATION) or None,
        **revision(row.get("created_at"), row.get("updated_at")),
    )


FORMAT = Format(
    name="phoenix",
    title="Arize Phoenix",
    recognise=recognise,
    convert=convert,
    fields=(
        ("span of kind LLM", "interaction", "other spans are left out"),
        ("context.span_id, context.trace_id", "id, trace_id = episode_id", ""),
        ("attributes.session.id, attributes.user.id", "session_id, subject_key", ""),
        ("llm.input_messages, llm.output_messages", "request.messages, response", ""),
        ("input.value, output.value", "the same", "where there are no messages"),
        ("llm.model_name, llm.invocation_parameters, llm.tools", "system, request", ""),
        ("llm.token_count", "usage", ""),
        ("annotation: score", "score", "its label stays in metadata"),
        ("annotation: label", "thumb where the word is known, else comment", ""),
        ("annotation: explanation", "comment", ""),
        ("annotator_kind HUMAN, LLM, CODE", "actor user (reviewer in the app), judge, rule", ""),
        ("annotation on a span, trace, session", "on the interaction, episode, session", ""),
    ),
    examples=(
        {
            "context.span_id": "5c00ab31",
            "context.trace_id": "9b7e",
            "name": "ChatCompletion",
            "span_kind": "LLM",
            "parent_id": None,
            "start_time": "2024-06-01T10:00:00.000+00:00",
            "end_time": "2024-06-01T10:00:02.000+00:00",
            "status_code": "OK",
            "attributes.llm.model_name": "gpt-4o",
            "attributes.llm.input_messages": [
                {"message.role": "user", "message.content": "Do you ship to Malta?"}
            ],
            "attributes.llm.output_messages": [
                {"message.role": "assistant", "message.content": "Yes, in five days."}
            ],
            "attributes.llm.invocation_parameters": '{"temperature": 0.2}',
            "attributes.llm.token_count.prompt": 11,
            "attributes.session.id": "chat-3",
            "attributes.user.id": "customer-6",
        },
        {
            "id": "U3Bhbjox",
            "name": "ChatCompletion",
            "context": {"trace_id": "9b7f", "span_id": "5c00ab32"},
            "span_kind": "LLM",
            "parent_id": "5c00ab30",
            "start_time": "2024-06-01T10:01:00Z",
            "end_time": "2024-06-01T10:01:01Z",
            "status_code": "OK",
            "attributes": {
                "llm.model_name": "gpt-4o",
                "llm.input_messages.0.message.role": "user",
                "llm.input_messages.0.message.content": "And to Gozo?",
                "llm.output_messages.0.message.role": "assistant",
                "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "lookup",
                "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": "{}",
                "llm.output_messages.0.message.tool_calls.0.tool_call.id": "c1",
            },
        },
        {
            "id": "QW5uOjE=",
            "created_at": "2024-06-01T10:05:00Z",
            "updated_at": "2024-06-01T10:05:00Z",
            "source": "APP",
            "user_id": "editor-3",
            "name": "correctness",
            "annotator_kind": "HUMAN",
            "result": {"label": "incorrect", "score": 0.0, "explanation": "it takes ten days"},
            "metadata": {},
            "identifier": "",
            "span_id": "5c00ab31",
        },
    ),
)
