"""Records of what people said: numbered, each naming the one before, signed where a key is.

<folder>/<n>.json        each put only if absent, none ever changed
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from tuneloop.artefacts import signing
from tuneloop.artefacts.digest import canonical_json, digest_json
from tuneloop.artefacts.store import Store


class Link(BaseModel):
    """One record of a chain. `before` is the digest of the record before it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
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

    def follows(self, previous: Link | None) -> bool:
        """Whether this is the record after `previous`, unchanged since it was made."""
        number, before = (previous.number, previous.digest) if previous else (0, None)
        if self.number != number + 1 or self.before != before:
            return False
        return signing.check(self.body, self.signature) != "invalid"


L = TypeVar("L", bound=Link)


def check(records: Iterable[L], broken: Callable[[L], Exception]) -> None:
    """Raise `broken(record)` at the first record that does not follow the one before it."""
    previous = None
    for record in records:
        if not record.follows(previous):
            raise broken(record)
        previous = record


class Chain(Generic[L]):
    """The records in one folder, in order.

    Args:
        store: Where they are.
        folder: Their folder in the store.
        kind: What they are.
        broken: The error where one was changed, taken out or put in.
    """

    def __init__(
        self, store: Store, folder: str, kind: type[L], broken: Callable[[L], Exception]
    ) -> None:
        self._store, self._folder, self._kind, self._broken = store, folder, kind, broken
        self.records: list[L] = []
        self._read_on()

    def append(self, **fields: Any) -> L:
        """Add a record; whoever else appends at the same time is not overwritten."""
        while True:
            made = self._kind(
                number=len(self.records) + 1,
                at=datetime.now(UTC),
                before=self.records[-1].digest if self.records else None,
                **fields,
            )
            made = made.model_copy(update={"signature": signing.sign(made.body)})
            path = f"{self._folder}/{made.number:08d}.json"
            if self._store.put_if_absent(path, made.model_dump_json(indent=1).encode()):
                self.records.append(made)
                return made
            self._read_on()

    def _read_on(self) -> None:
        listed = list(self._store.list_paths(self._folder))
        for path in listed[len(self.records) :]:
            record = self._kind.model_validate_json(self._store.get(path) or b"")
            if not record.follows(self.records[-1] if self.records else None):
                raise self._broken(record)
            self.records.append(record)
