"""Training rows being made, as columns, with links to what they rest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from tuneloop.build.rows import Flags, Floats, Ints

NONE = -1


@dataclass
class Links:
    """What each of some examples rests on: pairs of (example, thing), the first thing first."""

    owner: Ints
    thing: Ints

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> Links:
        """Return the links of one list of things an example."""
        lengths = np.array([len(things) for things in lists], dtype=np.int64)
        flat = [thing for things in lists for thing in things]
        return cls(np.repeat(np.arange(len(lists)), lengths), np.array(flat, dtype=np.int64))

    @classmethod
    def one_each(cls, things: Ints) -> Links:
        """Return the links of examples with one thing each."""
        return cls(np.arange(len(things)), things)

    @classmethod
    def below(cls, rows: Ints, parent: Ints, n_rows: int) -> Links:
        """Return the links from each example to all things of its row.

        Args:
            rows: The row of each example.
            parent: The row of each thing, ascending.
            n_rows: How many rows there are.
        """
        ends = np.searchsorted(parent, np.arange(n_rows + 1))
        begin, n = ends[rows], ends[rows + 1] - ends[rows]
        owner = np.repeat(np.arange(len(rows)), n)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(n) - n, n)
        return cls(owner, begin[owner] + within)

    def moved(self, to: Ints) -> Links:
        """Return the links with example i renumbered to `to[i]`; those to `NONE` go."""
        owner = to[self.owner]
        kept = owner != NONE
        return Links(owner[kept], self.thing[kept])


@dataclass
class Made:
    """e examples of one kind.

    Attributes:
        rule: Number of the rule that made each.
        row: The row whose prompt it shows.
        good: Number of the text that is taught: completion or chosen.
        bad: Number of the rejected text; `NONE` but for pairs.
        label: KTO: 1 good, 0 bad; `NONE` else.
        weight: Its weight, 0 … 1.
        margin: How far the two texts of a pair are apart, 0 … 2.
        rows: Links to the rows it rests on.
        feedback: Links to the feedback: `Signals` by number, then comparisons.
    """

    rule: Ints
    row: Ints
    good: Ints
    bad: Ints
    label: Ints
    weight: Floats
    margin: Floats
    rows: Links
    feedback: Links

    def __len__(self) -> int:
        return len(self.row)

    def filter(self, kept: Flags) -> Made:
        """Return some of the examples."""
        return self.take(np.flatnonzero(kept))

    def take(self, chosen: Ints) -> Made:
        """Return the chosen examples, in that order."""
        to = np.full(len(self), NONE)
        to[chosen] = np.arange(len(chosen))
        arrays = {name: getattr(self, name)[chosen] for name in ARRAYS}
        return Made(**arrays, rows=self.rows.moved(to), feedback=self.feedback.moved(to))


ARRAYS = [f.name for f in fields(Made) if f.name not in ("rows", "feedback")]


def made(
    rule: int, row: Ints, good: Ints, weight: Floats, links: tuple[Links, Links], **more: Any
) -> Made:
    """Return the examples of one rule; `links` to rows and to feedback, `more` columns."""
    e = len(row)
    columns: dict[str, Any] = {"bad": np.full(e, NONE), "label": np.full(e, NONE)}
    columns |= {"margin": np.zeros(e)} | more
    rules = np.full(e, rule)
    return Made(rules, row, good, weight=weight, rows=links[0], feedback=links[1], **columns)


def join(parts: Sequence[Made]) -> Made:
    """Return the examples of several rules, in their order."""
    if not parts:
        none = np.empty(0, dtype=np.int64)
        return made(0, none, none, np.empty(0), (Links(none, none), Links(none, none)))
    begin = np.cumsum([0, *(len(part) for part in parts)])
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS}
    links = {}
    for name in ("rows", "feedback"):
        held: list[Links] = [getattr(part, name) for part in parts]
        owner = np.concatenate([own.owner + b for own, b in zip(held, begin, strict=False)])
        links[name] = Links(owner, np.concatenate([own.thing for own in held]))
    return Made(**columns, rows=links["rows"], feedback=links["feedback"])
