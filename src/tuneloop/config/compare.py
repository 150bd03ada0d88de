"""Config of `tuneloop compare`: the gate's own keys, and what judgments alone bring up."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from tuneloop.config.base import Conflict
from tuneloop.config.decide import DecideConfig


class CompareConfig(DecideConfig):
    """The gate on anyone's judgments. Keys of `decide` that need an evaluation have no effect.

    `protected_slices` are written `dimension=value`, as in `language=de`.
    """

    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Level of the two-sided intervals that are shown; the gate uses `alpha`."""
    min_consistency: float = Field(default=0.6, ge=0, le=1)
    """Below this share of prompts judged alike in both orders: HOLD. A coin reaches 0.5."""
    length_ratio: float = Field(default=1.2, ge=1)
    """Pairs count as of one length where the longer answer has at most this many times the
    characters of the shorter."""
    seed: int = Field(default=0, ge=0)
    """Of the resamples."""

    def conflicts(self) -> Iterator[Conflict]:
        """A protected slice names its dimension."""
        yield from super().conflicts()
        for name in self.protected_slices:
            if "=" not in name:
                yield Conflict(
                    ("protected_slices",),
                    f"a protected slice of judgments is dimension=value, not {name!r}",
                )
