"""Simulated people: what kind of person, how patient, how they write, what they allow."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import Any, Literal

from tuneloop.config.simulate import PeopleConfig
from tuneloop.simulate.voices import draw_voice

Persona = Literal["corrects", "thumbs", "stars", "comments", "behaves"]
Honesty = Literal["honest", "noise", "adversarial"]
PERSONAS: tuple[Persona, ...] = ("corrects", "thumbs", "stars", "comments", "behaves")


@dataclass(frozen=True, slots=True)
class Person:
    """One person; `patience` is the score from which they are content with an answer."""

    key: str
    persona: Persona
    voice: str
    patience: float
    peak_hour: float
    consent: bool | None
    adversary: str | None = None

    @property
    def truth(self) -> dict[str, Any]:
        """The person as a row of truth.jsonl."""
        return {
            "kind": "person",
            "subject_key": self.key,
            "persona": self.persona,
            "voice": self.voice,
            "patience": self.patience,
            "consent": self.consent,
            "adversary": self.adversary,
        }


def make_people(n: int, config: PeopleConfig, rng: random.Random) -> list[Person]:
    """Return `n` honest people, their kinds by share."""
    shares = [getattr(config, persona) for persona in PERSONAS]
    return [_person(rng.choices(PERSONAS, shares)[0], config, rng) for _ in range(n)]


def make_gang(n: int, kind: str, rng: random.Random) -> list[Person]:
    """Return the accounts of a brigade: all consent, all correct, all at the same hour."""
    hour = rng.uniform(1, 20)
    return [
        Person(_key(rng), "corrects", draw_voice(rng), 1.0, hour, consent=True, adversary=kind)
        for _ in range(n)
    ]


def _person(persona: Persona, config: PeopleConfig, rng: random.Random) -> Person:
    refused, unknown = config.consent_refused_fraction, config.consent_unknown_fraction
    draw = rng.random()
    consent = False if draw < refused else None if draw < refused + unknown else True
    return Person(
        key=_key(rng),
        persona=persona,
        voice=draw_voice(rng),
        patience=round(min(max(rng.gauss(0.8, 0.1), 0.45), 1.0), 2),
        peak_hour=round(rng.choice([9.5, 13.0, 20.0]) + rng.gauss(0, 2), 2),
        consent=consent,
    )


def _key(rng: random.Random) -> str:
    """Return a pseudonym, as an application would derive it from an account."""
    return "p-" + hashlib.sha256(rng.randbytes(16)).hexdigest()[:12]
