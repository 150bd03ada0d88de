"""Chat messages as other systems write them → messages as `artefacts/events.py` has them.

One reader for the dialects of OpenAI (chat and responses), Anthropic, Gemini, LangChain,
OpenTelemetry, OpenInference, TensorZero and ShareGPT: each message is a role and parts, and each
part is text, reasoning, a call of a tool, a tool's result, or something else that is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuneloop.lake.fields import as_text, parse_json
from tuneloop.lake.format import UnfitError

Message = dict[str, Any]

_ROLES = {
    "human": "user", "prompter": "user", "customer": "user",
    "ai": "assistant", "gpt": "assistant", "bot": "assistant", "chatgpt": "assistant",
    "model": "assistant", "agent": "assistant", "aimessagechunk": "assistant",
    "function": "tool", "observation": "tool", "ipython": "tool",
    **{r: r for r in ("system", "developer", "user", "assistant", "tool")},
}  # fmt: skip
_TEXT = {"text", "input_text", "output_text", "raw_text", "refusal", "unstructured_text"}
_REASONING = {"thinking", "thought", "reasoning", "reasoning_content", "redacted_thinking"}
_CALL = {"tool_call", "tool_use", "function_call", "functioncall", "server_tool_use"}
_RESULT = {"tool_call_response", "tool_result", "function_call_output", "functionresponse"}
_KINDS = _TEXT | _REASONING | _CALL | _RESULT
_KNOWN = {
    "role", "from", "value", "content", "parts", "contents", "type", "name", "tool_calls", "text",
    "tool_call_id", "function_call", "reasoning", "reasoning_content", "thinking", "status",
    "kwargs", "lc", "id", "data", "additional_kwargs", "response_metadata", "refusal", "weight",
    "invalid_tool_calls", "example", "annotations", "audio", "usage_metadata", "call_id", "output",
    "arguments", "message", "finish_reason", "index", "summary", "tool_name",
}  # fmt: skip


@dataclass
class _Parts:
    """The parts of one message, sorted."""

    content: list[dict[str, Any]] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    results: list[Message] = field(default_factory=list)


def is_chat(value: Any) -> bool:
    """Say whether a value is a message, or a list that begins with one."""
    if isinstance(value, list) and value:
        return is_chat(value[0])
    return isinstance(value, Mapping) and bool(
        {"role", "from", "message.role", "lc"} & value.keys()
        or (value.get("type") in _ROLES and ("content" in value or "data" in value))
        or (isinstance(value.get("message"), Mapping) and is_chat(value["message"]))
    )


def parse_chat(value: Any) -> Any:
    """Return the messages in a text of JSON; any other text, JSON too, is what somebody said."""
    parsed = parse_json(value)
    if parsed is value or is_chat(parsed):
        return parsed
    return parsed if isinstance(parsed, dict) and is_chat(parsed.get("messages")) else value


def read_messages(value: Any, *, role: str = "user") -> list[Message]:
    """Return the messages in any dialect; a bare text is one message of `role`.

    Raises:
        UnfitError: `bad_message`, where a role is unknown.
    """
    value = parse_chat(value)
    if value is None or value in ("", [], {}):
        return []
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if isinstance(value, Mapping):
        return _from_mapping(value, role)
    if isinstance(value, list | tuple):
        if len(value) == 1 and isinstance(value[0], list | tuple):
            return read_messages(list(value[0]), role=role)  # LangChain batches
        if value and not is_chat(list(value)) and _is_part(value[0]):
            return _messages({"role": role, "content": list(value)})
        return [m for one in value for m in read_messages(one, role=role)]
    return [{"role": role, "content": as_text(value)}]


def _from_mapping(value: Mapping[str, Any], role: str) -> list[Message]:
    if isinstance(value.get("message"), Mapping) and is_chat(value["message"]):
        return _messages(dict(value["message"]))  # OpenInference, nested
    if is_chat(value):
        return _messages(dict(value))
    kind = str(value.get("type") or "").lower()
    if kind in _CALL | _REASONING or (kind in _RESULT):  # items of the responses API
        return _messages({"role": "assistant", "content": [dict(value)]})
    for name in ("messages", "contents", "chat_history", "conversation", "input", "prompt",
                 "question", "query", "instruction", "text", "content", "user_input",
                 "inputs", "request"):  # fmt: skip
        inner = value.get(name)
        if inner:
            system = value.get("system") or value.get("instructions")
            head = read_messages(system, role="system") if system else []
            return head + read_messages(inner, role=role)
    return [{"role": role, "content": as_text(dict(value))}]


def read_system(value: Any) -> list[Message]:
    """Return system instructions (a text or parts) as one system message, or none."""
    texts = [as_text(_part_text(p) if isinstance(p, Mapping) else p) for p in _listed(value)]
    return [{"role": "system", "content": "\n\n".join(texts)}] if any(texts) else []


def tool_call(name: str, arguments: Any, id: str | None = None) -> dict[str, Any]:
    """Return a call as the OpenAI API has it: the arguments are a text of JSON."""
    text = (
        arguments if isinstance(arguments, str) else as_text({} if arguments is None else arguments)
    )
    call: dict[str, Any] = {"type": "function", "function": {"name": name, "arguments": text}}
    return ({"id": str(id)} if id else {}) | call


def read_tool_calls(value: Any) -> list[dict[str, Any]]:
    """Return calls in any dialect as the OpenAI API has them."""
    calls = []
    for raw in map(parse_json, _listed(parse_json(value))):
        if not isinstance(raw, Mapping):
            continue
        one = raw.get("tool_call", raw)
        inner = one.get("function") if isinstance(one.get("function"), Mapping) else one
        dotted = "tool_call.function."
        name = inner.get("name") or one.get(f"{dotted}name") or inner.get("tool_name")
        arguments = next(
            (d[k] for d, k in ((inner, "arguments"), (inner, "args"), (inner, "input"),
                               (one, f"{dotted}arguments"), (inner, "raw_arguments"))
             if d.get(k) is not None), None)  # fmt: skip
        id = one.get("id") or one.get("call_id") or one.get("tool_call.id")
        if name:
            calls.append(tool_call(str(name), arguments, id))
    return calls


def _messages(raw: Mapping[str, Any]) -> list[Message]:
    """Return one foreign message as ours: results of tools inside it become messages of theirs."""
    raw = _plain(raw)
    role = _role_of(raw)
    content = raw.get("content", raw.get("value", raw.get("parts", raw.get("text"))))
    if raw.get("parts") is not None:
        content = raw["parts"]
    parts = _Parts()
    if raw.get("contents") and not content:
        content = raw["contents"]
    content = parse_json(content) if role != "tool" and _holds_parts(content) else content
    for part in _listed(content):
        _sort(part, parts, role)
    parts.calls += read_tool_calls(raw.get("tool_calls"))
    if isinstance(raw.get("function_call"), Mapping):
        parts.calls += read_tool_calls(raw["function_call"])
    for name in ("reasoning_content", "reasoning", "thinking"):
        if isinstance(raw.get(name), str) and raw[name]:
            parts.reasoning.append(raw[name])
            break
    return _assemble(role, raw, parts)


def _assemble(role: str, raw: Mapping[str, Any], parts: _Parts) -> list[Message]:
    extra = {k: v for k, v in raw.items() if k not in _KNOWN and v is not None}
    if parts.reasoning:
        extra["reasoning"] = "\n".join(parts.reasoning)
    message: Message = {"role": role, "content": _content(parts.content)}
    if role == "tool":
        message["tool_call_id"] = raw.get("tool_call_id") or raw.get("call_id")
    if isinstance(raw.get("name"), str):
        message["name"] = raw["name"]
    if parts.calls:
        message["tool_calls"] = parts.calls
    if extra:
        message["extra"] = extra
    message = {k: v for k, v in message.items() if v is not None}
    says_something = message.keys() - {"role", "name"} or not parts.results
    return [*parts.results, *([message | {"content": message.get("content")}]
                              if says_something else [])]  # fmt: skip


def _plain(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return LangChain's and OpenInference's wrapping taken off."""
    if "lc" in raw and isinstance(raw.get("kwargs"), Mapping):
        name = str((raw.get("id") or [""])[-1]).removesuffix("Chunk").removesuffix("Message")
        return {"role": name.lower()} | _plain(raw["kwargs"])
    if isinstance(raw.get("data"), Mapping) and "role" not in raw:
        return {"role": raw.get("type")} | _plain(raw["data"])
    plain = {k.removeprefix("message."): v for k, v in raw.items()}
    more = plain.get("additional_kwargs")
    if isinstance(more, Mapping) and not plain.get("tool_calls"):
        plain |= {k: v for k, v in more.items() if k in ("tool_calls", "function_call")}
    return plain


