"""Config of what happens to personal data and to texts of doubtful quality."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

from pydantic import Field

from tuneloop.config.base import Conflict, Section, VariableName

PersonalData = Literal[
    "email", "phone", "card", "iban", "ip", "secret",
    "person", "address", "birth_date", "national_id", "place", "organisation",
]  # fmt: skip
ON_REQUEST = ("place", "organisation")
"""Seldom personal, and a fact with another place in it is a false one: only where named."""
Action = Literal["redact", "hash", "drop", "keep"]
Deed = Literal["off", "flag", "drop"]


class FieldActions(Section):
    """What happens to personal data, a field.

    `redact` replaces it by a surrogate, `hash` by a keyed hash that is the same in the whole set,
    `drop` leaves out the text that holds any (a prompt or an answer takes its interaction with
    it), `keep` changes nothing. Secrets are replaced in every field.
    """

    prompt: Action = "redact"
    """What users and assistants said before the answer."""
    answer: Action = "redact"
    """The answer, its reasoning included."""
    correction: Action = "redact"
    """Corrected answers and edits of copied ones."""
    comment: Action = "redact"
    """Comments on answers."""
    system_prompt: Action = "redact"
    """Recorded system prompts: retrieved documents and profiles of users get in there."""
    tools: Action = "redact"
    """Tool definitions, calls and results."""
    metadata: Action = "redact"
    """Everything else that is text."""


class RedactConfig(Section):
    """What personal data is removed from texts before anything is trained."""

    enabled: bool = True
    """Look for personal data. Switched off, secrets are still replaced."""
    engine: Literal["auto", "patterns", "presidio"] = "auto"
    """`patterns` finds what has a form (numbers, addresses, names after a cue such as "my name
    is") at hundreds of thousands of texts a second; `presidio` finds names and places in running
    text too, with spaCy's small English model, some hundred times slower; `auto` is `presidio`
    where both are installed (`pip install tuneloop[privacy]`)."""
    kinds: list[PersonalData] = Field(
        default_factory=lambda: [k for k in get_args(PersonalData) if k not in ON_REQUEST]
    )
    """Which kinds of personal data. `place` and `organisation` are looked for only if named, and
    need `presidio`: seldom personal, and a fact with another place in it is a false one.
    `secret` (passwords, keys, tokens) is always replaced, whether it is named here or not."""
    surrogates: Literal["natural", "placeholder"] = "natural"
    """`natural` puts made-up values in place, the same one for the same value within a
    conversation, so that training texts read as texts do; `placeholder` puts `[EMAIL_412]`."""
    fields: FieldActions = FieldActions()
    """What happens in which field."""
    allow: list[str] = Field(default_factory=list)
    """Values that are not personal (public figures, the company's own names and addresses);
    compared without regard to case."""
    hash_key: VariableName | None = None
    """Environment variable with the key of hashes and surrogates; without it, surrogates are
    keyed by the run's seed. Needed for `hash`: what is hashed under a known key can be guessed."""
    n_samples: int = Field(default=5, ge=0)
    """How many replacements of each kind are shown for review, in context."""

    def conflicts(self) -> Iterator[Conflict]:
        """Yield: hashes without a key, kinds that the engine cannot find."""
        hashed = [name for name, action in self.fields if action == "hash"]
        if hashed and self.hash_key is None:
            keys = ("hash_key", *(f"fields.{name}" for name in hashed))
            yield Conflict(keys, "hash needs hash_key: an unkeyed hash of a phone can be guessed")
        asked = [kind for kind in ON_REQUEST if kind in self.kinds]
        if asked and self.engine == "patterns":
            yield Conflict(
                ("kinds", "engine"), f"{', '.join(asked)}: no pattern finds it; use presidio"
            )


class QualityConfig(Section):
    """Which defects of texts are looked for, and what follows.

    Each flag is `off`, `flag` (counted and shown) or `drop` (the interaction or the piece of
    feedback is left out). A defect of the answer alone (length, repetition, refusal, truncation)
    drops no answer that people disliked, corrected or found the worse of two: those are examples
    of what to avoid, and are never taught as good.
    """

    language: Deed = "drop"
    """The question is in none of `languages`; without `languages` nothing is looked at."""
    languages: list[str] = Field(default_factory=list)
    """ISO 639-1 codes of the languages that are wanted, such as `en`; empty: all."""
    too_short: Deed = "off"
    """The answer has fewer words than `min_words`. Off: labels and codes are answers too."""
    min_words: int = Field(default=2, ge=1)
    """Least words of an answer."""
    too_long: Deed = "flag"
    """The answer has more words than `max_words`."""
    max_words: int = Field(default=4_000, ge=1)
    """Most words of an answer; beyond it is rarely read and seldom fits a training window."""
    repetition: Deed = "drop"
    """The answer repeats lines or word n-grams beyond Gopher's thresholds."""
    repetition_scale: float = Field(default=1.5, gt=0)
    """Gopher's thresholds are multiplied by this: they are for web pages, and at 1 they take
    tables, code and refrains too (2.2 % of arena answers of strong models; at 1.5, 0.9 %)."""
    refusal: Deed = "flag"
    """The answer refuses. Flagged: a refusal can be right, and feedback says whether it was."""
    truncated: Deed = "drop"
    """The answer stops in the middle: finish reason `length`, an open code fence, open JSON, a
    sentence without an end."""
    toxic: Deed = "flag"
    """Insults, slurs and threats by a short word list, English only. Flagged: a list knows
    neither irony nor quotation."""
    injection: Deed = "drop"
    """Text aimed at the trainer or the judge: control tokens of chat templates, orders to grade
    or to ignore instructions, hidden characters."""
    encoding: Deed = "drop"
    """Text that was decoded wrongly: replacement characters, mojibake."""
    contradiction: Deed = "drop"
    """One account says up and down of one answer, or likes what it rewrites."""
    max_kept_fraction: float = Field(default=0.1, ge=0, le=1)
    """A correction that keeps less than this share of the answer rewrites it (1 − normalised edit
    distance); with a thumb up from the same account that is a contradiction."""
