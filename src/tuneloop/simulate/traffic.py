"""The log: who asks what when, how it is answered, and every event with its hidden truth."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from tuneloop.artefacts.events import EVENT
from tuneloop.config.simulate import SimulateConfig
from tuneloop.simulate.adversaries import brigade, spam
from tuneloop.simulate.attacks import attack_turns, hostile_reaction, injected
from tuneloop.simulate.champion import Answer, Champion
from tuneloop.simulate.people import Honesty, Person, make_people
from tuneloop.simulate.personal_data import personal_data
from tuneloop.simulate.reactions import Reaction, Signal, react
from tuneloop.simulate.scenario import Scenario
from tuneloop.simulate.turns import Turn, feedback_event, interaction_event, truth_row

_RHYTHM = [1, 1, 1, 1, 1, 2, 4, 8, 14, 18, 18, 16, 15, 15, 14, 14, 13, 12, 12, 14, 15, 12, 7, 3]
"""Messages by hour of the day."""
MAX_SESSION = 4


@dataclass
class Log:
    """Events as mappings, valid and in the order of their times, and the truth about them."""

    events: list[dict[str, Any]] = field(default_factory=list)
    truth: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


class Traffic:
    """Makes one log; `run` is the way through it."""

    def __init__(self, scenario: Scenario, config: SimulateConfig, *, seed: int, tag: str) -> None:
        self.scenario, self.config, self.tag = scenario, config, tag
        self._rng = random.Random(f"traffic {seed}")
        self._hostile = random.Random(f"attack {seed}")
        self._n_turns = self._n_feedback = self._n_sessions = 0
        self._log = Log()

    def run(self, champion: Champion, n_interactions: int) -> Log:
        """Return the log: first messages, answers, reactions, follow-ups, adversaries."""
        people = make_people(
            max(round(n_interactions / self.config.crowd.n_messages_per_person), 1),
            self.config.crowd,
            self._rng,
        )
        turns = self._first_messages(people, n_interactions)
        turns += self._resent(turns)
        gangs: list[Person] = []
        for kind, n in self._brigade_sizes(n_interactions).items():
            planted, gang = brigade(kind, n, self.scenario, self.config, self._rng)
            gangs += gang
            turns += [self._numbered(replace(t, session=self._session())) for t in planted]
        if self.config.adversaries.attack:
            planted, gang = attack_turns(len(people), self.scenario, self.config, self._hostile)
            gangs += gang
            turns += [self._numbered(replace(t, session=self._session())) for t in planted]
        followers = self._serve(turns, champion, step="answers")
        if followers:
            later = [turn for turn, _ in followers]
            self._serve(later, champion, step="second answers", may_follow=False)
            self._compare(followers)
        self._spam(turns)
        self._log.truth += [person.truth for person in people + gangs]
        self._log.counts |= {"people": len(people), "accounts_of_brigades": len(gangs)}
        return self._finished()

    # What people send

    def _first_messages(self, people: Sequence[Person], n: int) -> list[Turn]:
        turns: list[Turn] = []
        while len(turns) < n:
            person = self._rng.choice(people)
            session = self._session()
            at = self._moment(person)
            for number in range(
                min(self._rng.choice([1, 1, 1, 2, 2, MAX_SESSION]), n - len(turns))
            ):
                at += timedelta(seconds=self._rng.uniform(40, 600) if number else 0)
                ask = self.scenario.asks(person.voice, self._rng)
                if self._rng.random() < self.config.noise.personal_data_fraction:
                    clause, found = personal_data(self._rng)
                    ask = replace(ask, text=f"{ask.text} {clause}", personal_data=tuple(found))
                turn = Turn(ask, person, at, session, number, self._prompt_version())
                turns.append(self._numbered(turn))
        return turns

    def _resent(self, turns: Sequence[Turn]) -> list[Turn]:
        """People who press the button twice: the same text again, moments later."""
        return [
            self._numbered(
                replace(
                    turn,
                    at=turn.at + timedelta(seconds=self._rng.uniform(1, 30)),
                    resent_of=turn.id,
                )
            )
            for turn in turns
            if self._rng.random() < self.config.noise.resent_fraction
        ]

    def _brigade_sizes(self, n: int) -> dict[Any, int]:
        shares = self.config.adversaries
        sizes = {
            "phishing_brigade": round(n * shares.phishing_brigade_fraction),
            "label_flip_brigade": round(n * shares.label_flip_brigade_fraction),
        }
        return {kind: size for kind, size in sizes.items() if size}

    # What is recorded

    def _serve(
        self, turns: Sequence[Turn], champion: Champion, *, step: str, may_follow: bool = True
    ) -> list[tuple[Turn, Turn]]:
        """Record turns, answers and reactions; return (follow-up, what it follows)."""
        followers: list[tuple[Turn, Turn]] = []
        questions = [turn.question(self.scenario.prompts, self.config) for turn in turns]
        answers = injected(turns, champion.answer(questions, step=step))
        newest = max(answer.system for answer in answers)
        for turn, question, answer in zip(turns, questions, answers, strict=True):
            reaction = self._reaction(turn, answer, newest)
            self._add(interaction_event(turn, question, answer, reaction, self.config))
            score = self.scenario.score(turn.ask, answer.text) if answer.text is not None else None
            self._log.truth.append(truth_row(turn, score))
            for signal in reaction.signals:
                self._feedback(turn, signal)
            follow_up = self._follow_up(turn, reaction) if may_follow else None
            if follow_up:
                followers.append((follow_up, turn))
        return followers

    def _reaction(self, turn: Turn, answer: Answer, newest: str) -> Reaction:
        if turn.plot is not None:
            return hostile_reaction(
                turn, answer, newest=newest, scenario=self.scenario, rng=self._hostile
            )
        if turn.planted is not None:
            agrees = answer.text == turn.planted
            delay = self._rng.uniform(20, 200)
            planted = Signal("correction", turn.planted, delay, "adversarial")
            liked = Signal("thumb", True, delay, "adversarial")
            return Reaction([liked if agrees else planted])
        return react(
            turn.person,
            turn.ask,
            answer.text,
            scenario=self.scenario,
            config=self.config.crowd,
            rng=self._rng,
        )

    def _follow_up(self, turn: Turn, reaction: Reaction) -> Turn | None:
        """Return what the person sends next, recording that they did."""
        if reaction.next is None:
            return None
        at = turn.at + timedelta(seconds=self._rng.uniform(15, 120))
        ask = turn.ask
        if reaction.next == "rephrase":
            other = self.scenario.rephrase(ask, turn.person.voice, self._rng)
            if other is None:
                self._feedback(turn, Signal("abandonment", True, 60.0))
                return None
            ask = other
        attempt = 1 if reaction.next == "regenerate" else 0
        later = replace(
            turn, ask=ask, at=at, number=turn.number + 1, attempt=attempt, follows=turn.id
        )
        later = self._numbered(replace(later, resent_of=None))
        name = "reformulation" if reaction.next == "rephrase" else "regenerate"
        delay = (at - turn.at).total_seconds()
        honesty: Honesty = "adversarial" if turn.plot else "honest"
        self._feedback(turn, Signal(name, True, delay, honesty), metadata={"next": later.id})
        return later

    def _compare(self, followers: Sequence[tuple[Turn, Turn]]) -> None:
        """Half of those who asked for another answer say which of the two is better."""
        scores = {
            row["id"]: row["score"] for row in self._log.truth if row["kind"] == "interaction"
        }
        for later, first in followers:
            new, old = scores[later.id], scores[first.id]
            if later.plot is not None:
                self._mislead(later, first, new, old)
                continue
            if not later.attempt or new is None or self._rng.random() < 0.5:
                continue
            if new == old:
                outcome = "tie" if new >= later.person.patience else "both_bad"
            else:
                outcome = "better"
            winner, loser = (later.id, first.id) if new >= old else (first.id, later.id)
            value = {"winner": winner, "loser": loser, "outcome": outcome}
            self._feedback(later, Signal("preference", value, self._rng.uniform(10, 90)))

    def _mislead(self, later: Turn, first: Turn, new: float | None, old: float | None) -> None:
        """Prefer the worse of two answers, or call both bad."""
        if new is None or old is None:
            return
        worse, better = (later, first) if new < old else (first, later)
        outcome = "both_bad" if new == old else "better"
        value = {"winner": worse.id, "loser": better.id, "outcome": outcome}
        delay = self._hostile.uniform(10, 90)
        self._feedback(later, Signal("preference", value, delay, "adversarial"))

    def _spam(self, turns: Sequence[Turn]) -> None:
        for turn, signal, account in spam(turns, self.config, self._rng):
            self._feedback(turn, signal, actor=account)

    def _feedback(
        self,
        turn: Turn,
        signal: Signal,
        *,
        actor: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        number, self._n_feedback = self._n_feedback, self._n_feedback + 1
        event = feedback_event(
            f"{self.tag}-f{number:06d}", turn, signal, self.config, actor=actor, metadata=metadata
        )
        self._add(event)
        self._log.truth.append(
            {
                "kind": "feedback",
                "id": event["id"],
                "target": turn.id,
                "signal": signal.signal,
                "honesty": signal.honesty,
                "adversary": "spammer" if actor else turn.person.adversary,
            }
        )

    def _add(self, event: dict[str, Any]) -> None:
        """Keep an event the schema accepts; anything else is a mistake of the simulation."""
        EVENT.validate_python(event)
        self._log.events.append(event)

    def _finished(self) -> Log:
        log = self._log
        log.events.sort(key=lambda event: (event["event_ts"], event["id"]))
        order = {"person": 0, "interaction": 1, "feedback": 2}
        log.truth.sort(key=lambda row: (order[row["kind"]], row.get("id") or row["subject_key"]))
        log.counts |= {"interactions": self._n_turns, "feedback": self._n_feedback}
        return log

    # Small draws

    def _numbered(self, turn: Turn) -> Turn:
        number, self._n_turns = self._n_turns, self._n_turns + 1
        return replace(turn, id=f"{self.tag}-i{number:06d}")

    def _session(self) -> str:
        self._n_sessions += 1
        return f"{self.tag}-s{self._n_sessions:06d}"

    def _prompt_version(self) -> int:
        return 1 if self._rng.random() < self.config.old_prompt_fraction else 2

    def _moment(self, person: Person) -> datetime:
        """Return when this person comes: more by day, and near the hour they are used to."""
        rng = self._rng
        day = rng.randrange(self.config.n_days)
        if (self.config.start + timedelta(days=day)).weekday() >= 5 and rng.random() < 0.4:
            day = rng.randrange(self.config.n_days)
        if rng.random() < 0.5:
            hour = (person.peak_hour + rng.gauss(0, 1)) % 24
        else:
            hour = rng.choices(range(24), _RHYTHM)[0] + rng.random()
        return self.config.start + timedelta(days=day, hours=hour)
