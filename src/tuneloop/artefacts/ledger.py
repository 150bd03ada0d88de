"""What a golden set's versions were used for: each question to one of them spends its level once.

ledger/<golden digest>/<n>.json        numbered, each put only if absent
"""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from tuneloop.artefacts.digest import digest_json
from tuneloop.artefacts.store import Store


class Question(BaseModel):
    """One question to a golden set. Asked again, it is the same one: it spends nothing more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    golden: str
    champion: str
    candidate: str
    metric: str
    objective: str
    margin: float
    alpha: float
    labels: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 over all of it; a question without labels is what it was before there were."""
        return digest_json(self.model_dump(mode="json", exclude_none=True))


class Entry(BaseModel):
    """One line of the ledger."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    question: Question
    at: datetime


def entries(store: Store, golden: str) -> list[Entry]:
    """Return what one version of a golden set was asked, in order."""
    found = (store.get(path) for path in store.list_paths(f"ledger/{golden}"))
    return [Entry.model_validate_json(data) for data in found if data]


def spend(store: Store, question: Question) -> list[float]:
    """Enter a question, unless it is there; return the levels spent by those before it.

    Two writers cannot take one number, so what was spent before a question never changes.
    """
    while True:
        listed = entries(store, question.golden)
        before: list[float] = []
        for entry in listed:
            if entry.question.digest == question.digest:
                return before
            before.append(entry.question.alpha)
        number = listed[-1].number + 1 if listed else 1
        made = Entry(number=number, question=question, at=datetime.now(UTC))
        path = f"ledger/{question.golden}/{number:08d}.json"
        if store.put_if_absent(path, made.model_dump_json(indent=1).encode()):
            return before
