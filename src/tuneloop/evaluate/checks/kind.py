"""What a kind of check states. Adding one is a file in `rules/` with a `KIND`, and nothing else."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Literal

from tuneloop.artefacts.golden import Check, GoldenPrompt

Cost = Literal["free", "sandbox", "judge"]
"""`free`: microseconds to milliseconds. `sandbox`: starts a process, up to seconds. `judge`: asks a
model."""

Missing = Literal["no_answer", "timeout", "no_sandbox", "no_judge", "unclear", "not_installed"]
"""Why a check says nothing: no answer; the rule took too long; nothing can be contained here; no
judge was asked; the judge's reply cannot be read; a library is not installed."""


@dataclass(frozen=True)
class CheckOutcome:
    """What one check said of one answer; `passed` is None where it could not say."""

    passed: bool | None
    detail: str = ""
    reason: Missing | None = None

    @property
    def status(self) -> str:
        """`ok` or `missing`."""
        return "missing" if self.passed is None else "ok"


@dataclass(frozen=True)
class Answer:
    """What a check sees of an answer.

    Attributes:
        text: The whole answer.
        subject: What the check is about: the text, or the field of it that `path` names.
        prompt: What was asked, with its context; None where it is not at hand.
    """

    text: str
    subject: Any
    prompt: GoldenPrompt | None = None


class NotThereError(Exception):
    """The answer lacks what the check is about: it fails, negated or not."""


@dataclass(frozen=True)
class Kind:
    """One kind of check.

    Attributes:
        name: As `kind` in the golden set.
        version: Counted up where equal answers may get another outcome.
        cost: What running it takes.
        about: When it passes, in a sentence.
        value: What `value` is.
        run: Scores one answer. May raise TimeoutError.
        problem: Why a check's `value` does not fit; None where it does.
        uses: Fields of a check it reads beside `value`.
        needs: Fields of a prompt without which it can say nothing.
    """

    name: str
    version: int
    cost: Cost
    about: str
    value: str
    run: Callable[[Check, Answer], CheckOutcome]
    problem: Callable[[Check], str | None] = lambda check: None
    uses: tuple[str, ...] = ("path", "negate")
    needs: tuple[str, ...] = ()


@cache
def kinds() -> Mapping[str, Kind]:
    """Return every kind of check by name, in the order of names."""
    from tuneloop.evaluate.checks import rules as folder

    found: dict[str, Kind] = {}
    for module in sorted(pkgutil.iter_modules(folder.__path__), key=lambda m: m.name):
        kind: Kind = import_module(f"{folder.__name__}.{module.name}").KIND
        assert kind.name not in found, f"two kinds of check are called {kind.name}"
        found[kind.name] = kind
    return found
