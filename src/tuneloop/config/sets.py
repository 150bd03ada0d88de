"""Config of set building: the rules that make training rows, and what limits them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, field_validator

from tuneloop.artefacts.events import Signal
from tuneloop.config.base import Conflict, Section

Kind = Literal["sft", "preference", "kto"]
Take = Literal["answer", "correction", "edit", "contrast", "comparison", "sample"]
ActorKind = Literal["user", "reviewer", "judge", "rule"]
MAKES: dict[str, tuple[str, ...]] = {
    "answer": ("sft", "kto"),
    "correction": ("sft", "preference"),
    "edit": ("sft", "preference"),
    "contrast": ("preference",),
    "comparison": ("preference", "kto"),
    "sample": ("preference",),
}
"""Which kinds of rows each text can become."""


class RuleConfig(Section):
    """One rule: which feedback makes which row, from which confidence, with which weight."""

    enabled: bool = True
    """Whether the rule makes rows."""
    take: Take = "answer"
    """What is taught. `answer`: the answer as it was given. `correction`, `edit`: the text a
    person made of it (in a pair, before the answer). `contrast`: two answers to one prompt, the
    better before the worse. `comparison`: what was said of two answers side by side; for KTO,
    both answers of a pair called bad. `sample`: a newly sampled answer, or the correction,
    before the newly sampled or recorded one it beats."""
    makes: list[Kind] = Field(default_factory=lambda: ["sft"], min_length=1)  # type: ignore[arg-type]
    """Kinds of rows: `sft`, `preference`, `kto`."""
    signals: list[Signal] = Field(default_factory=list)
    """Only for answers with one of these signals; none named: any signal will do."""
    actors: list[ActorKind] = Field(default_factory=list)
    """Only where one of these gave that signal; none named: anybody."""
    label: bool | None = None
    """KTO: make good rows only (true), bad ones only (false), or both (null), by the score."""
    min_score: float = Field(default=0.0, ge=0, le=1)
    """Least evidence for what the row teaches: of the score (−1 … 1) or, in a bad row, of minus
    the score. A score of 0 says nothing and makes no row. Of a sampled answer, its own score."""
    min_margin: float = Field(default=0.0, ge=0, le=2)
    """Least difference in score between the two answers of a pair (`contrast`, `sample`)."""
    min_weight: float = Field(default=0.1, ge=0, le=1)
    """Least weight (0 … 1) of the feedback behind the row; a comparison's is how sure its
    annotators leave one. Feedback that trust left under a tenth teaches nothing."""
    weight: float = Field(default=1.0, gt=0, le=1)
    """The row's weight is that of its feedback times this."""
    by_score: bool = False
    """Multiply the weight by the score, too."""
    whole: Literal["share", "full", "drop"] = "share"
    """A comparison of conversations that went on after the two answers at which they part: those
    two make the row, which weighs its `share` (one over the number of answers that the verdict
    was on, since any of them may have decided it), in `full`, or there is no row (`drop`)."""
    unpaired: bool = False
    """Only for answers that are in no pair."""

    def conflicts(self) -> Iterator[Conflict]:
        """A text can become some kinds of rows only."""
        wrong = [kind for kind in self.makes if kind not in MAKES[self.take]]
        if wrong:
            yield Conflict(
                ("makes", "take"),
                f"take {self.take} makes {' or '.join(MAKES[self.take])}, not {', '.join(wrong)}",
            )


SHIPPED_RULES: dict[str, dict[str, Any]] = {
    "demonstration": {"take": "correction", "makes": ["sft"], "actors": ["reviewer"]},
    "correction": {"take": "correction", "makes": ["sft", "preference"]},
    "edit": {"take": "edit", "makes": ["sft", "preference"]},
    "liked": {"take": "answer", "makes": ["sft"], "min_score": 0.5, "by_score": True},
    "preference": {"take": "comparison", "makes": ["preference"]},
    "contrast": {"take": "contrast", "makes": ["preference"], "min_margin": 0.5},
    "sampled": {
        "take": "sample", "makes": ["preference"], "min_score": 0.5, "min_margin": 0.25,
    },
    "both_bad": {"take": "comparison", "makes": ["kto"], "unpaired": True},
    "thumb_up": {
        "take": "answer", "makes": ["kto"], "signals": ["thumb"], "label": True, "unpaired": True,
    },
    "thumb_down": {
        "take": "answer", "makes": ["kto"], "signals": ["thumb"], "label": False, "unpaired": True,
    },
    "stars": {
        "take": "answer", "makes": ["kto"], "signals": ["stars", "score"], "min_score": 0.5,
        "unpaired": True,
    },
}  # fmt: skip
"""In order: of several rules that teach one text for one answer, the first names the row."""


