"""Config of what no one source of rows may exceed."""

from __future__ import annotations

from pydantic import Field

from tuneloop.config.base import Section


class CapsConfig(Section):
    """Largest shares of the curated rows; null switches a cap off.

    Rows above a cap are dropped, those with the least weight first. Rows that do not state the
    thing are not capped.
    """

    tuned_systems: list[str] = Field(default_factory=list)
    """Patterns (`*` and `?`) of the systems that are tuned models of this loop, such as
    `helpdesk-*`: their answers, taught again, would narrow what the model can say."""
    tuned: float | None = Field(default=0.5, gt=0, le=1)
    """Largest share of rows answered by `tuned_systems`."""
    user: float | None = Field(default=0.05, gt=0, le=1)
    """Largest share of one user's rows."""
    segment: float | None = Field(default=None, gt=0, le=1)
    """Largest share of one segment."""
    intent: float | None = Field(default=None, gt=0, le=1)
    """Largest share of one intent."""
    template: float | None = Field(default=None, gt=0, le=1)
    """Largest share of one prompt template."""
    min_rows: int = Field(default=50, ge=1)
    """Fewer rows than this of one thing are never capped: shares of little mean little."""
