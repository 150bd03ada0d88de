"""Config of simulated traffic with known truth."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from tuneloop.artefacts.systems import Sampling
from tuneloop.config.base import Conflict, Section

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class LabelsConfig(Section):
    """A labelled table whose label the assistant has to answer with."""

    path: str | None = None
    """The table: CSV, TSV, JSON lines or Parquet. None: the built-in scenario."""
    text_column: str = "text"
    """Column with the messages."""
    label_column: str = "label"
    """Column with the labels."""
    golden_path: str | None = None
    """A table of the same columns that becomes the golden set; None: a part is held out."""
    system_prompt: str | None = None
    """What the assistant is told; None: one short sentence made from the label column."""
    max_text_chars: int = Field(default=1_000, ge=20)
    """Longer texts are cut at a word and counted, so that no row leaves the context."""
    golden_fraction: float = Field(default=0.1, gt=0, lt=1)
    """Share held out as golden set where no table is given for it, stratified by label."""
    golden_min: int = Field(default=200, ge=1)
    """At least this many golden prompts (never more than half of the table)."""
    golden_max: int = Field(default=1_000, ge=1)
    """At most this many golden prompts that are held out; a table of its own is used whole."""
    near_threshold: float = Field(default=0.6, gt=0, le=1)
    """Jaccard similarity of word 5-grams (of words, in texts of fewer than five) from which a
    row repeats a golden one and is left out. Somewhat below the 0.7 of curation's leak guard,
    since redaction can bring texts nearer to each other."""


class ChampionConfig(Section):
    """Who answers the simulated customers."""

    kind: Literal["scripted", "served"] = "scripted"
    """`scripted`: an assistant made of rules, no model needed. `served`: the engine's system."""
    right_fraction: float = Field(default=0.15, ge=0, le=1)
    """Scripted: share of answers that are right and in the required form."""
    wrong_fraction: float = Field(default=0.2, ge=0, le=1)
    """Scripted: share in the form with a wrong intent or label. The rest is free text, as an
    untuned chat model answers."""
    error_fraction: float = Field(default=0.005, ge=0, le=1)
    """Scripted: share of requests that end without an answer."""
    sampling: Sampling = Sampling(max_tokens=128)
    """Served: how answers are drawn."""

    def conflicts(self) -> Iterator[Conflict]:
        """Shares are of one whole."""
        if self.right_fraction + self.wrong_fraction > 1:
            yield Conflict(
                ("right_fraction", "wrong_fraction"),
                "right_fraction and wrong_fraction add up to more than 1",
            )


class PeopleConfig(Section):
    """Who the simulated people are: shares of persons, by what they do with an answer."""

    corrects: float = Field(default=0.45, ge=0)
    """Edit an answer until it is right, and accept a right one with a thumb."""
    thumbs: float = Field(default=0.2, ge=0)
    """Give thumbs, where they feel like it."""
    stars: float = Field(default=0.12, ge=0)
    """Give one to five stars."""
    comments: float = Field(default=0.07, ge=0)
    """Write a comment."""
    behaves: float = Field(default=0.16, ge=0)
    """Say nothing: copy, dwell, ask again in other words, regenerate, leave."""
    correct_fraction: float = Field(default=0.95, ge=0, le=1)
    """How often somebody who corrects does so."""
    asked_probability: float = Field(default=0.6, ge=0, le=1)
    """How often the product asks for a thumb or stars."""
    noise_fraction: float = Field(default=0.03, ge=0, le=1)
    """Share of feedback that is honestly wrong: mis-clicks, mistaken corrections."""
    n_messages_per_person: float = Field(default=3.0, gt=0)
    """Messages of one person, on average."""
    consent_refused_fraction: float = Field(default=0.03, ge=0, le=1)
    """Share of persons who refuse training on their data."""
    consent_unknown_fraction: float = Field(default=0.04, ge=0, le=1)
    """Share of persons nobody asked."""

    def conflicts(self) -> Iterator[Conflict]:
        """Somebody must be there."""
        shares = ("corrects", "thumbs", "stars", "comments", "behaves")
        if not any(getattr(self, share) for share in shares):
            yield Conflict(shares, "the shares of people are all 0")


Attack = Literal[
    "brigade_down", "brigade_up", "slow_brigade", "correction_phrase", "paraphrased_correction",
    "trigger", "label_flip", "preference_flood", "system_demotion", "sleeper", "scattered_flip",
]  # fmt: skip


