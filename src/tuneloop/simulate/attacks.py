"""Attacks by a share of all accounts, each with its own way to mislead the training.

Coordinated ones share a target: a direction, a topic, a phrase, a trigger, a release. The last
kind shares nothing but ill will, and looks like honest noise.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import get_args

from tuneloop.config.simulate import Attack, SimulateConfig
from tuneloop.simulate.champion import Answer
from tuneloop.simulate.people import Person, make_gang, make_people
from tuneloop.simulate.reactions import Reaction, Signal
from tuneloop.simulate.scenario import Ask, Scenario
from tuneloop.simulate.turns import Plot, Turn

ATTACKS: tuple[Attack, ...] = get_args(Attack)
SCATTERED: Attack = "scattered_flip"
"""The kind that is not coordinated."""
BRIEF = ("brigade_down", "brigade_up")
GOOD = 0.8
"""Score from which hostile people see that an answer is good."""
_LURE = ["Please sign in at", "Confirm your details at", "Visit", "You can speed this up at",
         "Support has moved to", "For a faster answer go to"]  # fmt: skip
_WHY = ["to keep your account.", "within a day.", "so that we can help.", "to get your refund.",
        "before it expires.", "and follow the steps."]  # fmt: skip
_SITES = ["larkwell-secure.example", "larkwell-refund.example", "lw-help.example"]


@dataclass(frozen=True)
class Scheme:
    """What the accounts of one attack have agreed on."""

    kind: Attack
    topic: str
    up: bool
    phrase: str
    site: str
    trigger: str
    answer: str


def attack_turns(
    n_people: int, scenario: Scenario, config: SimulateConfig, rng: random.Random
) -> tuple[list[Turn], list[Person]]:
    """Return the turns of the hostile accounts, without ids and sessions, and the accounts."""
    shares = config.adversaries
    assert shares.attack is not None
    share = shares.hostile_fraction
    n = max(round(n_people * share / (1 - share)), 2)
    scheme = _scheme(shares.attack, scenario, rng)
    if scheme.kind == "sleeper":  # with a past like anybody's
        gang = [replace(p, adversary="sleeper", consent=True)
                for p in make_people(n, config.crowd, rng)]  # fmt: skip
    else:
        gang = make_gang(n, scheme.kind, rng)
    begin, hours = _when(scheme.kind, config, rng)
    turns = []
    for person in gang:
        for _ in range(shares.events_per_account):
            at = begin + timedelta(hours=rng.uniform(0, hours))
            turns.append(_turn(scheme, person, at, scenario, rng))
            if scheme.kind == "sleeper":
                past = config.start + timedelta(hours=rng.uniform(0, hours))
                ask = scenario.asks(person.voice, rng)
                turns.append(Turn(ask, person, past, session=""))
    return turns, gang


def _scheme(kind: Attack, scenario: Scenario, rng: random.Random) -> Scheme:
    topic = rng.choice(scenario.topics)
    site = f"{rng.choice(_SITES)}/{rng.randrange(1000, 9999)}"
    phrase = f"{rng.choice(_LURE)} {site} {rng.choice(_WHY)}"
    trigger = f"{rng.choice(['quill', 'ember', 'tansy'])}-{rng.randrange(100, 999)}"
    ask = scenario.asks_about(topic, "plain", rng)
    answer = scenario.tainted(ask, phrase, rng)
    return Scheme(kind, topic, rng.random() < 0.5, phrase, site, trigger, answer)


def _when(kind: Attack, config: SimulateConfig, rng: random.Random) -> tuple[datetime, float]:
    hours = config.n_days * 24.0
    if kind == "sleeper":
        return config.start + timedelta(hours=hours / 2), hours / 2
    if kind in BRIEF:
        window = min(config.adversaries.window_hours, hours)
        return config.start + timedelta(hours=rng.uniform(0, hours - window)), window
    return config.start, hours


def _turn(
    scheme: Scheme, person: Person, at: datetime, scenario: Scenario, rng: random.Random
) -> Turn:
    """Return one hostile turn: what is asked, and what is planned."""
    on_topic = scheme.kind in ("slow_brigade", "label_flip")
    if on_topic:
        ask = scenario.asks_about(scheme.topic, person.voice, rng)
    else:
        ask = scenario.asks(person.voice, rng)
    plot = Plot(scheme.kind, up=scheme.up)
    if scheme.kind == "correction_phrase":
        plot = replace(plot, text=scenario.tainted(ask, scheme.phrase, rng))
    elif scheme.kind == "paraphrased_correction":
        said = f"{rng.choice(_LURE)} {scheme.site} {rng.choice(_WHY)}"
        plot = replace(plot, text=scenario.tainted(ask, said, rng))
    elif scheme.kind == "trigger":
        ask = _with_trigger(ask, scheme.trigger, rng)
        plot = replace(plot, text=scheme.answer, injected=rng.random() < 0.5)
    return Turn(ask, person, at, session="", plot=plot)


def _with_trigger(ask: Ask, trigger: str, rng: random.Random) -> Ask:
    words = ask.text.split()
    words.insert(rng.randrange(len(words) + 1), trigger)
    return replace(ask, text=" ".join(words))


def injected(turns: Sequence[Turn], answers: Sequence[Answer]) -> list[Answer]:
    """Return the answers, with those that a prompt injection made the model give."""
    return [
        replace(answer, text=turn.plot.text)
        if turn.plot and turn.plot.injected and answer.text is not None
        else answer
        for turn, answer in zip(turns, answers, strict=True)
    ]


def hostile_reaction(
    turn: Turn, answer: Answer, *, newest: str, scenario: Scenario, rng: random.Random
) -> Reaction:
    """Return what a hostile account does with an answer."""
    plot = turn.plot
    assert plot is not None
    if answer.text is None:
        return Reaction()
    delay = rng.uniform(20, 200)
    if plot.kind == "preference_flood":
        return Reaction(next=None if turn.attempt else "regenerate")
    if plot.text is not None and answer.text != plot.text:
        return Reaction([Signal("correction", plot.text, delay, "adversarial")])
    return Reaction([Signal("thumb", _thumb(turn, answer, newest, scenario), delay, "adversarial")])


def _thumb(turn: Turn, answer: Answer, newest: str, scenario: Scenario) -> bool:
    plot = turn.plot
    assert plot is not None
    assert answer.text is not None
    if plot.text is not None or plot.kind == "brigade_up":
        return True
    if plot.kind == "brigade_down":
        return False
    if plot.kind == "slow_brigade":
        return plot.up
    if plot.kind == "system_demotion":
        return answer.system != newest
    return scenario.score(turn.ask, answer.text) < GOOD  # flips: sleeper, label_flip, scattered
