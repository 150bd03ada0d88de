"""What people said of a decision: who, when, why; only ever added to, and signed where a key is.

approvals/<decision digest>/<n>.json        numbered, each put only if absent
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tuneloop.artefacts import signing
from tuneloop.artefacts.digest import canonical_json, digest_json
from tuneloop.artefacts.store import Store
from tuneloop.errors import DecisionError

Word = Literal["approve", "reject"]


class Approval(BaseModel):
    """One person's word on one decision. `before` is the digest of the record before it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decision: str
    number: int
    word: Word
    person: str
    reason: str
    at: datetime
    before: str | None = None
    signature: signing.Signature | None = None

    @property
    def body(self) -> bytes:
        """What is signed: all but the signature."""
        return canonical_json(self.model_dump(mode="json", exclude={"signature"})).encode()

    @property
    def digest(self) -> str:
        """SHA-256 over the record, signature included."""
        return digest_json(self.model_dump(mode="json"))


def person_of(name: str) -> str:
    """Return a name so that one person written in two ways is one person.

    Raises:
        DecisionError: if it is empty or holds control characters.
    """
    plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    if not plain or any(unicodedata.category(c).startswith("C") for c in plain):
        raise DecisionError(f"{name!r} names nobody", where="--as")
    return plain


def approvals(store: Store, decision: str) -> list[Approval]:
    """Return what people said of a decision, in order.

    Raises:
        DecisionError: if a record was changed, taken out or put in: the chain does not hold.
    """
    found = [
        Approval.model_validate_json(data)
        for path in store.list_paths(f"approvals/{decision}")
        if (data := store.get(path))
    ]
    check_chain(found)
    return found


def check_chain(found: list[Approval]) -> None:
    """Raise unless each record follows the one before it, and no signature is false."""
    before = None
    for number, record in enumerate(found, start=1):
        broken = record.number != number or record.before != before
        if broken or signing.check(record.body, record.signature) == "invalid":
            raise DecisionError(
                f"record {record.number} of the approvals was changed after it was made",
                where=f"approvals/{record.decision}",
                hint="nobody's word counts until the record is as it was",
            )
        before = record.digest


def record(store: Store, decision: str, word: Word, *, person: str, reason: str) -> Approval:
    """Add a person's word on a decision; the last one of each person counts.

    Raises:
        DecisionError: if no reason is given.
    """
    if not reason.strip():
        raise DecisionError("a reason is needed", where="--reason")
    while True:
        said = approvals(store, decision)
        made = Approval(
            decision=decision,
            number=len(said) + 1,
            word=word,
            person=person_of(person),
            reason=reason.strip(),
            at=datetime.now(UTC),
            before=said[-1].digest if said else None,
        )
        made = made.model_copy(update={"signature": signing.sign(made.body)})
        path = f"approvals/{decision}/{made.number:08d}.json"
        if store.put_if_absent(path, made.model_dump_json(indent=1).encode()):
            return made
