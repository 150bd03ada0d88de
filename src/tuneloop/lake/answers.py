"""What a model answered, as other systems write it → `content`, `tool_calls`, `reasoning`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuneloop.lake.chats import is_chat, read_messages
from tuneloop.lake.fields import as_text, parse_json
from tuneloop.lake.format import UnfitError
from tuneloop.lake.parts import Message

Response = dict[str, Any]
MAX_DEPTH = 8
"""So many wrappings are taken off an answer."""

_INSIDE = (
    "message", "output_text", "output", "outputs", "answer", "response", "completion", "text",
    "content", "result", "generated_text", "prediction", "choices", "generations", "raw",
)  # fmt: skip
_SHELLS = frozenset(
    {"incomplete_details", "finishReason", "candidates", "modelVersion", "responseId",
     "usageMetadata", "response_metadata", "usage", "model", "id", "object", "created",
     "system_fingerprint", "stop_reason", "parsed",
     "llm_output", "run", "type", "service_tier", "finish_reason", "index", "logprobs", "metadata",
     "generation_info", "stop_sequence", "usage_metadata", "role", "status", "provider"}
)  # fmt: skip


def read_answer(value: Any) -> Response:
    """Return the answer in any dialect: the last assistant message of what was returned.

    A text, a message, a ChatCompletion, an Anthropic message, items of the responses API, a
    LangChain generation, blocks, or fields of one's own (which stay JSON).

    An answer that is an empty text is one: somebody may have been shown it, and judged it.

    Raises:
        UnfitError: `no_answer`, where there is none, not even an empty one.
    """
    response = _read(_parsed(value), depth=0)
    said = {k: v for k, v in response.items() if v not in (None, [], {})}
    if not said.keys() & {"content", "tool_calls"}:
        raise UnfitError("no_answer", "the record holds no answer")
    if said.get("tool_calls") and not said.get("content"):
        said.pop("content", None)
    return said


def as_answer(message: Mapping[str, Any]) -> Response:
    """Return an assistant message of ours as an answer."""
    extra = dict(message.get("extra") or {})
    content = message.get("content")
    response: Response = {"tool_calls": message.get("tool_calls"), "extra": extra}
    response["reasoning"] = extra.pop("reasoning", None)
    if isinstance(content, list):
        texts = [part["text"] for part in content if part.get("type") == "text"]
        response["content"] = "\n".join(texts)
        extra["parts"] = content  # pictures and sounds, which an answer has no place for
    else:
        response["content"] = content
    return response


def split_answer(messages: list[Message]) -> tuple[list[Message], Response]:
    """Return the messages before the last answer, and that answer.

    Raises:
        UnfitError: `no_answer`, where the last message is not the assistant's; `no_prompt`.
    """
    if not messages or messages[-1]["role"] != "assistant":
        raise UnfitError("no_answer", "the last message is not the assistant's")
    prompt = messages[:-1]
    if not any(message["role"] in ("user", "tool") for message in prompt):
        raise UnfitError("no_prompt", "there is no question before the answer")
    return prompt, read_answer(messages[-1])


def _parsed(value: Any) -> Any:
    """Return JSON in a text only where it is a chat: an answer may be JSON itself."""
    parsed = parse_json(value)
    if parsed is value or not isinstance(parsed, dict | list):
        return value
    chat = is_chat(parsed) or _has_blocks(parsed)
    if isinstance(parsed, dict):
        wrapped = _only(parsed)
        chat = chat or bool({"choices", "generations", "candidates"} & parsed.keys()) or (
            wrapped is not None and (is_chat(parsed[wrapped]) or wrapped in ("output", "messages"))
        )  # fmt: skip
        chat = chat or (isinstance(parsed.get("messages"), list) and is_chat(parsed["messages"]))
    return parsed if chat else value


def _read(value: Any, *, depth: int) -> Response:
    if value in (None, {}) or depth > MAX_DEPTH:
        return {}
    response = _said(value, depth)
    reason = _why_stopped(value) if isinstance(value, Mapping) else None
    if reason and response and "finish_reason" not in response.get("extra", {}):
        response["extra"] = response.get("extra", {}) | {"finish_reason": reason}
    return response


def _why_stopped(value: Mapping[str, Any]) -> str | None:
    """Return why generation stopped, in the words of whatever generated."""
    inner = (
        ("incomplete_details", "reason"),
        ("response_metadata", "finish_reason"),
        ("response_metadata", "stop_reason"),
        ("generation_info", "finish_reason"),
    )
    said = [value.get(name) for name in ("finish_reason", "stop_reason", "finishReason")]
    said += [held.get(key) for name, key in inner if isinstance(held := value.get(name), Mapping)]
    return next((reason for reason in said if isinstance(reason, str) and reason), None)


def _said(value: Any, depth: int) -> Response:
    if isinstance(value, str):
        return {"content": value}
    if isinstance(value, list):
        return _last(value, depth)
    if not isinstance(value, Mapping):
        return {"content": as_text(value)}
    for name in ("choices", "candidates"):
        if isinstance(value.get(name), list) and value[name]:
            return _choice(value[name], depth)
    if isinstance(value.get("messages"), list) and is_chat(value["messages"]):
        return _last(value["messages"], depth)
    if value.get("type") == "message" and isinstance(value.get("content"), list):
        return _last([value], depth)
    if is_chat(value):
        return _last([value], depth)
    if isinstance(value.get("output"), list) and _has_blocks(value["output"]):
        return _last(value["output"], depth)
    only = _only(value)
    if only is not None:
        return _read(_parsed(value[only]), depth=depth + 1)
    wrapping = not value.keys() - {*_INSIDE, *_SHELLS}
    return {} if wrapping else {"content": as_text(dict(value))}


def _only(value: Mapping[str, Any]) -> str | None:
    """Return the one field that holds the answer, if the others only wrap it."""
    held = [name for name in _INSIDE if value.get(name) not in (None, "", [])]
    held += [name for name in _INSIDE if value.get(name) == ""]
    if held and not value.keys() - {*_INSIDE, *_SHELLS}:
        return held[0]
    return None


def _choice(choices: list[Any], depth: int) -> Response:
    first = choices[0]
    if not isinstance(first, Mapping):
        return _read(first, depth=depth + 1)
    response = _read(
        first.get("message") or first.get("delta") or first.get("text") or first.get("content"),
        depth=depth + 1,
    )
    if response and (reason := _why_stopped(first)):
        response["extra"] = response.get("extra", {}) | {"finish_reason": reason}
    if len(choices) > 1:
        response["extra"] = response.get("extra", {}) | {"other_choices": choices[1:]}
    return response


def _has_blocks(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(
        isinstance(b, Mapping)
        and b.get("type") in ("text", "output_text", "tool_call", "tool_use", "function_call",
                              "message", "reasoning", "thought", "thinking")
        for b in value
    )  # fmt: skip


def _last(value: list[Any], depth: int) -> Response:
    """Return the answer in a list: of messages the last of the assistant, of blocks all."""
    if not value:
        return {}
    if len(value) == 1 and isinstance(value[0], list):
        return _last(value[0], depth + 1)
    first = value[0]
    if isinstance(first, Mapping) and "message" in first and not is_chat(first.get("role")):
        inner = first["message"]
        response = _read(inner if isinstance(inner, Mapping) else first, depth=depth + 1)
        if response and (reason := _why_stopped(first)):
            response["extra"] = response.get("extra", {}) | {"finish_reason": reason}
        return response
    if isinstance(first, Mapping) and "text" in first and not {"role", "type"} & first.keys():
        return _read(first["text"], depth=depth + 1)  # a generation without a message
    if any(isinstance(v, Mapping) and v.get("type") in ("function_call", "reasoning")
           and "role" not in v for v in value):  # fmt: skip
        return _merged(value)
    if is_chat(value):
        own = [m for m in read_messages(value, role="assistant") if m["role"] == "assistant"]
        reason = _why_stopped(value[-1]) if isinstance(value[-1], Mapping) else None
        response = as_answer(own[-1]) if own else {}
        if reason and response:
            response["extra"] = response.get("extra", {}) | {"finish_reason": reason}
        return response
    if _has_blocks(value):
        return _merged(value)
    return {"content": as_text(value)}


def _merged(items: list[Any]) -> Response:
    """Return items of one answer (reasoning, calls, texts) as one."""
    parts: list[Any] = []
    for item in items:
        inner = item.get("content") if item.get("type") == "message" else None
        parts += inner if isinstance(inner, list) else [item]
    messages = read_messages([{"role": "assistant", "content": parts}])
    return as_answer(messages[-1]) if messages else {}
