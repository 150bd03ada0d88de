"""What people said of a decision: who, when, why; only ever added to, and signed where a key is.

approvals/<decision digest>/<n>.json        numbered, each put only if absent
"""

from __future__ import annotations

import unicodedata
from typing import Literal

from tuneloop.artefacts import chain
from tuneloop.artefacts.chain import Chain, Link
from tuneloop.artefacts.store import Store
from tuneloop.errors import DecisionError

Word = Literal["approve", "reject"]


class Approval(Link):
    """One person's word on one decision."""

    decision: str
    word: Word
    person: str
    reason: str


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
    return _chain(store, decision).records


def check_chain(found: list[Approval]) -> None:
    """Raise unless each record follows the one before it, and no signature is false."""
    chain.check(found, _broken)


def record(store: Store, decision: str, word: Word, *, person: str, reason: str) -> Approval:
    """Add a person's word on a decision; the last one of each person counts.

    Raises:
        DecisionError: if no reason is given.
    """
    if not reason.strip():
        raise DecisionError("a reason is needed", where="--reason")
    return _chain(store, decision).append(
        decision=decision, word=word, person=person_of(person), reason=reason.strip()
    )


def _chain(store: Store, decision: str) -> Chain[Approval]:
    return Chain(store, f"approvals/{decision}", Approval, _broken)


def _broken(record: Approval) -> DecisionError:
    return DecisionError(
        f"record {record.number} of the approvals was changed after it was made",
        where=f"approvals/{record.decision}",
        hint="nobody's word counts until the record is as it was",
    )
