"""People who want to mislead the training."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from tuneloop.config.simulate import SimulateConfig
from tuneloop.simulate.people import Person, make_gang
from tuneloop.simulate.reactions import Signal
from tuneloop.simulate.scenario import AttackKind, Scenario
from tuneloop.simulate.turns import Turn


def brigade(
    kind: AttackKind, n: int, scenario: Scenario, config: SimulateConfig, rng: random.Random
) -> tuple[list[Turn], list[Person]]:
    """Return `n` turns of a brigade, with the corrections it will give, and its accounts."""
    shares = config.adversaries
    gang = make_gang(min(shares.n_accounts, n), kind, rng)
    begin = _begin(config, rng)
    attack = scenario.attack(kind, rng)
    turns = []
    for number in range(n):
        ask, planted = next(attack)
        person = gang[number % len(gang)]
        at = begin + timedelta(hours=rng.uniform(0, shares.window_hours))
        turns.append(Turn(ask, person, at, session="", planted=planted))
    return turns, gang


def spam(
    turns: Sequence[Turn], config: SimulateConfig, rng: random.Random
) -> Iterator[tuple[Turn, Signal, str]]:
    """Yield thumbs down on answers of others, all from one account that asked nothing."""
    n = config.adversaries.spammer_events
    if not n:
        return
    account = f"p-spam{rng.randrange(16**8):08x}"
    honest = [turn for turn in turns if turn.person.adversary is None]
    for number in range(n):
        turn = honest[number % len(honest)] if n > len(honest) else rng.choice(honest)
        yield turn, Signal("thumb", False, rng.uniform(60, 86_400), "adversarial"), account


def _begin(config: SimulateConfig, rng: random.Random) -> datetime:
    room = max(config.n_days * 24 - config.adversaries.window_hours, 0)
    return config.start + timedelta(hours=rng.uniform(0, room))
