"""What the gates of curation pass along: interactions, and the feedback that reached them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class FeedbackRow:
    """One piece of feedback in force: its latest revision."""

    tenant: str
    id: str
    ts: float
    target_kind: str
    target_id: str
    actor_kind: str
    actor_id: str | None
    signal: str
    dimension: str | None
    value: Any
    op: str

    @property
    def actor(self) -> str:
        """The giver as one word, e.g. `user:u17`."""
        return f"{self.actor_kind}:{self.actor_id}" if self.actor_id else self.actor_kind


@dataclass(slots=True)
class Row:
    """One interaction with its feedback; the gates fill in the rest.

    Within one run an id alone names a row: every row has the tenant of the run's `Scope`.
    """

    tenant: str
    id: str
    ts: float
    event_ts: str
    session_id: str | None
    subject_key: str | None
    system: str | None
    messages: list[dict[str, str]]
    answer: str
    outcome: str
    role: str
    shown: bool
    consent: dict[str, Any] | None
    task: str | None = None
    env: str | None = None
    feedback: list[FeedbackRow] = field(default_factory=list)
    correction: str | None = None
    score: float = 0.0
    weight: float = 0.0
    cluster: int = 0
    group_id: str = ""
    cluster_id: str = ""
    split: str = "train"

    @property
    def key(self) -> tuple[str, str]:
        """What identifies an interaction."""
        return (self.tenant, self.id)

    @property
    def question(self) -> str:
        """The text that makes two prompts the same question (see `question_of`)."""
        return question_of(self.messages)


def question_of(messages: list[dict[str, str]]) -> str:
    """Return the last user message; a very short one comes with what the user said before.

    System prompts are shared by all and would make everything a near-duplicate; "yes, please"
    is another question in every conversation.
    """
    turns = [m["content"] for m in messages if m["role"] == "user"]
    start = len(turns) - 1
    while start > 0 and len(" ".join(turns[start:]).split()) < 5:
        start -= 1
    return "\n".join(turns[max(start, 0) :])


@dataclass
class Dropped:
    """What did not pass, one line each, and how often each reason was given.

    `others` are events of other tenants: counted, since their ids are none of this one's
    business.
    """

    lines: list[tuple[str, str, str, str]] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)

    def interaction(self, row: Row, reason: str, detail: str = "") -> None:
        """Drop an interaction."""
        self.lines.append((row.id, "interaction", reason, detail))

    def feedback(self, item: FeedbackRow, reason: str, detail: str = "") -> None:
        """Drop one piece of feedback."""
        self.lines.append((item.id, "feedback", reason, detail))

    def counts(self, kind: str) -> dict[str, int]:
        """Return reason → number of dropped rows of this kind."""
        reasons = Counter(reason for _, of, reason, _ in self.lines if of == kind)
        if self.others[kind]:
            reasons["other_tenant"] = self.others[kind]
        return dict(sorted(reasons.items()))
