"""The golden set: held-out prompts with references, checks and slices."""

from __future__ import annotations

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


def _message(message: dict[str, str]) -> dict[str, str]:
    missing = [key for key in ("role", "content") if key not in message]
    if missing:
        raise ValueError(f"a message needs role and content; this one lacks {missing[0]}")
    if message["role"] not in get_args(Role):
        raise ValueError(f"role must be one of {', '.join(get_args(Role))}")
    return message


GoldenMessage = Annotated[
    dict[str, str],
    AfterValidator(_message),
    Field(
        json_schema_extra={
            "required": ["role", "content"],
            "properties": {"role": {"enum": list(get_args(Role))}, "content": {"type": "string"}},
        }
    ),
]
"""One chat message with `role` and `content`."""

CheckKind = Literal["exact", "regex", "contains", "json_schema", "numeric"]


class Check(BaseModel):
    """A rule that scores one answer.

    `path` (dot-separated, e.g. `reply` or `items.0.price`) applies the rule to that field of
    the answer parsed as JSON; an answer that is no JSON, or lacks the field, fails.
    `negate` turns the rule round: the answer must not match. A failed `hard` check on the
    candidate rejects it whatever the average says. A check that is not `required` is reported
    and does not decide whether the prompt is passed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1), AfterValidator(_name)]
    kind: CheckKind
    value: Any
    path: str | None = None
    ignore_case: bool = False
    tolerance: float = Field(default=0.0, ge=0)
    negate: bool = False
    required: bool = True
    hard: bool = False


class GoldenPrompt(BaseModel):
    """One held-out prompt: chat messages, what a good answer is, and the slices it counts in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1)
    messages: list[GoldenMessage] = Field(min_length=1)
    reference: str | None = None
    checks: list[Check] = Field(default_factory=list)
    slices: list[str] = Field(default_factory=list)
    family: str | None = None


def read_golden(path: Path) -> list[GoldenPrompt]:
    """Read a golden JSON-lines file.

    Raises:
        DataError: naming the line, where one is malformed or an id is repeated, or where
            the file is empty. A golden set is ours: nothing in it is dropped in silence.
    """
    prompts: list[GoldenPrompt] = []
    seen: set[str] = set()
    try:
        # On "\n" alone: JSON may hold U+2028 and other line ends as they are.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the golden set cannot be read: {error}", where=str(path)) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            prompt = GoldenPrompt.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            what = first["msg"].removeprefix("Value error, ")
            raise DataError(f"{field}: {what}", where=f"{path}:{number}") from error
        if prompt.id in seen:
            raise DataError(f"id {prompt.id!r} is used twice", where=f"{path}:{number}")
        seen.add(prompt.id)
        prompts.append(prompt)
    if not prompts:
        raise DataError("the golden set holds no prompts", where=str(path))
    return prompts
