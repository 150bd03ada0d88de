"""What people said of pairs of answers: which was better, who, when; only ever added to.

labels/<pairs digest>/plan.json             in which order pairs are drawn, put only if absent
labels/<pairs digest>/said/<n>.json         numbered, each put only if absent
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tuneloop.artefacts.approvals import person_of
from tuneloop.artefacts.chain import Chain, Link
from tuneloop.artefacts.store import Store
from tuneloop.errors import DataError

Side = Literal["champion", "candidate"]
Word = Literal["champion", "candidate", "tie", "skip", "undo"]
VALUES: dict[Word, float] = {"champion": 0.0, "tie": 0.5, "candidate": 1.0}
"""What counts as a label, and as how much for the candidate."""


class Drawn(BaseModel):
    """One pair's place in a stratum; `first` is the side called A where no person is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    item: str
    size: float = Field(gt=0)
    priority: float = Field(gt=0)
    first: Side


class LabelPlan(BaseModel):
    """In which order the pairs are labelled. Each stratum is sorted, the highest priority first.

    `order` goes through the strata in turn. A stratum is called by the protected slices it is in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    pairs: str
    seed: int
    strata: dict[str, list[Drawn]]
    order: list[str]

    @property
    def drawn(self) -> dict[str, Drawn]:
        """Every pair by its id."""
        return {one.item: one for stratum in self.strata.values() for one in stratum}


class Said(Link):
    """One person's word on one pair. `first` is what was shown as A.

    The last word of a person on a pair counts; `undo` takes it back.
    """

    pairs: str
    item: str
    person: str
    word: Word
    first: Side
    by_file: str | None = None


class HumanLabel(BaseModel):
    """What people found of one pair: the mean over them, 1 for the candidate, and its chance.

    `probability` is that with which the pair was drawn and got a label.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    prompt_id: str
    human: float = Field(ge=0, le=1)
    n_people: int = Field(ge=1)
    probability: float = Field(gt=0, le=1)


class HumanLabels(BaseModel):
    """The labels in force on one set of pairs, without the names of people.

    `uncovered` are the strata of which too few pairs have a label to speak for them: nothing can
    be said of all pairs until they have.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: list[HumanLabel]
    n_pairs: int
    n_people: int
    n_skipped: int = 0
    uncovered: list[str] = Field(default_factory=list)


def put_plan(store: Store, plan: LabelPlan) -> LabelPlan:
    """Store a plan unless there is one; return the one in force."""
    path = f"labels/{plan.pairs}/plan.json"
    if store.put_if_absent(path, plan.model_dump_json(indent=1).encode()):
        return plan
    found = find_plan(store, plan.pairs)
    assert found
    return found


def find_plan(store: Store, pairs: str) -> LabelPlan | None:
    """Return the plan of a set of pairs, or None where nobody began to label it."""
    data = store.get(f"labels/{pairs}/plan.json")
    return LabelPlan.model_validate_json(data) if data else None


class Journal:
    """The words on one set of pairs, in order; appending keeps them in one chain.

    Args:
        store: Where they are.
        pairs: Digest of the pairs.

    Raises:
        DataError: if a record was changed, taken out or put in.
    """

    def __init__(self, store: Store, pairs: str) -> None:
        self._pairs = pairs
        self._chain = Chain(store, f"labels/{pairs}/said", Said, _broken)

    @property
    def said(self) -> list[Said]:
        """Every word, in order."""
        return self._chain.records

    def append(
        self, item: str, word: Word, *, person: str, first: Side, by_file: str | None = None
    ) -> Said:
        """Add a person's word; whoever else appends at the same time is not overwritten."""
        return self._chain.append(
            pairs=self._pairs,
            item=item,
            person=person_of(person),
            word=word,
            first=first,
            by_file=by_file,
        )

    def in_force(self) -> dict[str, dict[str, Said]]:
        """Return pair → person → the last word, without those taken back."""
        last: dict[str, dict[str, Said]] = {}
        for one in self.said:
            people = last.setdefault(one.item, {})
            people.pop(one.person, None)
            if one.word != "undo":
                people[one.person] = one
        return {item: people for item, people in last.items() if people}

    def of(self, person: str) -> list[Said]:
        """Return the words of one person that are in force, the oldest first."""
        mine = [people[person] for people in self.in_force().values() if person in people]
        return sorted(mine, key=lambda one: one.number)


def _broken(record: Said) -> DataError:
    return DataError(
        f"record {record.number} of the labels was changed after it was made",
        where=f"labels/{record.pairs[:12]}",
        hint="no label counts until the record is as it was",
    )
