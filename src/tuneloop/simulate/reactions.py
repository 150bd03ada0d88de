"""What a person does with an answer: signals, mistakes, and what comes next."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Literal

from tuneloop.config.simulate import PeopleConfig
from tuneloop.simulate.people import Honesty, Person
from tuneloop.simulate.scenario import Ask, Scenario

Next = Literal["rephrase", "regenerate"]
_PRAISE = ["exactly right, thanks", "good answer", "perfect", "spot on, sent as is", "works for me"]
_BLAME = [
    "this is not the form we need", "wrong queue", "too long and not what was asked",
    "can't use this", "it just chats", "had to write it myself", "not helpful",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Signal:
    """One piece of feedback before it becomes an event."""

    signal: str
    value: Any
    delay_s: float
    honesty: Honesty = "honest"
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Reaction:
    """Everything a person does with one answer."""

    signals: list[Signal] = field(default_factory=list)
    next: Next | None = None
    asked: bool = False


def react(
    person: Person,
    ask: Ask,
    answer: str | None,
    *,
    scenario: Scenario,
    config: PeopleConfig,
    rng: random.Random,
) -> Reaction:
    """Return what this person does, by the hidden truth, their patience and their mistakes."""
    if answer is None:
        return Reaction([Signal("abandonment", True, rng.uniform(5, 60))])
    score = scenario.score(ask, answer)
    content = score >= person.patience
    slip: Honesty = "noise" if rng.random() < config.noise_fraction else "honest"
    felt = content != (slip == "noise")
    if person.persona == "corrects":
        return _corrects(ask, score, slip, scenario=scenario, config=config, rng=rng)
    if person.persona == "behaves":
        return _behaves(felt, slip, answer, rng)
    asked = rng.random() < config.asked_probability
    # The angry speak up more readily than the content: feedback is no random sample.
    inclined = (0.8 if asked else 0.3) if not felt else (0.6 if asked else 0.2)
    signals = [_dwell(answer, rng)] if rng.random() < 0.2 else []
    if rng.random() < inclined:
        signals.append(_opinion(person, score, felt, slip, rng))
    return Reaction(signals, asked=asked)


def _corrects(
    ask: Ask,
    score: float,
    slip: Honesty,
    *,
    scenario: Scenario,
    config: PeopleConfig,
    rng: random.Random,
) -> Reaction:
    """Accept a right answer with a thumb, edit any other until it is right (or meant to be)."""
    if rng.random() >= config.correct_fraction:
        return Reaction()
    delay = rng.uniform(20, 400)
    if score > 0.99:
        accepted = Signal("thumb", slip == "honest", delay, slip)
        copied = [Signal("copy", True, delay / 2)] if rng.random() < 0.4 else []
        return Reaction([*copied, accepted])
    if slip == "noise":
        text = scenario.wrong(ask, rng) if rng.random() < 0.5 else scenario.flawed(ask, rng)
    else:
        text = scenario.right(ask, rng)
    return Reaction([Signal("correction", text, delay, slip)])


def _opinion(person: Person, score: float, felt: bool, slip: Honesty, rng: random.Random) -> Signal:
    delay = rng.uniform(5, 300)
    if person.persona == "stars":
        seen = score if slip == "honest" else 1 - score
        stars = min(max(round(1 + 4 * seen + rng.gauss(0, 0.35)), 1), 5)
        return Signal("stars", stars, delay, slip)
    text = rng.choice(_PRAISE if felt else _BLAME)
    if person.persona == "comments":
        return Signal("comment", text, delay, slip)
    return Signal("thumb", felt, delay, slip, text if rng.random() < 0.15 else None)


def _behaves(felt: bool, slip: Honesty, answer: str, rng: random.Random) -> Reaction:
    signals = [_dwell(answer, rng)]
    if felt:
        if rng.random() < 0.6:
            signals.append(Signal("copy", True, rng.uniform(5, 60), slip))
        return Reaction(signals)
    draw = rng.random()
    if draw < 0.35:
        return Reaction(signals, next="rephrase")
    if draw < 0.7:
        return Reaction(signals, next="regenerate")
    return Reaction([*signals, Signal("abandonment", True, rng.uniform(10, 90), slip)])


def _dwell(answer: str, rng: random.Random) -> Signal:
    """Reading time at about 15 characters a second, give or take."""
    seconds = round(1 + len(answer) / 15 * rng.lognormvariate(0, 0.5), 1)
    return Signal("dwell", seconds, seconds)
