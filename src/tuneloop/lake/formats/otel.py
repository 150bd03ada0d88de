"""OpenTelemetry GenAI: spans of model calls and `gen_ai.evaluation.result` events.

The messages lie in `gen_ai.input.messages` and `gen_ai.output.messages`, and in older traces in
events (`gen_ai.user.message`, `gen_ai.choice`) or numbered attributes (`gen_ai.prompt.0.role`).
Source: https://github.com/open-telemetry/semantic-conventions-genai
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.answers import read_answer
from tuneloop.lake.chats import read_messages, read_system
from tuneloop.lake.compose import interaction
from tuneloop.lake.fields import amount, as_text, ident, mapping, nest, parse_json, take, texts
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id
from tuneloop.lake.parts import Message
from tuneloop.lake.ratings import judged, opinion, together
from tuneloop.lake.spans import Span, attributes_of, read_span, split_export

_EVALUATION = "gen_ai.evaluation.result"
_OTHER_OPERATIONS = {"embeddings", "execute_tool", "create_agent", "retrieval", "rerank"}
_ROLES = {f"gen_ai.{role}.message": role for role in ("system", "user", "assistant", "tool")}
_SAMPLING = ("temperature", "top_p", "top_k", "max_tokens", "seed", "stop_sequences",
             "frequency_penalty", "presence_penalty")  # fmt: skip


def recognise(record: Mapping[str, Any]) -> float:
    """OTLP's own nesting, or attributes named gen_ai beside ids of spans."""
    if {"resourceSpans", "resourceLogs", "resource_spans", "resource_logs", "otlp",
        "otlp_log"} & record.keys():  # fmt: skip
        return 1.0
    attributes = attributes_of(take(record, "attributes", "SpanAttributes", "span_attributes"))
    names = {key.removeprefix("attributes.") for key in (*record, *attributes)}
    if not any(name.startswith("gen_ai.") for name in names):
        return 0.0
    ids = {"trace_id", "traceId", "TraceId", "span_id", "spanId", "context"}
    return 0.9 if ids & record.keys() else 0.6


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Return the span's model call, and its evaluations as feedback; other spans say nothing."""
    span = read_span(record)
    given = [event for event in span.events if event[0] == _EVALUATION]
    if "gen_ai.evaluation.name" in span.attributes and not given:
        given = [(_EVALUATION, span.attributes, span.start)]
    genai = _genai(span)
    return together(
        ([genai] if _is_call(span, genai, judged=bool(given)) else [], lambda g: [_call(span, g)]),
        (given, lambda event: [_evaluation(span, event)]),
    )


def _is_call(span: Span, genai: dict[str, Any], *, judged: bool) -> bool:
    """Say whether the span is a model's answer to somebody, and not a tool's or a workflow's."""
    operation = ident(mapping(genai.get("operation")).get("name"))
    if operation in _OTHER_OPERATIONS or (operation == "invoke_agent" and span.parent_id):
        return False
    spoken = bool({"input", "output", "prompt", "completion"} & genai.keys())
    spoken = spoken or any(name in _ROLES for name, _, _ in span.events)
    # Without messages it is refused as such, unless it only carries a judgement.
    return spoken or (bool(operation) and not judged)


def _genai(span: Span) -> dict[str, Any]:
    """Return everything under `gen_ai`, nested, with what events carry of it."""
    flat = dict(span.attributes)
    for name, held, _ in span.events:
        if name != _EVALUATION:
            flat |= {k: v for k, v in held.items() if k.startswith("gen_ai.")}
    return mapping(nest({k: v for k, v in flat.items() if k.startswith("gen_ai.")}).get("gen_ai"))


def _call(span: Span, genai: dict[str, Any]) -> Event:
    request, response = mapping(genai.get("request")), mapping(genai.get("response"))
    prompt, answer = _spoken(span, genai)
    if not prompt:
        raise UnfitError("no_prompt", "the span records no input messages")
    attributes, usage = span.attributes, mapping(genai.get("usage"))
    said = {} if span.failed and not answer else read_answer(answer)
    if reasons := texts(response.get("finish_reasons")):
        said["extra"] = {"finish_reason": reasons[0]} | said.get("extra", {})
    version = mapping(genai.get("prompt")).get("version")
    template = mapping(genai.get("prompt")).get("name")
    ttft = amount(response.get("time_to_first_chunk"))
    asked = {
        "sampling": {k: request[k] for k in _SAMPLING if request.get(k) is not None},
        "tools": _tools(genai),
        "template": {"name": str(template)} | ({"version": str(version)} if version else {})
        if template
        else None,
    }
    return interaction(
        span.id or content_id("otel", span.trace_id, span.name, str(span.start), prompt),
        prompt,
        said,
        event_ts=span.start,
        outcome="error" if span.failed else "ok",
        trace_id=span.trace_id,
        episode_id=span.trace_id,
        span_id=span.id,
        parent_id=span.parent_id,
        session_id=ident(mapping(genai.get("conversation")).get("id")
                         or attributes.get("session.id")),
        subject_key=ident(take(attributes, "enduser.id", "enduser.pseudo.id", "user.id")),
        env=ident(take(span.resource, "deployment.environment.name", "deployment.environment")),
        task=ident(mapping(genai.get("agent")).get("name") or span.resource.get("service.name")),
        system=ident(response.get("model") or request.get("model")),
        request={k: v for k, v in asked.items() if v},
        latency_ms=span.latency_ms,
        ttft_ms=ttft * 1000 if ttft is not None else None,
        usage=usage or None,
        extra={"response_id": response["id"]} if response.get("id") else None,
    )  # fmt: skip


