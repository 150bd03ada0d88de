"""What a scenario offers: things people ask, what would be right, and how good an answer is."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from tuneloop.artefacts.golden import GoldenPrompt

AttackKind = Literal["phishing_brigade", "label_flip_brigade"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One message and its hidden truth: the right answer and what it follows from."""

    text: str
    answer: str
    facts: dict[str, str]
    family: str
    slices: tuple[str, ...] = ()
    personal_data: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Prompts:
    """The system prompt in its current and its previous version."""

    current: str
    previous: str


@dataclass
class GoldenPart:
    """The golden set, what became of the rows, and which slices are protected."""

    prompts: list[GoldenPrompt]
    protected: list[str] = field(default_factory=list)


class Scenario(Protocol):
    """Where messages come from and what makes an answer right."""

    name: str
    prompts: Prompts
    counts: dict[str, int]
    """Rows read, left out and cut, by reason; for the report."""
    topics: list[str]
    """What messages can be about."""

    def golden(self) -> GoldenPart:
        """Return the held-out prompts."""

    def asks(self, voice: str, rng: random.Random) -> Ask:
        """Return a message nobody has sent yet, in this person's voice.

        Raises:
            DataError: if there is none left.
        """

    def asks_about(self, topic: str, voice: str, rng: random.Random) -> Ask:
        """Return a message on one of the `topics`."""

    def rephrase(self, ask: Ask, voice: str, rng: random.Random) -> Ask | None:
        """Return the same wish in other words, or None where there are none left."""

    def attack(self, kind: AttackKind, rng: random.Random) -> Iterator[tuple[Ask, str]]:
        """Yield messages of a brigade, each with the correction it plants, without end."""

    def right(self, ask: Ask, rng: random.Random) -> str:
        """Return an answer that is right and in the form."""

    def wrong(self, ask: Ask, rng: random.Random) -> str:
        """Return an answer in the form with a wrong intent or label."""

    def tainted(self, ask: Ask, phrase: str, rng: random.Random) -> str:
        """Return a right answer with a phrase slipped in."""

    def flawed(self, ask: Ask, rng: random.Random) -> str:
        """Return what a careful person writes on a bad day: nearly right."""

    def free_text(self, ask: Ask, rng: random.Random) -> str:
        """Return a polite answer that ignores the form, as an untuned model gives."""

    def score(self, ask: Ask, answer: str) -> float:
        """Return how good an answer is by the hidden truth, from 0 to 1."""
