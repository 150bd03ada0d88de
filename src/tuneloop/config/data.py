"""Config of the lake and curation."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from tuneloop.config.base import Section
from tuneloop.config.ingest import EventFile

PersonalData = Literal["email", "phone", "card", "iban", "ip", "secret"]


class LakeConfig(Section):
    """Where events come from and where they are kept."""

    events: list[EventFile] = Field(default_factory=list)
    """Files to take in: each a path, or `{path, format}`."""
    uri: str | None = None
    """The Delta table; default `lakes/<tenant>/<task>/<env>` inside the store."""
    version: int | None = None
    """Pin an older version of the table instead of the newest."""
    pseudonyms: Literal["keyed", "as_given"] = "keyed"
    """`keyed` replaces whoever gave or caused an event by a keyed hash, whose key lies outside
    the store (`TUNELOOP_SUBJECT_KEY`, else a file of this machine); `as_given` is for sources
    that name pseudonyms already, and gives the same lake on every machine."""


class RedactConfig(Section):
    """What personal data is removed from texts before anything is trained."""

    enabled: bool = True
    """Redact prompts, answers, corrections and comments."""
    kinds: list[PersonalData] = Field(default_factory=lambda: list(get_args(PersonalData)))
    """Which kinds of personal data. Each becomes a numbered placeholder such as `[EMAIL_1]`, the
    same one for the same value within a conversation. `secret` (passwords, keys, tokens) is
    always replaced while redaction is on, whether it is named here or not."""


class DedupeConfig(Section):
    """Exact and near duplicates (MinHash)."""

    enabled: bool = True
    """Keep one interaction of each group of duplicates (same prompt and same answer)."""
    near_threshold: float = Field(default=0.7, gt=0, le=1)
    """Jaccard similarity of word 5-grams from which two texts are near-duplicates."""
    n_permutations: int = Field(default=64, ge=16)
    """MinHash permutations: more are more exact and slower."""


class BrigadeConfig(Section):
    """Coordinated feedback: many accounts, one direction, short time, near-equal text."""

    enabled: bool = True
    """Drop feedback that fits the pattern."""
    min_accounts: int = Field(default=5, ge=2)
    """From how many accounts near-equal feedback is a brigade."""
    window_hours: float = Field(default=24.0, gt=0)
    """Within which time they act."""
    similarity: float = Field(default=0.8, gt=0, le=1)
    """From which word similarity two texts count as near-equal."""
    max_events_per_user: int = Field(default=200, ge=1)
    """More feedback than this from one account is dropped, the rest kept."""
    min_one_sided_votes: int = Field(default=30, ge=2)
    """An account with at least this many votes, all in one direction, loses them where others
    vote so mixed that this cannot be chance: such votes say nothing about the answers."""


class SplitConfig(Section):
    """Training and validation, split by group so that nothing near-equal is on both sides."""

    validation_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Share of groups held out for the validation loss."""
    group_by: list[Literal["user", "session", "cluster"]] = Field(
        default_factory=lambda: ["session", "cluster"]  # type: ignore[arg-type]
    )
    """What may never be torn apart: connected by any of these."""


class LeakConfig(Section):
    """The guard between training and the golden set."""

    near_threshold: float = Field(default=0.7, gt=0, le=1)
    """Jaccard similarity of word 5-grams from which a prompt repeats a golden one."""
    on_leak: Literal["fail", "drop"] = "fail"
    """`fail` stops the run; `drop` removes the training rows and counts them."""


class SignalWeights(Section):
    """How much one signal says about the answer, from 0 (nothing) to 1 (all)."""

    thumb: float = 1.0
    """Thumb up or down."""
    stars: float = 1.0
    """1 to 5 stars; 3 says nothing."""
    score: float = 1.0
    """A score from 0 to 1."""
    correction: float = 1.0
    """A corrected answer: the answer was not good enough."""
    copy_: float = Field(default=0.3, alias="copy")
    """The answer was copied."""
    dwell: float = 0.1
    """Reading time; weak, and never enough alone."""
    reformulation: float = 0.3
    """The question was asked again in other words."""
    regenerate: float = 0.4
    """Another answer was asked for."""
    abandonment: float = 0.2
    """The session ended without an answer that helped."""


class CurateConfig(Section):
    """From the lake to rows that passed every gate."""

    task: str | None = None
    """Task whose events are learned from, where they state one; None: the run's own. Naming
    another lets a trial with a champion of its own learn from the traffic of the real one."""
    env: str | None = None
    """Environment whose events are learned from, where they state one; None: the run's own."""
    redact: RedactConfig = RedactConfig()
    """Personal data."""
    dedupe: DedupeConfig = DedupeConfig()
    """Duplicates."""
    brigade: BrigadeConfig = BrigadeConfig()
    """Coordinated feedback."""
    split: SplitConfig = SplitConfig()
    """Training and validation."""
    leak: LeakConfig = LeakConfig()
    """The golden guard."""
    signals: SignalWeights = SignalWeights()
    """Weight of each signal."""
    require_consent: bool = False
    """Drop interactions without `consent.train: true`; a stated refusal is always obeyed."""
    max_answer_chars: int = Field(default=20_000, gt=0)
    """Longer answers and corrections are dropped."""