def _tools(genai: dict[str, Any]) -> list[Any] | None:
    tools = parse_json(mapping(genai.get("tool")).get("definitions"))
    return [
        t if "function" in t else {"type": "function", "function": t}
        for t in map(mapping, tools if isinstance(tools, list) else [])
    ] or None


def _spoken(span: Span, genai: dict[str, Any]) -> tuple[list[Message], Any]:
    """Return the messages before the answer and the answer, wherever they were recorded."""
    prompt = read_system(parse_json(genai.get("system_instructions")))
    asked = parse_json(mapping(genai.get("input")).get("messages"))
    answer = parse_json(mapping(genai.get("output")).get("messages"))
    if asked is None and not (isinstance(genai.get("prompt"), dict)):
        asked = parse_json(genai.get("prompt"))
    if answer is None:
        answer = parse_json(genai.get("completion"))
    prompt += read_messages(asked)
    for name, held, _ in span.events:
        own = {k: v for k, v in held.items() if not k.startswith(("gen_ai.", "event."))}
        if name in _ROLES and own:
            own["role"] = own["role"] if own.get("role") == "developer" else _ROLES[name]
            if _ROLES[name] == "tool" and own.get("id"):
                own["tool_call_id"] = own["id"]
            prompt += read_messages([own])
        elif name == "gen_ai.choice" and answer is None:
            message = parse_json(own.get("message")) or own
            answer = [{"role": "assistant"} | mapping(message)
                      if isinstance(message, Mapping) else as_text(message)]  # fmt: skip
    if isinstance(answer, list) and len(answer) > 1 and all("parts" in mapping(a) for a in answer):
        answer = answer[:1]  # several candidates: the first is what was shown
    return prompt, answer


def _evaluation(span: Span, event: tuple[str, dict[str, Any], Any]) -> Event:
    """One judgement: the value counts, and the label where there is none."""
    _, held, when = event
    prefix = "gen_ai.evaluation."
    name = held.get(f"{prefix}name")
    value, label = held.get(f"{prefix}score.value"), held.get(f"{prefix}score.label")
    if held.get("error.type"):
        raise UnfitError("failed_judgement", f"the evaluation ended in {held['error.type']}")
    said = judged(value if value is not None else label, name=name)
    if value is not None and label:
        said["metadata"] = said.get("metadata", {}) | {"label": label}
    response_id = held.get("gen_ai.response.id")
    if span.id:
        kind, target = "interaction", span.id
    elif response_id:
        kind, target = "interaction", str(response_id)
    elif span.trace_id:
        kind, target = "episode", span.trace_id
    else:
        raise UnfitError("no_target", "the evaluation names no span, response or trace")
    person = str(name).lower() in ("user_feedback", "user-feedback", "thumbs", "user_rating")
    actor = {"kind": "user" if person else "judge"}
    author = ident(take(held, "enduser.id", "user.id"))
    return opinion(
        target,
        said,
        id=content_id("evaluation", target, held, str(when)),
        kind=kind,
        event_ts=when or span.start,
        actor=actor | ({"id": author} if author and person else {}),
        dimension=name,
        comment=held.get(f"{prefix}explanation"),
    )


def _kv(**typed: Any) -> list[dict[str, Any]]:
    """Return attributes as OTLP/JSON has them (for the examples)."""
    kinds = {str: "stringValue", float: "doubleValue", int: "intValue"}
    return [
        {"key": f"gen_ai.{name.replace('__', '.')}",
         "value": {kinds[type(v)]: str(v) if isinstance(v, int) else v}}
        for name, v in typed.items()
    ]  # fmt: skip


