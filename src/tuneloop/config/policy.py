"""A policy: what a promotion needs beside good figures. A file of its own, for several runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from tuneloop.config.base import Conflict, Section

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class ApprovalConfig(Section):
    """Who must say yes before the alias moves."""

    n: int = Field(default=0, ge=0)
    """How many different persons; 0: nobody, a PROMOTE moves the alias by itself."""
    roles: dict[str, list[str]] = Field(default_factory=dict)
    """Role → names of those who have it. Empty: anybody may."""
    each: dict[str, int] = Field(default_factory=dict)
    """Role → how many of those who approve must have it."""
    author_may: bool = False
    """Whether who ran the decision may approve it."""

    def conflicts(self) -> Iterator[Conflict]:
        """Every role that is asked for must have as many people."""
        for role, n in self.each.items():
            if len(self.roles.get(role, ())) < n:
                have = len(self.roles.get(role, ()))
                yield Conflict(("each", "roles"), f"role {role} needs {n} people and has {have}")
        people = {name for names in self.roles.values() for name in names}
        if self.roles and len(people) < self.n:
            yield Conflict(("n", "roles"), f"{self.n} must approve, and only {len(people)} may")


class BudgetConfig(Section):
    """How often one version of the golden set may be asked."""

    total: float = Field(gt=0, le=1)
    """Error a version may spend in all: each different question to it costs the level of its
    decision. Above it the verdict is HOLD until prompts are rotated."""
    max_alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """The level of one decision may not be above this."""


class FreezeConfig(Section):
    """A time in which no promotion moves an alias. Rolling back is always possible."""

    reason: str = Field(min_length=1)
    """Why, for whoever waits."""
    start: AwareDatetime | None = Field(default=None, alias="from")
    """Begin, with its time zone (2026-12-20T00:00:00Z)."""
    end: AwareDatetime | None = Field(default=None, alias="to")
    """End; not in it any more."""
    weekdays: list[Weekday] = Field(default_factory=list)
    """In place of begin and end, days of every week (UTC)."""

    def conflicts(self) -> Iterator[Conflict]:
        """A window has both ends in order, or days of the week."""
        if self.weekdays:
            if self.start or self.end:
                yield Conflict(("weekdays", "from", "to"), "a freeze has weekdays or from and to")
        elif not (self.start and self.end and self.start < self.end):
            yield Conflict(("from", "to"), "a freeze needs from before to, or weekdays")

    def holds(self, now: datetime) -> bool:
        """Return whether it is in force at a time."""
        if self.weekdays:
            return WEEKDAYS[now.astimezone(UTC).weekday()] in self.weekdays
        return bool(self.start and self.end and self.start <= now < self.end)


class PolicyConfig(Section):
    """What a promotion needs."""

    name: str = Field(min_length=1)
    """What people call it."""
    approvals: ApprovalConfig = ApprovalConfig()
    """Who must say yes."""
    hard_gates: list[str] = Field(default_factory=list)
    """Gates that must be passed, by name (`judge_canaries`, `slice:safety`): one that failed makes
    the verdict REJECT, one that was skipped HOLD."""
    protected_slices: dict[str, float] = Field(default_factory=dict)
    """Slice → how much worse it may be, beside those of the run's config; the smaller margin
    counts."""
    error_budget: BudgetConfig | None = None
    """How often one version of the golden set may be asked; None: as often as you like."""
    freeze: list[FreezeConfig] = Field(default_factory=list)
    """When no alias moves."""
    valid_days: float | None = Field(default=None, gt=0)
    """For how long a verdict may be acted on; None: as `decide.valid_days` says."""
