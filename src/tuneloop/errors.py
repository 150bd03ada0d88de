"""Errors that say what went wrong, where, and what to do about it."""

from __future__ import annotations


class TuneloopError(Exception):
    """An error a user can act on.

    Args:
        what: What went wrong, in one sentence.
        where: File, line, key or stage it concerns.
        hint: What to do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.what = what
        self.where = where
        self.hint = hint
        super().__init__(what)

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class ConfigError(TuneloopError):
    """A config that cannot be run; holds every problem found, not only the first."""

    exit_code = 2

    def __init__(self, problems: list[str], *, where: str = "", hint: str = "") -> None:
        self.problems = problems
        noun = "problem" if len(problems) == 1 else "problems"
        what = f"{len(problems)} {noun} in the config\n" + "\n".join(f"  {p}" for p in problems)
        super().__init__(what, where=where, hint=hint)


class DataError(TuneloopError):
    """Input that cannot be used: an unreadable file, no usable rows, a broken table."""


class LeakError(DataError):
    """A golden prompt, or a near-duplicate of one, is in the training part."""


class StoreError(TuneloopError):
    """The artefact store is unreachable, damaged, or lacks what was asked for."""


class TrainingError(TuneloopError):
    """Training cannot start or cannot be trusted: empty masks, wrong world size, no memory."""


class ServingError(TuneloopError):
    """A model server did not start, died, or does not answer as asked."""


class DecisionError(TuneloopError):
    """A verdict cannot be computed or a promotion lost a race."""