_SPAN = {
    "traceId": "5b8efff798038103d269b633813fc60c",
    "spanId": "eee19b7ec3c1b174",
    "parentSpanId": "eee19b7ec3c1b173",
    "name": "chat gpt-4o",
    "startTimeUnixNano": "1717236000000000000",
    "endTimeUnixNano": "1717236001200000000",
    "status": {"code": 1},
    "attributes": _kv(
        operation__name="chat",
        request__model="gpt-4o",
        conversation__id="conv-1",
        usage__input_tokens=12,
        input__messages='[{"role": "user", "parts": [{"type": "text", "content": "Weather?"}]}]',
        output__messages='[{"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", '
        '"name": "weather", "arguments": {"city": "Rome"}}]}]',
    ),
    "events": [
        {
            "name": "gen_ai.evaluation.result",
            "timeUnixNano": "1717236005000000000",
            "attributes": _kv(
                evaluation__name="Relevance",
                evaluation__score__value=0.9,
                evaluation__score__label="relevant",
            ),
        }
    ],
}
_RECORD = {
    "timeUnixNano": "1717236007000000000",
    "traceId": "5b8efff798038103d269b633813fc60c",
    "spanId": "eee19b7ec3c1b174",
    "eventName": "gen_ai.evaluation.result",
    "attributes": _kv(
        evaluation__name="Correctness",
        evaluation__score__label="fail",
        evaluation__explanation="no such city",
    ),
}
_SERVICE = {"attributes": [{"key": "service.name", "value": {"stringValue": "helpdesk"}}]}
FORMAT = Format(
    name="otel",
    title="OpenTelemetry GenAI",
    recognise=recognise,
    convert=convert,
    split=split_export,
    fields=(
        ("span with gen_ai messages", "interaction", "tools, embeddings and inner agents left out"),
        ("spanId, traceId, parentSpanId", "id = span_id, trace_id = episode_id, parent_id", ""),
        ("gen_ai.input.messages, gen_ai.system_instructions", "request.messages", "also JSON"),
        ("gen_ai.output.messages", "response", "the first candidate"),
        ("gen_ai.response.finish_reasons", "response.extra.finish_reason", "the first"),
        ("events gen_ai.*.message, gen_ai.choice", "the same", "older conventions"),
        ("gen_ai.prompt.N.*, gen_ai.completion.N.*", "the same", "OpenLLMetry"),
        ("gen_ai.request.*, gen_ai.tool.definitions", "request.sampling, request.tools", ""),
        ("gen_ai.response.model | gen_ai.request.model", "system", ""),
        ("gen_ai.conversation.id | session.id", "session_id", ""),
        ("enduser.id | user.id", "subject_key", ""),
        ("status ERROR", "outcome error", ""),
        (
            "event gen_ai.evaluation.result",
            "score, thumb or comment, by a judge",
            "on its span, else the response's id, else the trace",
        ),
        ("gen_ai.evaluation.score.value, .label, .explanation", "value, metadata, comment", ""),
    ),
    examples=(
        {"resourceSpans": [{"resource": _SERVICE, "scopeSpans": [{"spans": [_SPAN]}]}]},
        {"resourceLogs": [{"resource": _SERVICE, "scopeLogs": [{"logRecords": [_RECORD]}]}]},
        {
            "name": "chat llama",
            "context": {"trace_id": "0x5b8e", "span_id": "0xee20", "trace_state": "[]"},
            "kind": "SpanKind.CLIENT",
            "parent_id": None,
            "start_time": "2024-06-01T10:00:00.000000Z",
            "end_time": "2024-06-01T10:00:01.000000Z",
            "status": {"status_code": "UNSET"},
            "attributes": {"gen_ai.operation.name": "chat", "gen_ai.response.model": "llama-3.1"},
            "events": [
                {
                    "name": "gen_ai.system.message",
                    "timestamp": "2024-06-01T10:00:00.000000Z",
                    "attributes": {"content": "You are brief."},
                },
                {
                    "name": "gen_ai.user.message",
                    "timestamp": "2024-06-01T10:00:00.000000Z",
                    "attributes": {"content": "Weather in Oslo?"},
                },
                {
                    "name": "gen_ai.choice",
                    "timestamp": "2024-06-01T10:00:01.000000Z",
                    "attributes": {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": '{"role": "assistant", "content": "Rain."}',
                    },
                },
            ],
            "resource": {"attributes": {"service.name": "weather"}},
        },
        {
            "trace_id": "5b8f",
            "span_id": "ee21",
            "start_time": 1717236000,
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.prompt.0.role": "user",
            "gen_ai.prompt.0.content": "And in Rome?",
            "gen_ai.completion.0.role": "assistant",
            "gen_ai.completion.0.content": "Sun.",
        },
    ),
)
