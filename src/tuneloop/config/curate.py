"""Config of curation: from the lake to rows that passed every gate."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from pydantic import Field

from tuneloop.config.base import Conflict, Section
from tuneloop.config.caps import CapsConfig
from tuneloop.config.golden import EncoderConfig, LeakConfig, SemanticConfig
from tuneloop.config.privacy import QualityConfig, RedactConfig
from tuneloop.config.signals import SignalsConfig
from tuneloop.config.trust import TrustConfig

Group = Literal["user", "session", "document", "cluster"]


class DedupeConfig(Section):
    """Exact, near (MinHash) and semantic duplicates."""

    enabled: bool = True
    """Keep one interaction of each group of duplicates (same person, prompt and answer)."""
    near_threshold: float = Field(default=0.7, gt=0, le=1)
    """Jaccard similarity of word 5-grams from which two texts are near-duplicates."""
    n_permutations: int = Field(default=64, ge=16)
    """MinHash permutations: more are more exact and slower."""
    semantic: SemanticConfig = SemanticConfig()
    """Duplicates by meaning."""


class SplitConfig(Section):
    """Training and validation, split by group so that nothing near-equal is on both sides."""

    validation_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Share of groups held out for the validation loss; by time, share of the interactions."""
    group_by: list[Group] = Field(default_factory=lambda: ["session", "cluster"])  # type: ignore[arg-type]
    """What may never be torn apart. An interaction that would connect a held-out group with one
    that is trained on is dropped, so that neither ever changes sides. `cluster` is near-equal
    questions, `document` what a prompt was made with (`request.context`)."""
    time: bool = False
    """Hold out the newest groups instead of drawn ones."""
    since: datetime | None = None
    """By time: hold out what began from then on, which stays the same when data is added; null:
    the newest `validation_fraction`, which moves on with the data."""
    max_group_share: float = Field(default=0.5, gt=0, le=1)
    """Largest share of the held-out rows that one question and its near-equals may be; more of
    them are dropped, not trained on."""

    def conflicts(self) -> Iterator[Conflict]:
        """Yield: a date where nothing is split by time."""
        if self.since is not None and not self.time:
            yield Conflict(("since", "time"), "since says when; it needs time: true")


class CurateConfig(Section):
    """From the lake to rows that passed every gate."""

    task: str | None = None
    """Task whose events are learned from, where they state one; None: the run's own. Naming
    another lets a trial with a champion of its own learn from the traffic of the real one."""
    env: str | None = None
    """Environment whose events are learned from, where they state one; None: the run's own."""
    runner: Literal["native", "ray"] = "native"
    """Where batches are worked on: this machine, or the Ray cluster that `RAY_ADDRESS` names (a
    new one on this machine without it). The rows are the same; workers need the work folder."""
    redact: RedactConfig = RedactConfig()
    """Personal data."""
    quality: QualityConfig = QualityConfig()
    """Texts of doubtful quality."""
    dedupe: DedupeConfig = DedupeConfig()
    """Duplicates."""
    trust: TrustConfig = TrustConfig()
    """Whose feedback is not believed."""
    signals: SignalsConfig = SignalsConfig()
    """What feedback says."""
    leak: LeakConfig = LeakConfig()
    """The golden guard."""
    encoder: EncoderConfig = EncoderConfig()
    """What compares meanings, for the guard and for duplicates."""
    caps: CapsConfig = CapsConfig()
    """What no one source of rows may exceed."""
    split: SplitConfig = SplitConfig()
    """Training and validation."""
    as_of: datetime | None = None
    """Consent that ended (`until`) before this counts as refused. Never before the lake's newest
    interaction, which is what counts where this is null: then the same lake always gives the same
    set, but one that no longer grows goes on with consent that has ended since. UTC if unsaid."""
    require_consent: bool = False
    """Drop interactions without `consent.train: true`; a stated refusal is always obeyed."""
    max_answer_chars: int = Field(default=20_000, gt=0)
    """Longer answers and corrections are dropped."""
