"""Native events, version 1: interactions and feedback, as recorded in production.

Only ids, times, messages, the answer and the signal are required. Fields this version
does not know are kept in `extra`, so that an exporter ahead of us loses nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

SCHEMA_VERSION = 1
MAX_REVISION = 2**31 - 1  # the lake's column has 32 bits
MAX_DWELL_S = 1e9

Role = Literal["system", "developer", "user", "assistant", "tool"]
Signal = Literal[
    "thumb", "stars", "score", "correction", "comment", "preference",
    "copy", "dwell", "reformulation", "regenerate", "abandonment", "edit",
]  # fmt: skip
EXPLICIT_SIGNALS = frozenset({"thumb", "stars", "score", "correction", "comment", "preference"})


class _Event(BaseModel):
    """Base of events and their parts: frozen, unknown fields moved into `extra`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    _fields: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def __pydantic_on_complete__(cls) -> None:
        cls._fields = frozenset(cls.model_fields)

    @model_validator(mode="before")
    @classmethod
    def _keep_unknown_fields(cls, data: Any) -> Any:
        # Millions of events pass here, and next to none has a field that is unknown.
        if not isinstance(data, dict) or cls._fields.issuperset(data):
            return data
        if "extra" not in cls._fields:
            return data
        unknown = {k: v for k, v in data.items() if k not in cls._fields}
        known = {k: v for k, v in data.items() if k in cls._fields}
        extra = known.get("extra", {})
        if not isinstance(extra, dict):
            return known  # and fails, as it does where no field is unknown
        return known | {"extra": unknown | extra}


class Message(_Event):
    """One chat message; `content` is text or a list of typed parts, as in the OpenAI API."""

    role: Role
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    extra: dict[str, Any] = Field(default_factory=dict)


class Template(_Event):
    """The prompt template a request was made from."""

    name: str
    version: str | None = None
    variables: dict[str, Any] = Field(default_factory=dict)


class Request(_Event):
    """What was asked: the messages and everything that shaped them."""

    messages: list[Message] = Field(min_length=1)
    tools: list[dict[str, Any]] | None = None
    response_format: dict[str, Any] | None = None
    sampling: dict[str, Any] | None = None
    template: Template | None = None
    context: list[dict[str, Any]] | None = None
    extra: dict[str, Any] = Field(default_factory=dict)


class Response(_Event):
    """What was answered."""

    content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    reasoning: str | None = None
    extra: dict[str, Any] = Field(default_factory=dict)


class Assignment(_Event):
    """Which arm of which experiment served this, and how likely that was."""

    experiment: str
    unit: str | None = None
    arm: str
    propensity: float | None = Field(default=None, gt=0, le=1)


class Solicitation(_Event):
    """Whether feedback was asked for, and with what probability."""

    asked: bool
    p_asked: float | None = Field(default=None, ge=0, le=1)


class Consent(_Event):
    """Whether the person allows training on this, on what basis, until when."""

    train: bool
    basis: str | None = None
    until: datetime | None = None


class Interaction(_Event):
    """One prompt, one answer, and what produced it."""

    type: Literal["interaction"] = "interaction"
    schema_version: Literal[1] = 1
    id: str = Field(min_length=1)
    event_ts: datetime
    ingest_ts: datetime | None = None
    tenant: str = "default"
    task: str | None = None
    env: str | None = None
    session_id: str | None = None
    episode_id: str | None = None
    turn: int | None = Field(default=None, ge=0)
    trace_id: str | None = None
    span_id: str | None = None
    parent_id: str | None = None
    subject_key: str | None = None
    request: Request
    response: Response
    outcome: Literal["ok", "error", "timeout", "filtered", "cancelled"] = "ok"
    system: str | None = None
    role: Literal["primary", "shadow", "fallback", "replay"] = "primary"
    shown: bool = True
    assignment: Assignment | None = None
    solicitation: Solicitation | None = None
    latency_ms: float | None = Field(default=None, ge=0)
    ttft_ms: float | None = Field(default=None, ge=0)
    usage: dict[str, Any] | None = None
    cost: float | None = None
    consent: Consent | None = None
    output_terms: str | None = None
    """Terms under which the answer came, e.g. `no-training` or a licence (SPDX)."""
    segment: str | None = None
    """Which kind of user or market, for cohorts."""
    intent: str | None = None
    """What the user wanted, for cohorts and caps."""
    source: str | None = None
    """The format it was read from; set at ingestion."""
    tags: list[str] = Field(default_factory=list)
    extra: dict[str, Any] = Field(default_factory=dict)


class Target(_Event):
    """What a piece of feedback is about."""

    kind: Literal["interaction", "turn", "session", "episode"] = "interaction"
    id: str = Field(min_length=1)


class Actor(_Event):
    """Who gave it."""

    kind: Literal["user", "reviewer", "judge", "rule"] = "user"
    id: str | None = None


class Preference(_Event):
    """Two interactions compared; with a tie or both bad, the order means nothing."""

    winner: str
    loser: str
    outcome: Literal["better", "tie", "both_bad"] = "better"


class Feedback(_Event):
    """One signal about one interaction; `value` is typed by `signal`."""

    type: Literal["feedback"] = "feedback"
    schema_version: Literal[1] = 1
    id: str = Field(min_length=1)
    event_ts: datetime
    ingest_ts: datetime | None = None
    tenant: str = "default"
    target: Target
    actor: Actor = Field(default_factory=Actor)
    signal: Signal
    dimension: str | None = None
    value: Any = None
    scale: tuple[float, float] | None = None
    """Lowest and highest value of a `score` that is not from 0 to 1."""
    op: Literal["set", "retract"] = "set"
    revision: int = Field(default=0, ge=0, le=MAX_REVISION)
    comment: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    extra: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _value_fits_signal(self) -> Feedback:
        if self.op == "set":
            _check_value(self.signal, self.value, self.scale)
        return self


_PREFERENCE = TypeAdapter(Preference)


def _check_value(signal: str, value: Any, scale: tuple[float, float] | None) -> None:
    """Raise ValueError where `value` is not what `signal` carries."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if signal == "thumb" and not (isinstance(value, bool) or value in (-1, 1, "up", "down")):
        raise ValueError("thumb: value must be true/false, 1/-1 or up/down")
    if signal == "stars" and not (number and 1 <= value <= 5):
        raise ValueError("stars: value must be a number from 1 to 5")
    low, high = scale or (0.0, 1.0)
    if not low < high:
        raise ValueError("scale: the lowest value must be below the highest")
    if signal == "score" and not (number and low <= value <= high):
        raise ValueError(f"score: value must be a number from {low:g} to {high:g}")
    if signal == "dwell" and not (number and 0 <= value <= MAX_DWELL_S):
        raise ValueError(f"dwell: value must be seconds, from 0 to {MAX_DWELL_S:g}")
    text = isinstance(value, str) and bool(value.strip())
    if signal in ("correction", "comment", "edit") and not text:
        raise ValueError(f"{signal}: value must be a text that is not empty")
    if signal == "preference":
        _PREFERENCE.validate_python(value)


Event = Annotated[Interaction | Feedback, Field(discriminator="type")]
EVENT: TypeAdapter[Interaction | Feedback] = TypeAdapter(Event)


def event_json_schema() -> dict[str, Any]:
    """Return the JSON schema of one line of a native event file."""
    return {"$id": f"tuneloop-event-v{SCHEMA_VERSION}", **EVENT.json_schema()}