class ReplayConfig(Section):
    """General data mixed into SFT training, so that the model forgets less of what it could."""

    path: str | None = None
    """JSON lines or Parquet with `messages`, or `prompt` and `completion`; relative to the file
    that names it. None: no replay."""
    share: float = Field(default=0.1, ge=0, lt=1)
    """Share of the SFT training rows that comes from it."""
    terms: str | None = None
    """Its licence, for the card."""


class BuildConfig(Section):
    """From curated rows to training sets."""

    rules: dict[str, RuleConfig] = Field(default_factory=dict, validate_default=True)
    """Rules by name. A name that is shipped changes that rule's keys and keeps the others; any
    other name adds a rule. `enabled: false` switches one off."""
    max_pairs_per_prompt: int = Field(default=4, ge=1)
    """Cap on pairs of one prompt: the widest margins, answers not used yet first."""
    max_kto_rows_per_prompt: int | None = Field(default=None, gt=0)
    """Cap on KTO rows of one prompt, heaviest first; None: all."""
    max_rows_per_cluster: int | None = Field(default=None, gt=0)
    """Cap on training rows of one kind from one cluster of near-equal questions, heaviest
    first; None: all."""
    max_sft_rows: int | None = Field(default=None, gt=0)
    """Cap on SFT training rows (seeded sample); None: all."""
    max_preference_rows: int | None = Field(default=None, gt=0)
    """Cap on preference training rows (seeded sample); None: all."""
    max_kto_rows: int | None = Field(default=None, gt=0)
    """Cap on KTO training rows (seeded sample); None: all."""
    system_prompt: Literal["keep", "strip"] = "keep"
    """Whether recorded system prompts stay in the training prompts."""
    reasoning: Literal["keep", "mask", "strip"] = "strip"
    """Recorded reasoning before an answer: `keep` teaches it, `mask` shows it without loss,
    `strip` leaves it out. Stripped by default, since feedback is about the answer."""
    loss_on: Literal["last", "all"] = "last"
    """SFT loss on the last answer, or on every assistant turn of the conversation. The earlier
    ones are answers nobody judged, so `last`."""
    max_prompt_tokens: int | None = Field(default=4096, gt=0)
    """Longer conversations lose whole turns from the front, never the system prompt; where the
    last turn alone is longer, the row is dropped. A token is taken for four bytes of UTF-8."""
    max_answer_tokens: int | None = Field(default=4096, gt=0)
    """Rows with a longer answer are dropped, since an answer is never cut."""
    forbidden_terms: list[str] = Field(
        default_factory=lambda: [
            "no-train*", "not-for-train*", "do-not-train*", "no-ai*", "evaluation-only*",
            "eval-only*", "test-only*",
        ]
    )  # fmt: skip
    """`output_terms` under which an answer is never trained on, as patterns (`*`, `?`); case,
    spaces and underscores aside."""
    consent_bases: list[str] | None = None
    """Bases of consent that suffice (such as `opt-in`); a row that states none does not pass.
    None: any, since rows whose consent is refused never get here."""
    balance_length: Literal["off", "drop", "weight"] = "off"
    """Against answers preferred for their length: among pairs whose lengths differ as much, as
    many shorter answers are chosen as longer ones, by dropping rows or by weighting them down."""
    replay: ReplayConfig = ReplayConfig()
    """General data for SFT."""

    def without_paths(self) -> BuildConfig:
        """Return the config as keys hold it: a file is known by its digest, not its place."""
        return self.model_copy(update={"replay": self.replay.model_copy(update={"path": None})})

    @field_validator("rules", mode="before")
    @classmethod
    def _over_the_shipped_ones(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not all(isinstance(v, dict) for v in given.values()):
            return given
        names = dict.fromkeys([*SHIPPED_RULES, *given])
        return {name: SHIPPED_RULES.get(name, {}) | given.get(name, {}) for name in names}
