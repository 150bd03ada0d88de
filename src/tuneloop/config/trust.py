"""Config of the gates against poisoning."""

from __future__ import annotations

from pydantic import Field

from tuneloop.config.base import Section


class TrustConfig(Section):
    """Whose feedback is not believed: floods, brigades, crews, and votes that contradict."""

    enabled: bool = True
    """Look for coordinated and contradicting feedback, and weigh it with 0."""
    max_events_per_user: int = Field(default=200, ge=1)
    """More feedback than this from one account is dropped, the rest kept."""
    min_one_sided_votes: int = Field(default=30, ge=2)
    """An account with at least this many votes, all in one direction, loses them where others
    vote so mixed that this cannot be chance: such votes say nothing about the answers."""
    min_accounts: int = Field(default=5, ge=2)
    """From how many accounts feedback that agrees too well is coordinated."""
    window_hours: float = Field(default=24.0, gt=0)
    """Within which time a brigade acts; a crew may take any time."""
    similarity: float = Field(default=0.8, gt=0, le=1)
    """From which word similarity two texts count as near-equal."""
    max_p: float = Field(default=1e-6, gt=0, lt=1)
    """Largest probability of a finding if people acted alone; small, since many windows, phrases
    and accounts are looked at."""
    max_false_fraction: float = Field(default=0.05, gt=0, lt=1)
    """Expected share of honest accounts among those whose votes are found to contradict what
    everybody else's votes predict (false discovery rate)."""
    allow: list[str] = Field(default_factory=list)
    """Phrases that people may agree on, such as a signature or the name of a campaign of your
    own. Compared word by word, without case and punctuation."""
