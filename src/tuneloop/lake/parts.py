"""The parts of a foreign chat message: texts, reasoning, calls of tools, their results, media."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuneloop.lake.fields import as_text, parse_json

Message = dict[str, Any]

_TEXT = {"text", "input_text", "output_text", "raw_text", "refusal", "unstructured_text"}
REASONING = {"thinking", "thought", "reasoning", "reasoning_content", "redacted_thinking"}
CALL = {"tool_call", "tool_use", "function_call", "functioncall", "server_tool_use"}
RESULT = {"tool_call_response", "tool_result", "function_call_output", "functionresponse"}
_KINDS = _TEXT | REASONING | CALL | RESULT


@dataclass
class Parts:
    """The parts of one message, sorted."""

    content: list[dict[str, Any]] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    results: list[Message] = field(default_factory=list)


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
    for raw in map(parse_json, listed(parse_json(value))):
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


def listed(value: Any) -> list[Any]:
    """Return a list as it is, one thing as a list of it, nothing as an empty one."""
    if value is None or value == "":
        return []
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    return [value]


def holds_parts(value: Any) -> bool:
    """Say whether a text is really JSON of parts, as exporters without nesting write it."""
    if not isinstance(value, str):
        return False
    parsed = parse_json(value)
    return isinstance(parsed, list) and bool(parsed) and all(kind_of(p) in _KINDS for p in parsed)


def is_part(value: Any) -> bool:
    """Say whether a value is a part of a message."""
    return isinstance(value, Mapping) and (
        kind_of(value) in _KINDS
        or bool({"text", "functionCall", "functionResponse"} & value.keys())
    )


def kind_of(part: Any) -> str:
    """Return the part's type, in small letters."""
    return str(part.get("type")).lower() if isinstance(part, Mapping) else ""


def part_text(part: Mapping[str, Any]) -> str:
    """Return what a part of text or reasoning says."""
    for name in ("text", "content", "value", "refusal", "thinking", "message_content.text"):
        if isinstance(part.get(name), str):
            return str(part[name])
    summary = part.get("summary")
    if isinstance(summary, list):
        return "\n".join(part_text(s) for s in summary if isinstance(s, Mapping))
    held = part.get("arguments", part.get("text", part.get("content")))
    return as_text(held) if held is not None else ""


def sort_part(part: Any, into: Parts, role: str) -> None:
    """Put one part where it belongs."""
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
    if kind in CALL:
        into.calls += read_tool_calls(part)
    elif kind in RESULT:
        into.results += _result(part)
    elif kind in REASONING:
        into.reasoning.append(part_text(part))
    elif kind in _TEXT:
        into.content.append({"type": "text", "text": part_text(part)})
    elif kind == "template" or (role == "tool" and not kind):
        into.content.append({"type": "text", "text": as_text(part.get("arguments", dict(part)))})
    else:
        into.content.append(_media(part))


def _result(part: Mapping[str, Any]) -> list[Message]:
    held = next(
        (part[k] for k in ("response", "result", "output", "content") if part.get(k) is not None),
        "",
    )
    if isinstance(held, list) and all(is_part(p) for p in held):
        held = "\n".join(part_text(p) for p in held)
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


def content_of(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]] | None:
    """Return texts alone as one text, and parts with anything else among them as parts."""
    if not parts:
        return None
    if all(part.get("type") == "text" and part.keys() == {"type", "text"} for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts
