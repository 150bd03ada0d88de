"""Config of the evidence: what each signal counts for, and what is read from behaviour."""

from __future__ import annotations

from pydantic import Field

from tuneloop.config.base import Section


class DeriveConfig(Section):
    """Signals read from what people did next, where the application logged none of the kind."""

    reformulation: bool = True
    """The next question of the session asks the same in other words."""
    reformulation_min_similarity: float = Field(default=0.55, gt=0, le=1)
    """Similarity (content words in order of the alphabet, by characters) from which the next
    question is the same one. Between questions of two different intents of BANKING77 it is
    reached in 1.4 % of pairs, between two people's wordings of one intent in 31 %."""
    reformulation_min_cosine: float = Field(default=0.6, gt=0, le=1)
    """The same by meaning, where an encoder is installed and the words tell nothing: of the same
    pairs 1.0 % and 52 %."""
    reformulation_max_encoded: int = Field(default=20_000, ge=0)
    """Most questions that are compared by meaning, at some hundred a second and core; with more
    of them words alone decide. 0: never."""
    reformulation_window_s: float = Field(default=600.0, gt=0)
    """Within how many seconds; the confidence falls to half at its end."""
    regenerate: bool = True
    """The same question again in the session."""
    regenerate_min_s: float = Field(default=2.0, ge=0)
    """Sooner than this it is a client that tried again or answers side by side, not a person."""
    regenerate_window_s: float = Field(default=600.0, gt=0)
    """Within how many seconds."""
    abandonment: bool = True
    """The session ends, without a word, after a question that was asked again."""
    session_timeout_s: float = Field(default=1800.0, gt=0)
    """Silence after which a session is over: half an hour, the custom of web analytics."""
    dwell: bool = True
    """The next turn came before the answer could be read."""
    dwell_max_share: float = Field(default=0.5, gt=0, le=1)
    """Largest share of the reading time that says so. A longer pause says nothing: it may hold
    anything."""
    dwell_min_words: int = Field(default=40, ge=1)
    """Shorter answers (ten seconds of reading) are read at a glance."""


class CalibrateConfig(Section):
    """Measuring what behaviour, comments and judges are worth against what people stated."""

    enabled: bool = True
    """Weigh them by their precision where people also stated their opinion."""
    min_overlap: int = Field(default=20, ge=1)
    """Interactions with both, below which the configured weight stays."""
    prior_strength: float = Field(default=20.0, ge=0)
    """How many interactions the configured weight counts for against the measured one."""


class PeopleConfig(Section):
    """How reliable each person is, and how much one may count for in all."""

    enabled: bool = True
    """Weigh people by their agreement with others on the same items (Dawid and Skene)."""
    pooling: float = Field(default=10.0, ge=0)
    """How many votes the confusion of all people together counts for against one's own: a few
    votes tell little about anybody."""
    max_share: float = Field(default=0.02, gt=0, le=1)
    """Largest share of all weight that one user may have; reviewers are exempt. Nobody is cut
    below five times the mean, nor below `min_capped_weight`."""
    min_capped_weight: float = Field(default=50.0, gt=0)
    """Sum of weights up to which nobody is cut, so that small teams are heard."""


class PropensityConfig(Section):
    """Rates corrected for who was asked and who was served by what."""

    max_weight: float = Field(default=20.0, ge=1)
    """Inverse propensities above this are clipped (and counted): one row then stands for at most
    twenty. Clipping trades variance for bias."""


class SignalsConfig(Section):
    """How much one signal says about the answer, from 0 (nothing) to 1 (all)."""

    thumb: float = Field(default=1.0, ge=0, le=1)
    """Thumb up or down."""
    stars: float = Field(default=1.0, ge=0, le=1)
    """1 to 5 stars; 3 says nothing."""
    score: float = Field(default=1.0, ge=0, le=1)
    """A score, on any scale; its middle says nothing."""
    correction: float = Field(default=1.0, ge=0, le=1)
    """A corrected answer: the answer was not good enough."""
    comment: float = Field(default=0.2, ge=0, le=1)
    """A comment that plainly praises or blames; others say nothing. Never enough alone."""
    copy_: float = Field(default=0.3, ge=0, le=1, alias="copy")
    """The answer was copied."""
    edit: float = Field(default=0.3, ge=0, le=1)
    """What was made of a copied answer: how much of it was kept."""
    dwell: float = Field(default=0.1, ge=0, le=1)
    """Reading time; weak, and never enough alone."""
    reformulation: float = Field(default=0.3, ge=0, le=1)
    """The question was asked again in other words."""
    regenerate: float = Field(default=0.4, ge=0, le=1)
    """Another answer was asked for."""
    abandonment: float = Field(default=0.2, ge=0, le=1)
    """The session ended without an answer that helped."""
    dimensions: dict[str, float] = Field(
        default_factory=lambda: {"verbosity": 0.0, "complexity": 0.0}
    )
    """Factor on feedback about one dimension, by its name; dimensions not named count in full.
    The two defaults describe an answer without saying whether it is good."""
    derive: DeriveConfig = DeriveConfig()
    """Signals nobody logged."""
    calibrate: CalibrateConfig = CalibrateConfig()
    """What behaviour is worth."""
    people: PeopleConfig = PeopleConfig()
    """Reliability and caps."""
    propensity: PropensityConfig = PropensityConfig()
    """Selection bias."""

    def prior(self, signal: str) -> float:
        """Return the configured weight of a signal; "both bad" is a thumb down on each."""
        name = {"copy": "copy_", "preference": "thumb"}.get(signal, signal)
        return float(getattr(self, name))
