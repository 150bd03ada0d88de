"""One training row between what we hold and what a trainer reads, and the trainers' formats."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

Kind = Literal["sft", "preference", "kto"]
KINDS: tuple[Kind, ...] = ("sft", "preference", "kto")
Message = dict[str, Any]
"""`role`, `content` (a text or parts), and where there are: `tool_calls` as in the OpenAI API,
`tool_call_id`, `name`, `reasoning`."""


class InexpressibleError(Exception):
    """A row that a format has no place for: a short reason for counting."""


@dataclass(frozen=True)
class Example:
    """One training row.

    Attributes:
        kind: Which set it is of.
        prompt: The messages before the answer.
        answers: The completion, or chosen and rejected: each the messages of one answer, which
            are several where turns of a user lie between.
        tools: What the model could call.
        label: KTO: whether the answer was good.
        learn_all: Whether the prompt's own answers are learned too.
    """

    kind: Kind
    prompt: list[Message]
    answers: tuple[list[Message], ...]
    tools: list[Any] | None = None
    label: bool | None = None
    learn_all: bool = False

    @property
    def all_messages(self) -> list[Message]:
        """Every message of the row."""
        return [*self.prompt, *(message for answer in self.answers for message in answer)]

    @property
    def has_question(self) -> bool:
        """Whether anything was asked; a plain text to learn has no question."""
        return any(message.get("content") or message.get("tool_calls") for message in self.prompt)


@dataclass(frozen=True)
class Target:
    """A trainer's format.

    Attributes:
        name: What `--format` takes.
        suffixes: File names it reads, by kind; a kind it has no format for is missing.
        express: A row as the format has it. Raises InexpressibleError.
        reasoning: Whether it has a place for reasoning; else it is left out, and counted.
        describe: Further files it needs beside: their names and what an object in them must hold.
    """

    name: str
    suffixes: Mapping[Kind, tuple[str, ...]]
    express: Callable[[Example], dict[str, Any]]
    reasoning: bool = False
    describe: Callable[[Kind, Path], dict[str, dict[str, Any]]] | None = None


@cache
def targets() -> dict[str, Target]:
    """Return every target by name: each module in `lake/exports/` has one `TARGET`."""
    from tuneloop.lake import exports as folder

    found: dict[str, Target] = {}
    for module in sorted(pkgutil.iter_modules(folder.__path__), key=lambda m: m.name):
        one: Target = importlib.import_module(f"{folder.__name__}.{module.name}").TARGET
        found[one.name] = one
    return found


def text_content(message: Message) -> str:
    """Return what a message says.

    Raises:
        InexpressibleError: `media`, where it holds more than texts.
    """
    content = message.get("content")
    if isinstance(content, list):
        if any(part.get("type") != "text" for part in content):
            raise InexpressibleError("media")
        return "\n".join(part["text"] for part in content)
    return content or ""


def one_answer(answer: list[Message]) -> Message:
    """Return the one message of an answer.

    Raises:
        InexpressibleError: `several_turns`.
    """
    if len(answer) != 1:
        raise InexpressibleError("several_turns")
    return answer[0]
