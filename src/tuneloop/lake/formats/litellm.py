"""LiteLLM's StandardLoggingPayload, as its callbacks and bucket loggers write it.

Source: https://docs.litellm.ai/docs/proxy/logging_spec
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.answers import read_answer
from tuneloop.lake.chats import read_messages
from tuneloop.lake.compose import has, interaction, number_of
from tuneloop.lake.fields import ident, mapping, parse_json, rest, rows, take, texts
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id

_PEOPLE = ("user_api_key_end_user_id", "user_api_key_user_id", "user_api_key_user_email",
           "requester_ip_address", "user_api_key_hash", "headers")  # fmt: skip
_USED = (
    "id", "trace_id", "call_type", "messages", "response", "model", "startTime", "endTime",
    "status", "completionStartTime", "response_cost", "end_user", "metadata", "model_parameters",
    "session_id", "request_tags", "prompt_tokens", "completion_tokens", "total_tokens",
    "requester_ip_address",
    "standard_logging_object", "hidden_params", "cost_breakdown", "model_map_information",
)  # fmt: skip
_NOT_CHATS = ("embedding", "image", "transcription", "speech", "rerank", "moderation")


def recognise(record: Mapping[str, Any]) -> float:
    """The payload's own mixture of cases, or the payload inside of what a callback gets."""
    if isinstance(record.get("standard_logging_object"), Mapping):
        return 1.0
    known = has(record, "call_type", "startTime", "messages", "response")
    return 1.0 if known and ("model_group" in record or "response_cost" in record) else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Return one interaction; failures keep what was asked. Other calls than chats say nothing."""
    payload = mapping(record.get("standard_logging_object")) or record
    if any(word in str(payload.get("call_type")) for word in _NOT_CHATS):
        return
    messages = read_messages(parse_json(payload.get("messages")))
    if not messages:
        raise UnfitError("no_prompt", "messages are empty or were not logged")
    failed = payload.get("status") == "failure"
    cancelled = "cancel" in str(payload.get("error_str") or "").lower()
    metadata, parameters = (
        mapping(payload.get("metadata")),
        mapping(payload.get("model_parameters")),
    )
    start, end, first = (
        number_of(payload.get(k)) for k in ("startTime", "endTime", "completionStartTime")
    )
    request = {
        "tools": rows(parameters.get("tools")),
        "response_format": mapping(parameters.get("response_format")),
        "sampling": rest(parameters, "tools", "response_format", "user", "metadata"),
    }
    tokens = ("prompt_tokens", "completion_tokens", "total_tokens")
    yield interaction(
        str(payload.get("id") or content_id("litellm", payload)),
        messages,
        {} if failed else read_answer(parse_json(payload.get("response"))),
        event_ts=payload.get("startTime"),
        outcome=("cancelled" if cancelled else "error") if failed else "ok",
        trace_id=ident(payload.get("trace_id")),
        episode_id=ident(payload.get("trace_id")),
        session_id=ident(
            take(metadata, "session_id", "litellm_session_id") or payload.get("session_id")
        ),
        subject_key=ident(take(payload, "end_user") or take(metadata, *_PEOPLE[:2])),
        system=ident(payload.get("model")),
        request={k: v for k, v in request.items() if v},
        latency_ms=_span_ms(start, end),
        ttft_ms=_span_ms(start, first) if first and end and first < end else None,
        usage={k: payload[k] for k in tokens if payload.get(k) is not None} or None,
        cost=number_of(payload.get("response_cost")),
        tags=texts(payload.get("request_tags")),
        extra=rest(payload, *_USED) | {"metadata": rest(metadata, *_PEOPLE)},
    )


def _span_ms(start: float | None, end: float | None) -> float | None:
    return round((end - start) * 1000, 3) if start and end and end >= start else None


FORMAT = Format(
    name="litellm",
    title="LiteLLM StandardLoggingPayload",
    recognise=recognise,
    convert=convert,
    fields=(
        ("id", "id", ""),
        ("trace_id", "trace_id, episode_id", "retries and fallbacks share it"),
        ("metadata.session_id", "session_id", ""),
        ("end_user, metadata.user_api_key_end_user_id", "subject_key", "in this order"),
        ("messages", "request.messages", "a text, a list or JSON"),
        ("model_parameters", "request.sampling, tools, response_format", ""),
        ("response", "response", "a ChatCompletion or a text"),
        ("response.choices[0].finish_reason", "response.extra.finish_reason", ""),
        ("status: failure", "outcome error (or cancelled)", "the answer is empty"),
        ("startTime, endTime, completionStartTime", "event_ts, latency_ms, ttft_ms", "seconds"),
        ("response_cost, *_tokens", "cost, usage", ""),
        ("cache_hit, call_type: embedding …", "extra; other calls than chats are left out", ""),
    ),
    examples=(
        {
            "id": "chatcmpl-7a2",
            "trace_id": "tr-51",
            "call_type": "acompletion",
            "stream": False,
            "response_cost": 0.00031,
            "status": "success",
            "custom_llm_provider": "openai",
            "total_tokens": 41,
            "prompt_tokens": 30,
            "completion_tokens": 11,
            "startTime": 1717236000.25,
            "endTime": 1717236001.5,
            "completionStartTime": 1717236000.75,
            "model": "gpt-4o-mini",
            "model_group": "fast",
            "api_base": "https://api.openai.com",
            "metadata": {
                "user_api_key_end_user_id": "customer-8",
                "user_api_key_alias": "shop",
                "spend_logs_metadata": None,
            },
            "cache_hit": False,
            "request_tags": ["checkout"],
            "end_user": "customer-8",
            "messages": [{"role": "user", "content": "Can I pay by card?"}],
            "response": {
                "id": "chatcmpl-7a2",
                "object": "chat.completion",
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": "Yes, by any card."},
                    }
                ],
            },
            "error_str": None,
            "model_parameters": {"temperature": 0.3},
        },
        {
            "id": "chatcmpl-7a3",
            "trace_id": "tr-52",
            "call_type": "completion",
            "response_cost": 0,
            "status": "failure",
            "startTime": 1717236010.0,
            "endTime": 1717236070.0,
            "completionStartTime": 1717236070.0,
            "model": "gpt-4o-mini",
            "metadata": {"user_api_key_end_user_id": None},
            "messages": "Can I pay by cheque?",
            "response": None,
            "error_str": "Timeout: no answer within 60 s",
            "model_parameters": {},
        },
    ),
)