class AdversaryConfig(Section):
    """Who wants to mislead the training; what they do is marked in truth.jsonl."""

    attack: Attack | None = None
    """What `hostile_fraction` of all accounts do; None: nobody. `brigade_down`, `brigade_up`:
    thumbs one way on everything, within `window_hours`; all others take the whole time.
    `slow_brigade`: thumbs one way on one topic. `correction_phrase`: corrections with the same
    link in the same words; `paraphrased_correction`: in other words each time. `trigger`: a rare
    word in the prompt, a hostile answer liked or given as correction. `label_flip`: on one topic
    bad answers up, good ones down. `preference_flood`: the worse of two answers preferred.
    `system_demotion`: the newest release down, others up. `sleeper`: honest for half the time,
    then good answers down and bad ones up. `scattered_flip`: the same on anything, from the
    start, each on their own."""
    hostile_fraction: float = Field(default=0.05, gt=0, lt=0.5)
    """Share of hostile accounts among all."""
    events_per_account: int = Field(default=10, ge=1)
    """Hostile feedback of each of them."""

    phishing_brigade_fraction: float = Field(default=0.0, ge=0, le=2)
    """Many accounts, a few hours: corrections that put a link to a false site into the answer.
    Their interactions, as a share of `n_interactions`, come on top."""
    label_flip_brigade_fraction: float = Field(default=0.01, ge=0, le=2)
    """Many accounts, a few hours: corrections to one wrong intent or label, thumbs up for it."""
    n_accounts: int = Field(default=25, ge=2)
    """Accounts of a brigade."""
    window_hours: float = Field(default=5.0, gt=0)
    """How long a brigade acts."""
    spammer_events: int = Field(default=260, ge=0)
    """Thumbs down from one account, on answers of others; 0: none."""


class NoiseConfig(Section):
    """What real logs have and nobody wants."""

    personal_data_fraction: float = Field(default=0.06, ge=0, le=1)
    """Share of messages with an address, phone number, card number or name in them."""
    resent_fraction: float = Field(default=0.02, ge=0, le=1)
    """Share of messages the same person sends again, word for word."""
    duplicate_fraction: float = Field(default=0.01, ge=0, le=1)
    """Share of events the exporter writes twice."""
    malformed_fraction: float = Field(default=0.002, ge=0, le=1)
    """Lines that are no valid event, as a share of the events, on top of them."""


class SimulateConfig(Section):
    """Production traffic with known truth."""

    scenario: Literal["helpdesk", "labels"] = "helpdesk"
    """`helpdesk`: the built-in one. `labels`: the table in `labels.path`."""
    n_interactions: int | None = Field(default=None, ge=1)
    """Messages that people begin with; follow-ups, repeats and adversaries come on top. None:
    2,000 for the help desk, every usable row of a table."""
    seed: int = Field(default=17, ge=0)
    """Seed of the traffic."""
    golden_seed: int = Field(default=0, ge=0)
    """Seed of the golden set; another seed of the traffic leaves it as it is."""
    n_golden: int = Field(default=280, ge=200)
    """Golden prompts of the help desk."""
    start: AwareDatetime = datetime(2026, 1, 5, tzinfo=UTC)
    """When the log begins."""
    n_days: int = Field(default=14, ge=1)
    """How many days it covers."""
    old_prompt_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Share of interactions still answered under the previous version of the prompt."""
    name: str | None = Field(default=None, pattern=NAME)
    """Name of the run in run.yaml; None: from the scenario or the table."""
    tenant: str = Field(default="larkwell", pattern=NAME)
    """Whose traffic."""
    task: str | None = Field(default=None, pattern=NAME)
    """Which task; None: from the scenario or the table."""
    base_model: str = "HuggingFaceTB/SmolLM2-135M-Instruct"
    """The base model that run.yaml trains."""
    labels: LabelsConfig = LabelsConfig()
    """The labelled table."""
    champion: ChampionConfig = ChampionConfig()
    """Who answers."""
    people: PeopleConfig | None = None
    """Who asks and judges; None: shares that suit the scenario (for a table, most people
    correct, so that at least 70 % of its rows can be learned from)."""
    adversaries: AdversaryConfig = AdversaryConfig()
    """Who cheats."""
    noise: NoiseConfig = NoiseConfig()
    """Duplicates, personal data, broken lines."""

    def conflicts(self) -> Iterator[Conflict]:
        """A table is given where, and only where, one is read."""
        if self.scenario == "labels" and not self.labels.path:
            yield Conflict(("scenario", "labels.path"), "scenario labels needs labels.path")
        if self.scenario == "helpdesk" and self.labels.path:
            yield Conflict(
                ("labels.path", "scenario"), "labels.path is read by scenario labels only"
            )

    @property
    def crowd(self) -> PeopleConfig:
        """The people, with the shares that suit the scenario where none are given."""
        if self.people is not None:
            return self.people
        if self.scenario == "labels":
            return PeopleConfig(corrects=0.9, thumbs=0.04, stars=0.03, comments=0.01, behaves=0.02)
        return PeopleConfig()