def _role_of(raw: Mapping[str, Any]) -> str:
    given = raw.get("role") or raw.get("from") or raw.get("type")
    role = _ROLES.get(str(given).lower())
    if role is None:
        raise UnfitError("bad_message", f"a message has the role {given!r}")
    return role


def _listed(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    return [value]


def _holds_parts(value: Any) -> bool:
    """Say whether a text is really JSON of parts, as exporters without nesting write it."""
    if not isinstance(value, str):
        return False
    parsed = parse_json(value)
    return isinstance(parsed, list) and bool(parsed) and all(_kind(p) in _KINDS for p in parsed)


def _is_part(value: Any) -> bool:
    return isinstance(value, Mapping) and (
        _kind(value) in _KINDS or bool({"text", "functionCall", "functionResponse"} & value.keys())
    )


def _kind(part: Any) -> str:
    return str(part.get("type")).lower() if isinstance(part, Mapping) else ""


def _part_text(part: Mapping[str, Any]) -> str:
    for name in ("text", "content", "value", "refusal", "thinking", "message_content.text"):
        if isinstance(part.get(name), str):
            return str(part[name])
    summary = part.get("summary")
    if isinstance(summary, list):
        return "\n".join(_part_text(s) for s in summary if isinstance(s, Mapping))
    held = part.get("arguments", part.get("text", part.get("content")))
    return as_text(held) if held is not None else ""


def _sort(part: Any, into: _Parts, role: str) -> None:
    if not isinstance(part, Mapping):
        into.content.append({"type": "text", "text": as_text(part)})
        return
    if isinstance(part.get("message_content"), Mapping):
        part = part["message_content"]
    part = {k.removeprefix("message_content."): v for k, v in part.items()}
    for gemini, kind in (("functionCall", "tool_call"), ("functionResponse", "tool_result")):
        if isinstance(part.get(gemini), Mapping):
            part = {"type": kind} | dict(part[gemini])
    kind = str(part.get("type") or ("text" if "text" in part else "")).lower()
    if kind in _CALL:
        into.calls += read_tool_calls(part)
    elif kind in _RESULT:
        into.results += _result(part)
    elif kind in _REASONING:
        into.reasoning.append(_part_text(part))
    elif kind in _TEXT:
        into.content.append({"type": "text", "text": _part_text(part)})
    elif kind == "template" or (role == "tool" and not kind):
        into.content.append({"type": "text", "text": as_text(part.get("arguments", dict(part)))})
    else:
        into.content.append(_media(part))


def _result(part: Mapping[str, Any]) -> list[Message]:
    held = next(
        (part[k] for k in ("response", "result", "output", "content") if part.get(k) is not None),
        "",
    )
    if isinstance(held, list) and all(_is_part(p) for p in held):
        held = "\n".join(_part_text(p) for p in held)
    id = (
        part.get("id") or part.get("tool_use_id") or part.get("call_id") or part.get("tool_call_id")
    )
    message: Message = {"role": "tool", "content": as_text(held)}
    return [message | ({"tool_call_id": str(id)} if id else {})
            | ({"name": part["name"]} if isinstance(part.get("name"), str) else {})]  # fmt: skip


def _media(part: dict[str, Any]) -> dict[str, Any]:
    """Return pictures as the OpenAI API has them, and other parts as they are."""
    kind, modality = part.get("type"), part.get("modality")
    source = part.get("source")
    if kind == "image" and isinstance(source, Mapping):
        url = source.get("url") or f"data:{source.get('media_type')};base64,{source.get('data')}"
        return {"type": "image_url", "image_url": {"url": url}}
    if modality == "image" and (part.get("uri") or isinstance(part.get("content"), str)):
        url = part.get("uri") or f"data:{part.get('mime_type')};base64,{part['content']}"
        return {"type": "image_url", "image_url": {"url": url}}
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        return {"type": "image_url", "image_url": {"url": part["image_url"]}}
    return part


def _content(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]] | None:
    """Return texts alone as one text, and parts with anything else among them as parts."""
    if not parts:
        return None
    if all(part.get("type") == "text" and part.keys() == {"type", "text"} for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts
