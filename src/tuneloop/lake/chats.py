"""Chat messages as other systems write them → messages as `artefacts/events.py` has them.

One reader for the dialects of OpenAI (chat and responses), Anthropic, Gemini, LangChain,
OpenTelemetry, OpenInference, TensorZero and ShareGPT: each message is a role and parts, and each
part is text, reasoning, a call of a tool, a tool's result, or something else that is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tuneloop.lake.fields import as_text, ident, parse_json
from tuneloop.lake.format import UnfitError
from tuneloop.lake.parts import (
    CALL,
    REASONING,
    RESULT,
    Message,
    Parts,
    content_of,
    holds_parts,
    is_part,
    listed,
    part_text,
    read_tool_calls,
    sort_part,
)

_ROLES = {
    "human": "user", "prompter": "user", "customer": "user",
    "ai": "assistant", "gpt": "assistant", "bot": "assistant", "chatgpt": "assistant",
    "model": "assistant", "agent": "assistant", "aimessagechunk": "assistant",
    "function": "tool", "observation": "tool", "ipython": "tool",
    **{r: r for r in ("system", "developer", "user", "assistant", "tool")},
}  # fmt: skip
_TURN = re.compile(r"(?:^|(?:\r?\n){2})(Human|Assistant):")
_KNOWN = {
    "role", "from", "value", "content", "parts", "contents", "type", "name", "tool_calls", "text",
    "tool_call_id", "function_call", "reasoning", "reasoning_content", "thinking", "status",
    "kwargs", "lc", "id", "data", "additional_kwargs", "response_metadata", "refusal", "weight",
    "invalid_tool_calls", "example", "annotations", "audio", "usage_metadata", "call_id", "output",
    "arguments", "message", "finish_reason", "index", "summary", "tool_name",
}  # fmt: skip


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
        if value and not is_chat(list(value)) and is_part(value[0]):
            return _messages({"role": role, "content": list(value)})
        return [m for one in value for m in read_messages(one, role=role)]
    return [{"role": role, "content": as_text(value)}]


def _from_mapping(value: Mapping[str, Any], role: str) -> list[Message]:
    if isinstance(value.get("message"), Mapping) and is_chat(value["message"]):
        return _messages(dict(value["message"]))  # OpenInference, nested
    if is_chat(value):
        return _messages(dict(value))
    kind = str(value.get("type") or "").lower()
    if kind in CALL | REASONING or (kind in RESULT):  # items of the responses API
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


def read_transcript(text: str) -> list[Message] | None:
    """Return the messages of a text in which `Human:` and `Assistant:` take turns, or None."""
    before, *parts = _TURN.split(text.strip())
    if before.strip() or not parts:
        return None
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [{"role": _ROLES[who.lower()], "content": said.strip()} for who, said in pairs]


def read_system(value: Any) -> list[Message]:
    """Return system instructions (a text or parts) as one system message, or none."""
    texts = [as_text(part_text(p) if isinstance(p, Mapping) else p) for p in listed(value)]
    return [{"role": "system", "content": "\n\n".join(texts)}] if any(texts) else []


def _messages(raw: Mapping[str, Any]) -> list[Message]:
    """Return one foreign message as ours: results of tools inside it become messages of theirs."""
    raw = _plain(raw)
    role = _role_of(raw)
    names = ("parts", "content", "value", "contents", "text", "refusal")
    content = next((raw[name] for name in names if raw.get(name) not in (None, "", [])), None)
    content = parse_json(content) if role != "tool" and holds_parts(content) else content
    parts = Parts()
    for part in listed(content):
        sort_part(part, parts, role)
    parts.calls += read_tool_calls(raw.get("tool_calls"))
    if isinstance(raw.get("function_call"), Mapping):
        parts.calls += read_tool_calls(raw["function_call"])
    for name in ("reasoning_content", "reasoning", "thinking"):
        if isinstance(raw.get(name), str) and raw[name]:
            parts.reasoning.append(raw[name])
            break
    return _assemble(role, raw, parts)


def _assemble(role: str, raw: Mapping[str, Any], parts: Parts) -> list[Message]:
    extra = {k: v for k, v in raw.items() if k not in _KNOWN and v is not None}
    if parts.reasoning:
        extra["reasoning"] = "\n".join(parts.reasoning)
    stated = "" if "" in (raw.get("content"), raw.get("value")) else None
    message: Message = {"role": role, "content": content_of(parts.content) or stated}
    if role == "tool":
        message["tool_call_id"] = ident(raw.get("tool_call_id") or raw.get("call_id"))
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
        path = raw.get("id")
        name = str(path[-1] if isinstance(path, list) and path else "")
        name = name.removesuffix("Chunk").removesuffix("Message")
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
