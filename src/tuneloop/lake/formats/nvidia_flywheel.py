"""NVIDIA data flywheel logs: an OpenAI request and response, by workload and client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.answers import read_answer
from tuneloop.lake.chats import read_messages
from tuneloop.lake.compose import has, interaction
from tuneloop.lake.fields import ident, mapping, rest, rows
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id

_SAMPLING = (
    "temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "stop", "n",
    "frequency_penalty", "presence_penalty", "tool_choice", "parallel_tool_calls", "stream",
)  # fmt: skip


def recognise(record: Mapping[str, Any]) -> float:
    """A workload and a client beside a request and a response."""
    if has(record, "workload_id", "client_id", "request", "response"):
        return 1.0
    return 0.6 if has(record, "timestamp", "workload_id", "request", "response") else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Return one interaction; nobody's feedback is in these logs."""
    body, response = mapping(record.get("request")), mapping(record.get("response"))
    messages = read_messages(body.get("messages") or body.get("prompt"))
    if not messages:
        raise UnfitError("no_prompt", "request.messages is empty")
    error = response.get("error")
    request = {
        "tools": rows(body.get("tools")),
        "response_format": mapping(body.get("response_format")),
        "sampling": {k: body[k] for k in _SAMPLING if body.get(k) is not None},
        "extra": rest(body, "messages", "prompt", "tools", "response_format", "model", "user",
                      *_SAMPLING),
    }  # fmt: skip
    yield interaction(
        str(response.get("id") or content_id("flywheel", record)),
        messages,
        {} if error else read_answer(response),
        event_ts=record.get("timestamp"),
        outcome="error" if error else "ok",
        task=ident(record.get("workload_id")),
        subject_key=ident(body.get("user")),
        system=ident(response.get("model") or body.get("model")),
        usage=mapping(response.get("usage")) or None,
        request={k: v for k, v in request.items() if v},
        extra=rest(record, "request", "response", "timestamp", "workload_id")
        | ({"error": error} if error else {})
        or None,
    )


FORMAT = Format(
    name="nvidia_flywheel",
    title="NVIDIA data flywheel logs",
    recognise=recognise,
    convert=convert,
    fields=(
        ("timestamp", "event_ts", "seconds since 1970"),
        ("workload_id", "task", ""),
        ("client_id", "extra.client_id", "an application, not a person"),
        ("request.messages, tools", "request", "arguments of calls as text or object"),
        ("request.temperature …", "request.sampling", ""),
        ("request.user", "subject_key", ""),
        ("response.choices[0].message", "response", ""),
        ("response.choices[0].finish_reason", "response.extra.finish_reason", ""),
        ("response.id, model, usage", "id, system, usage", ""),
    ),
    examples=(
        {
            "timestamp": 1717236000,
            "workload_id": "support_router",
            "client_id": "web-prod",
            "request": {
                "model": "meta/llama-3.1-70b-instruct",
                "messages": [{"role": "user", "content": "My invoice is wrong"}],
                "temperature": 0.2,
                "tools": [{"type": "function", "function": {"name": "route", "parameters": {}}}],
            },
            "response": {
                "id": "chatcmpl-9f1",
                "object": "chat.completion",
                "created": 1717236001,
                "model": "meta/llama-3.1-70b-instruct",
                "choices": [
                    {
                        "index": 0,
                        "message": {
                            "role": "assistant",
                            "content": None,
                            "tool_calls": [
                                {
                                    "id": "c1",
                                    "type": "function",
                                    "function": {"name": "route", "arguments": {"to": "billing"}},
                                }
                            ],
                        },
                        "finish_reason": "tool_calls",
                    }
                ],
                "usage": {"prompt_tokens": 80, "completion_tokens": 12, "total_tokens": 92},
            },
        },
    ),
)
