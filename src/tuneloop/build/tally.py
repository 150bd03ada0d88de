"""What is counted while rows are made, for the set's card."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.artefacts.manifest import Counts
from tuneloop.build.made import Made
from tuneloop.build.rows import Ints, as_array
from tuneloop.build.rules import Sources, used_rows

COHORTS = ("source", "system", "segment", "intent", "output_terms", "consent_basis")
UNSTATED = "(not stated)"


@dataclass
class Tally:
    """Counts over the curated rows that examples rest on.

    Attributes:
        n_in: Curated rows read.
        n_used: Those that an example rests on.
        dropped: Why others were not looked at.
        skipped: Why feedback made no example.
        unmatched: The same for what no chunk has: comparisons without both answers.
        cohorts: By column, how many used rows have each value.
        users: How many used rows each person has.
        sides: By (system, side), how many settled texts are good or bad.
        signals: How much feedback by each signal stands behind the rows.
        wholes: Comparisons of conversations that went on, and how many answers came after.
        first: When the earliest used row was recorded.
        last: When the latest was.
    """

    n_in: int = 0
    n_used: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    unmatched: Counter[str] = field(default_factory=Counter)
    cohorts: dict[str, Counter[str]] = field(
        default_factory=lambda: {name: Counter() for name in COHORTS}
    )
    users: Counter[str] = field(default_factory=Counter)
    sides: Counter[tuple[str, str]] = field(default_factory=Counter)
    signals: Counter[str] = field(default_factory=Counter)
    wholes: Counter[str] = field(default_factory=Counter)
    first: str | None = None
    last: str | None = None

    def add(self, sources: Sources, settled: dict[str, Made]) -> None:
        """Count one chunk."""
        used = used_rows(settled)
        self.n_used += len(used)
        self.skipped.update(sources.skipped)
        later = sources.comparisons.n_answers - 1
        if later.any():
            self.wholes["compared"] += int((later > 0).sum())
            self.wholes["answers_left_out"] += int(later.sum())
        at = pa.array(used)
        for name in COHORTS:
            _count(self.cohorts[name], as_array(sources.rows.column(name)).take(at))
        people = as_array(sources.rows.column("subject_key")).take(at)
        _count(self.users, people.drop_null())
        when = pc.min_max(as_array(sources.rows.column("event_ts")).take(at)).as_py()
        if when["min"] is not None:
            self.first = min(self.first or when["min"], when["min"])
            self.last = max(self.last or when["max"], when["max"])
        self._add_feedback(sources, settled)
        self._add_sides(sources, settled)

    def counts(self) -> Counts:
        """Return curated rows in, dropped by reason, and those an example rests on."""
        dropped = {reason: n for reason, n in sorted(self.dropped.items()) if n}
        rest = self.n_in - self.n_used - sum(dropped.values())
        return Counts(n_in=self.n_in, dropped=dropped | {"no_rule": rest}, n_out=self.n_used)

    def _add_feedback(self, sources: Sources, settled: dict[str, Made]) -> None:
        n = len(sources.rows.signals.row)
        things = np.unique(np.concatenate([made.feedback.thing for made in settled.values()]))
        _count(self.signals, sources.rows.signals.signal.take(pa.array(things[things < n])))
        compared = int((things >= n).sum())
        if compared:
            self.signals["comparison"] += compared

    def _add_sides(self, sources: Sources, settled: dict[str, Made]) -> None:
        system = pc.fill_null(sources.texts.system, UNSTATED).to_pylist()
        answers = len(sources.rows)

        def count(texts: Ints, side: str) -> None:
            # people's texts have no system; those of the answers and samples may
            own = texts[(texts < answers) | (texts >= len(system) - len(sources.texts.samples[0]))]
            self.sides.update((system[text], side) for text in own.tolist())

        count(settled["sft"].good, "taught")
        count(settled["preference"].good, "chosen")
        count(settled["preference"].bad, "rejected")
        kto = settled["kto"]
        count(kto.good[kto.label == 1], "good")
        count(kto.good[kto.label == 0], "bad")


def _count(counter: Counter[str], column: pa.Array) -> None:
    found = pc.value_counts(pc.fill_null(column, UNSTATED))
    counts = zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True)
    for value, n in counts:
        counter[value] += n
