"""What curation reads of an event's JSON, typed, and nothing else of it.

The lake holds valid events only, written as canonical JSON; parts that are only passed on
(tool calls, tools) stay the bytes they are.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct, field

NOTHING = Raw(b"")


class Message(Struct, gc=False):
    """One message of a prompt."""

    role: str
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: Raw = NOTHING
    tool_call_id: str | None = None


class Template(Struct, gc=False):
    """The template a prompt was made from."""

    name: str
    version: str | None = None


class Request(Struct, gc=False):
    """What was asked."""

    messages: list[Message]
    tools: Raw = NOTHING
    template: Template | None = None
    context: list[dict[str, Any]] | None = None


class Unmodelled(Struct, gc=False):
    """Of what the schema does not know."""

    finish_reason: Any = None


class Response(Struct, gc=False):
    """What was answered."""

    content: str | None = None
    tool_calls: Raw = NOTHING
    reasoning: str | None = None
    extra: Unmodelled | None = None


class Assignment(Struct, gc=False):
    """Which arm served it, with which probability."""

    propensity: float | None = None


class Solicitation(Struct, gc=False):
    """Whether feedback was asked for."""

    asked: bool
    p_asked: float | None = None


class Consent(Struct, gc=False):
    """Whether it may be trained on."""

    train: bool
    basis: str | None = None
    until: str | None = None


class Interaction(Struct, gc=False):
    """One interaction."""

    event_ts: str
    request: Request
    response: Response
    outcome: str = "ok"
    role: str = "primary"
    shown: bool = True
    task: str | None = None
    env: str | None = None
    turn: int | None = None
    system: str | None = None
    segment: str | None = None
    intent: str | None = None
    source: str | None = None
    output_terms: str | None = None
    assignment: Assignment | None = None
    solicitation: Solicitation | None = None
    consent: Consent | None = None
    tags: list[str] = field(default_factory=list)


class Actor(Struct, gc=False):
    """Who gave a piece of feedback."""

    kind: str = "user"
    id: str | None = None


class Metadata(Struct, gc=False):
    """What counts of the metadata: how many answers a verdict on whole conversations was on."""

    n_answers: Any = None


class Feedback(Struct, gc=False):
    """One piece of feedback."""

    signal: str
    actor: Actor = field(default_factory=Actor)
    dimension: str | None = None
    value: Any = None
    scale: tuple[float, float] | None = None
    op: str = "set"
    metadata: Metadata | None = None
    comment: str | None = None


decode_interaction = msgspec.json.Decoder(Interaction).decode
decode_feedback = msgspec.json.Decoder(Feedback).decode


def text_of(content: str | list[dict[str, Any]] | None) -> str:
    """Return a message's text: text parts joined, others named."""
    if isinstance(content, list):
        parts = (part.get("text") or f"[{part.get('type', 'part')}]" for part in content)
        return "\n".join(str(part) for part in parts)
    return content or ""


def json_of(raw: Raw) -> str | None:
    """Return JSON that is passed on as text; None where there is none."""
    text = bytes(raw).decode()
    return None if text in ("", "null", "[]") else text
