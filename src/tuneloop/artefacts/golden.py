"""The golden set: held-out prompts with references, checks and slices."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tuneloop.artefacts.events import Role
from tuneloop.errors import DataError

BUILT_IN_METRICS = frozenset({"pass", "judge"})


def _name(name: str) -> str:
    if name in BUILT_IN_METRICS:
        raise ValueError(f"{name!r} is a built-in metric: name the check otherwise")
    return name


def _message(message: dict[str, Any]) -> dict[str, Any]:
    missing = [key for key in ("role", "content") if key not in message]
    if message.get("tool_calls") and missing == ["content"]:
        missing = []
    if missing:
        raise ValueError(f"a message needs role and content; this one lacks {missing[0]}")
    if message["role"] not in get_args(Role):
        raise ValueError(f"role must be one of {', '.join(get_args(Role))}")
    content = message.get("content")
    if not isinstance(content, str) and not (content is None and message.get("tool_calls")):
        raise ValueError("content must be a text")
    unknown = sorted(set(message) - {"role", "content", "name", "tool_calls", "tool_call_id"})
    if unknown:
        raise ValueError(f"a message has no field {unknown[0]!r}")
    return message


GoldenMessage = Annotated[
    dict[str, Any],
    AfterValidator(_message),
    Field(
        json_schema_extra={
            "required": ["role"],
            "properties": {
                "role": {"enum": list(get_args(Role))},
                "content": {"type": ["string", "null"]},
                "name": {"type": "string"},
                "tool_calls": {"type": "array", "items": {"type": "object"}},
                "tool_call_id": {"type": "string"},
            },
            "additionalProperties": False,
        }
    ),
]
"""One chat message with `role` and `content`; turns with tools as the OpenAI API writes them."""


class Chunk(BaseModel):
    """A piece of what retrieval gave; an answer cites it as `[id]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1)
    text: str


class Check(BaseModel):
    """A rule that scores one answer.

    `path` (dot-separated, e.g. `reply` or `items.0.price`) applies the rule to that field of
    the answer parsed as JSON; an answer that is no JSON, or lacks the field, fails.
    `negate` turns the rule round: the answer must not match. A failed `hard` check on the
    candidate rejects it whatever the average says. A check that is not `required` is reported
    and does not decide whether the prompt is passed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: Annotated[str, Field(min_length=1), AfterValidator(_name)]
    """Name in reports."""
    kind: str = Field(min_length=1)
    """Which rule; docs/reference/checks.md lists them."""
    value: Any = None
    """What the rule holds the answer against."""
    path: str | None = None
    """Field of the answer parsed as JSON; None: the whole answer."""
    ignore_case: bool = False
    """Compare without case."""
    tolerance: float = Field(default=0.0, ge=0)
    """How far a number may be off."""
    negate: bool = False
    """The answer must not match."""
    required: bool = True
    """Whether it decides whether the prompt is passed."""
    hard: bool = False
    """Whether failing it rejects the candidate, whatever the average."""


Status = Literal["active", "candidate", "retired"]
"""`active` counts; `candidate` waits for review; `retired` is kept for the record alone."""
ACTIVE: tuple[Status, ...] = ("active",)


class GoldenSource(BaseModel):
    """The events a prompt was made from; those interactions are never trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    interaction_ids: list[str] = Field(default_factory=list)
    feedback_ids: list[str] = Field(default_factory=list)


class GoldenPrompt(BaseModel):
    """One held-out prompt: chat messages, what a good answer is, and the slices it counts in.

    `tools` are the tools the model may call and `context` what retrieval gave, both sent with the
    messages. A good answer is a `reference`, a `checklist` of what it must do, or checks. Prompts
    of one `family` are one unit of the statistics. `weight` is how much of production's traffic
    the prompt stands for, beside the others.

    `version` counts the changes of this prompt. Who added, reviewed and retired it, and when,
    is for people: no stage reads that.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1)
    messages: list[GoldenMessage] = Field(min_length=1)
    tools: list[dict[str, Any]] = Field(default_factory=list)
    context: list[Chunk] = Field(default_factory=list)
    reference: str | None = None
    checklist: list[str] = Field(default_factory=list)
    checks: list[Check] = Field(default_factory=list)
    slices: list[str] = Field(default_factory=list)
    family: str | None = None
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    status: Status = "active"
    owner: str | None = None
    version: int = Field(default=1, ge=1)
    source: GoldenSource = GoldenSource()
    added_by: str | None = None
    added_at: datetime | None = None
    reviewed_by: str | None = None
    retired_reason: str | None = None
    tags: list[str] = Field(default_factory=list)


def read_golden(path: Path, statuses: Collection[Status] = ACTIVE) -> list[GoldenPrompt]:
    """Read the prompts of these statuses from a golden JSON-lines file.

    Raises:
        DataError: naming the line, where one is malformed or an id is repeated, or where
            no such prompt is left. A golden set is ours: nothing in it is dropped in silence.
    """
    prompts = [prompt for _, prompt in golden_lines(path)]
    chosen = [prompt for prompt in prompts if prompt.status in statuses]
    if not chosen:
        which = f"no {' or '.join(statuses)} prompts" if prompts else "no prompts"
        raise DataError(f"the golden set holds {which}", where=str(path))
    return chosen


def golden_lines(path: Path) -> list[tuple[str, GoldenPrompt]]:
    """Return every prompt of a golden file with its line as it is written.

    Raises:
        DataError: naming the line, where one is malformed or an id is repeated.
    """
    try:
        # On "\n" alone: JSON may hold U+2028 and other line ends as they are.
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the golden set cannot be read: {error}", where=str(path)) from error
    found: list[tuple[str, GoldenPrompt]] = []
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        prompt = parse_prompt(line, where=f"{path}:{number}")
        if prompt.id in seen:
            raise DataError(f"id {prompt.id!r} is used twice", where=f"{path}:{number}")
        seen.add(prompt.id)
        found.append((line, prompt))
    return found


def parse_prompt(line: str | bytes, *, where: str) -> GoldenPrompt:
    """Return the prompt a JSON text states.

    Raises:
        DataError: naming the field that is wrong.
    """
    try:
        return GoldenPrompt.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        raise DataError(f"{field}: {what}" if field else what, where=where) from error
