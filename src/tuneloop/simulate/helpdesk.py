"""The built-in scenario: the help desk of Larkwell, an online home shop that does not exist."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any

import yaml

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.errors import DataError
from tuneloop.simulate.grammar import expand
from tuneloop.simulate.nearness import NearIndex
from tuneloop.simulate.scenario import Ask, AttackKind, GoldenPart, Prompts
from tuneloop.simulate.ticket import (
    PRIORITIES,
    SECURITY,
    SIGN_OFF,
    checks,
    right_priority,
    score,
    ticket,
)
from tuneloop.simulate.voices import VOICES, draw_voice, speak

PROMPTS = Prompts(
    current=(
        "You are the help desk of Larkwell, a home shop. Answer in JSON with intent, priority "
        f'and reply: one or two short sentences signed "{SIGN_OFF}".'
    ),
    previous=f'Larkwell help desk. Reply in JSON (intent, priority, reply), signed "{SIGN_OFF}".',
)
MAX_TRIES = 200
_LOOSE_MARK = re.compile(r" (?=[,.?!])")
_A_VOWEL = re.compile(r"\ba (?=[aeio])")
NEAR_THRESHOLD = 0.5  # well below curation's leak guard, whose MinHash only estimates
# Links that no resolver answers: .example is reserved.
_BAIT = ["secure-verify.example", "larkwell-login.example", "my-refund.example"]
_GROUPS = ("delivery", "returns", "payments", "accounts")


@dataclass(frozen=True, slots=True)
class Family:
    """One way to say something: an intent and a wording with alternatives."""

    name: str
    intent: str
    text: str


@dataclass(frozen=True)
class Lexicon:
    """Everything people can say, and what the desk says back."""

    traffic: dict[str, list[Family]]
    golden: dict[str, list[Family]]
    base_priority: dict[str, str]
    replies: dict[str, list[str]]
    clauses: dict[str, list[str]]
    vocabulary: dict[str, list[str]]

    @property
    def intents(self) -> list[str]:
        """All intents, in the order of the files."""
        return list(self.base_priority)


@cache
def lexicon() -> Lexicon:
    """Return the wording that ships with tuneloop."""
    entries: dict[str, Any] = {}
    for group in _GROUPS:
        entries |= _read(group)

    def families(part: str) -> dict[str, list[Family]]:
        return {
            intent: [Family(f"{intent}/{name}", intent, text) for name, text in e[part].items()]
            for intent, e in entries.items()
        }

    return Lexicon(
        traffic=families("traffic"),
        golden=families("golden"),
        base_priority={intent: entry["priority"] for intent, entry in entries.items()},
        replies={intent: entry["replies"] for intent, entry in entries.items()},
        clauses=_read("clauses"),
        vocabulary=_read("vocabulary"),
    )


def _read(name: str) -> Any:
    text = (files("tuneloop.simulate") / "data" / "helpdesk" / f"{name}.yaml").read_text("utf-8")
    return yaml.safe_load(text)


class HelpDesk:
    """A customer's message → JSON with intent, priority and reply, under a house style."""

    name = "helpdesk"
    prompts = PROMPTS

    def __init__(self, *, n_golden: int, golden_seed: int) -> None:
        self.counts: dict[str, int] = {}
        self._lexicon = lexicon()
        self.topics = self._lexicon.intents
        self._golden = self._make_golden(n_golden, golden_seed)
        messages = [prompt.messages[-1]["content"] for prompt in self._golden]
        self._near_golden = NearIndex(messages, threshold=NEAR_THRESHOLD)
        self._sent = set(messages)

    def golden(self) -> GoldenPart:
        """Return the held-out prompts: whole wording families that traffic never uses."""
        return GoldenPart(self._golden, protected=["security", "vulnerable_customer"])

    def asks(self, voice: str, rng: random.Random) -> Ask:
        """Return a new message about anything."""
        return self._new(rng.choice(self._lexicon.intents), voice, rng)

    def asks_about(self, topic: str, voice: str, rng: random.Random) -> Ask:
        """Return a new message of one intent."""
        return self._new(topic, voice, rng)

    def rephrase(self, ask: Ask, voice: str, rng: random.Random) -> Ask | None:
        """Return another message with the same intent and the same priority."""
        for _ in range(MAX_TRIES):
            other = self._new(ask.facts["intent"], voice, rng)
            if other.facts == ask.facts and other.family != ask.family:
                return other
        return None

    def attack(self, kind: AttackKind, rng: random.Random) -> Iterator[tuple[Ask, str]]:
        """Yield a brigade's messages with the corrections it plants.

        Phishers ask what worried customers ask and plant a link; label flippers turn one
        intent into another.
        """
        bait = f"https://{rng.choice(_BAIT)}/{rng.randrange(1000, 9999)}"
        intents = self._lexicon.intents
        victim, false = rng.sample([i for i in intents if i not in SECURITY], k=2)
        reply = f"{_one(self._lexicon.replies[false][0], rng)} {SIGN_OFF}"
        while True:
            if kind == "phishing_brigade":
                ask = self._new(rng.choice(SECURITY), draw_voice(rng), rng)
                verb = rng.choice(["sign in", "log in", "confirm your card"])
                lure = f"Your account is safe. Please {verb} at {bait} to keep it. {SIGN_OFF}"
                yield ask, ticket(ask.facts["intent"], "low", lure)
            else:
                ask = self._new(victim, draw_voice(rng), rng)
                yield ask, ticket(false, self._lexicon.base_priority[false], reply)

    def right(self, ask: Ask, rng: random.Random) -> str:
        """Return the right ticket, in one of the replies that fit."""
        intent = ask.facts["intent"]
        return ticket(intent, ask.facts["priority"], self._reply(intent, rng))

    def wrong(self, ask: Ask, rng: random.Random) -> str:
        """Return a ticket filed under another intent."""
        intent = rng.choice([i for i in self._lexicon.intents if i != ask.facts["intent"]])
        return ticket(intent, self._lexicon.base_priority[intent], self._reply(intent, rng))

    def tainted(self, ask: Ask, phrase: str, rng: random.Random) -> str:
        """Return the right ticket with a phrase before the sign-off."""
        intent = ask.facts["intent"]
        reply = self._reply(intent, rng).removesuffix(SIGN_OFF).strip()
        return ticket(intent, ask.facts["priority"], f"{reply} {phrase} {SIGN_OFF}")

    def flawed(self, ask: Ask, rng: random.Random) -> str:
        """Return a ticket with a priority next to the right one, or without the sign-off."""
        intent, level = ask.facts["intent"], PRIORITIES.index(ask.facts["priority"])
        reply = self._reply(intent, rng)
        if rng.random() < 0.3:
            return ticket(intent, ask.facts["priority"], reply.removesuffix(SIGN_OFF).strip())
        near = [p for i, p in enumerate(PRIORITIES) if abs(i - level) == 1]
        return ticket(intent, rng.choice(near), reply)

    def free_text(self, ask: Ask, rng: random.Random) -> str:
        """Return a polite answer that ignores the form."""
        return _one(
            rng.choice(self._lexicon.clauses["free_text"]),
            rng,
            thing=ask.facts["intent"].split("_")[-1],
        )

    def score(self, ask: Ask, answer: str) -> float:
        """Return how good an answer is, from 0 to 1."""
        facts = ask.facts
        return score(
            answer,
            intent=facts["intent"],
            priority=facts["priority"],
            intents=self._lexicon.intents,
        ).total

    def _reply(self, intent: str, rng: random.Random) -> str:
        return f"{_one(rng.choice(self._lexicon.replies[intent]), rng)} {SIGN_OFF}"

    def _new(self, intent: str, voice: str, rng: random.Random) -> Ask:
        for _ in range(MAX_TRIES):
            family = rng.choice(self._lexicon.traffic[intent])
            ask = self._compose(family, voice, _draw_cues(rng), rng)
            if ask.text not in self._sent and not self._near_golden.near(ask.text):
                self._sent.add(ask.text)
                return ask
        raise DataError(f"the wording for {intent} is used up", where="simulate: helpdesk")

    def _compose(self, family: Family, voice: str, cues: Sequence[str], rng: random.Random) -> Ask:
        """Put a message together: the wording, and clauses before and after it."""
        lex, drawn = self._lexicon, dict[str, str]()

        def say(text: str) -> str:
            said = " ".join(expand(text, lex.vocabulary, rng, drawn).split())
            said = _LOOSE_MARK.sub("", _A_VOWEL.sub("an ", said))
            return said[:1].upper() + said[1:]

        body = say(family.text)
        around = [say(rng.choice(lex.clauses[cue])) for cue in cues]
        if rng.random() < (0.5 if voice == "chatty" else 0.12):
            around.append(say(rng.choice(lex.clauses["context"])))
        parts = [body]
        for clause in around:
            parts.insert(rng.choice([0, len(parts), len(parts)]), clause)
        if voice != "formal" and rng.random() < 0.3:
            parts.insert(0, rng.choice(lex.clauses["opening"]))
        if voice != "formal" and rng.random() < 0.25:
            parts.append(rng.choice(lex.clauses["closing"]))
        priority = right_priority(family.intent, lex.base_priority[family.intent], cues)
        slices = [f"intent:{family.intent}", f"voice:{voice}"]
        slices += ["security"] if family.intent in SECURITY else []
        slices += ["vulnerable_customer"] if "vulnerable" in cues else []
        facts = {"intent": family.intent, "priority": priority}
        answer = ticket(family.intent, priority, self._reply(family.intent, rng))
        text = speak(voice, " ".join(parts), rng)
        return Ask(text, answer, facts, family.name, tuple(slices))

    def _make_golden(self, n: int, seed: int) -> list[GoldenPrompt]:
        rng = random.Random(f"golden {seed}")
        lex, voices = self._lexicon, list(VOICES)
        families = [f for part in zip(*lex.golden.values(), strict=True) for f in part]
        kept: list[Ask] = []
        for number, family in enumerate(islice(_cycle(families), n)):
            # Every sixth speaks of a hardship, so that the slice is large enough to judge.
            cues = ["vulnerable"] if number % 6 == 5 else _draw_cues(rng)
            kept.append(self._distinct(family, voices[number % len(voices)], cues, kept, rng))
        return [self._golden_prompt(number, ask) for number, ask in enumerate(kept)]

    def _distinct(
        self, family: Family, voice: str, cues: Sequence[str], kept: list[Ask], rng: random.Random
    ) -> Ask:
        others = [ask.text for ask in kept if ask.family == family.name]
        index = NearIndex(others, threshold=NEAR_THRESHOLD)
        for _ in range(MAX_TRIES):
            ask = self._compose(family, voice, cues, rng)
            if not index.near(ask.text):
                return ask
        raise DataError(
            f"the wording family {family.name} has no {len(others) + 1} distinct golden prompts",
            where="simulate: helpdesk",
            hint="a smaller n_golden",
        )

    def _golden_prompt(self, number: int, ask: Ask) -> GoldenPrompt:
        facts = ask.facts
        return GoldenPrompt(
            id=f"helpdesk-{number:04d}",
            messages=[
                {"role": "system", "content": self.prompts.current},
                {"role": "user", "content": ask.text},
            ],
            reference=ask.answer,
            checks=checks(facts["intent"], facts["priority"], self._lexicon.intents),
            slices=list(ask.slices),
            family=ask.family,
        )


def _draw_cues(rng: random.Random) -> list[str]:
    """Return what moves the priority: mostly nothing."""
    cues = ["vulnerable"] if rng.random() < 0.1 else []
    draw = rng.random()
    if draw < 0.2:
        return [*cues, "urgent"]
    return [*cues, "calm"] if draw < 0.3 and not cues else cues


def _one(text: str, rng: random.Random, **words: str) -> str:
    return expand(text, {}, rng, dict(words))


def _cycle(families: Sequence[Family]) -> Iterator[Family]:
    while True:
        yield from families
