"""One turn of the log, and the events and truth rows made from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tuneloop.config.simulate import Attack, SimulateConfig
from tuneloop.simulate.champion import Answer, Question
from tuneloop.simulate.people import Person
from tuneloop.simulate.reactions import Reaction, Signal
from tuneloop.simulate.scenario import Ask, Prompts


@dataclass(frozen=True, slots=True)
class Plot:
    """What a hostile account has planned for one turn.

    Attributes:
        kind: The attack.
        up: The direction where the attack has one.
        text: The correction that is given, and the answer that is liked.
        injected: Whether the prompt makes the model give that answer.
    """

    kind: Attack
    up: bool = False
    text: str | None = None
    injected: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """A message somebody sends. `planted` is the correction an adversary will give."""

    ask: Ask
    person: Person
    at: datetime
    session: str
    number: int = 0
    prompt_version: int = 2
    id: str = ""
    attempt: int = 0
    follows: str | None = None
    resent_of: str | None = None
    planted: str | None = None
    plot: Plot | None = None

    def question(self, prompts: Prompts, config: SimulateConfig) -> Question:
        """Return the turn as it is put to the champion."""
        prompt = prompts.current if self.prompt_version == 2 else prompts.previous
        progress = (self.at - config.start) / timedelta(days=config.n_days)
        return Question(self.ask, prompt, self.attempt, progress)


def interaction_event(
    turn: Turn, question: Question, answer: Answer, reaction: Reaction, config: SimulateConfig
) -> dict[str, Any]:
    """Return the interaction as a native event."""
    request: dict[str, Any] = {
        "messages": question.messages,
        "template": {"name": "house-style", "version": str(turn.prompt_version)},
    }
    if answer.sampling is not None:
        request["sampling"] = answer.sampling.model_dump()
    current = turn.prompt_version == 2
    share = 1 - config.old_prompt_fraction if current else config.old_prompt_fraction
    event: dict[str, Any] = {
        "type": "interaction",
        "id": turn.id,
        "event_ts": stamp(turn.at),
        "tenant": config.tenant,
        "task": config.task,
        "env": "production",
        "session_id": turn.session,
        "turn": turn.number,
        "parent_id": turn.follows,
        "subject_key": turn.person.key,
        "request": request,
        "response": {"content": answer.text},
        "outcome": answer.outcome,
        "system": answer.system,
        "assignment": {
            "experiment": "prompt-version",
            "unit": turn.person.key,
            "arm": f"v{turn.prompt_version}",
            "propensity": round(share, 6),
        },
        "latency_ms": answer.latency_ms,
        "usage": answer.usage,
    }
    if turn.person.persona in ("thumbs", "stars", "comments"):
        p_asked = config.crowd.asked_probability
        event["solicitation"] = {"asked": reaction.asked, "p_asked": p_asked}
    if turn.person.consent is not None:
        event["consent"] = {"train": turn.person.consent, "basis": "terms-2026"}
    return {key: value for key, value in event.items() if value is not None}


def feedback_event(
    id: str,
    turn: Turn,
    signal: Signal,
    config: SimulateConfig,
    *,
    actor: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return one piece of feedback as a native event, from `actor` or the person who asked."""
    event: dict[str, Any] = {
        "type": "feedback",
        "id": id,
        "event_ts": stamp(turn.at + timedelta(seconds=signal.delay_s)),
        "tenant": config.tenant,
        "target": {"kind": "interaction", "id": turn.id},
        "actor": {"kind": "user", "id": actor or turn.person.key},
        "signal": signal.signal,
        "value": signal.value,
    }
    if signal.comment:
        event["comment"] = signal.comment
    if metadata:
        event["metadata"] = metadata
    return event


def truth_row(turn: Turn, score: float | None) -> dict[str, Any]:
    """Return the hidden truth about one interaction; `score` is of the champion's answer."""
    return {
        "kind": "interaction",
        "id": turn.id,
        "subject_key": turn.person.key,
        "right_answer": turn.ask.answer,
        **turn.ask.facts,
        "score": None if score is None else round(score, 3),
        "family": turn.ask.family,
        "slices": list(turn.ask.slices),
        "personal_data": [{"kind": k, "value": v} for k, v in turn.ask.personal_data],
        "resent_of": turn.resent_of,
        "follows": turn.follows,
        "adversary": turn.person.adversary,
    }


def stamp(moment: datetime) -> str:
    """Return a time as UTC text with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
