"""A curated set read back as who liked which answer, for those who look at cohorts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tuneloop.curate.columns import Codes, Floats
from tuneloop.curate.signals.propensity import RATINGS
from tuneloop.errors import DataError

BY = ("segment", "system", "template", "intent")
"""Columns of a curated set that make cohorts."""
MAX_WEIGHT = 20.0
"""Where inverse propensities are clipped, as `curate.signals.propensity.max_weight` has it."""


@dataclass(frozen=True)
class Rated:
    """What is read of a curated set, a row an interaction.

    Attributes:
        columns: The columns of `BY`, texts.
        good: 1 liked, 0 not, NaN not rated or undecided.
        weights: Inverse propensities, NaN where not logged: of being asked alone, and of being
            asked and served by this system, which comparing systems needs.
        person: Number of the person, or of the session where none is known; -1 neither.
        corrected: Whether somebody corrected the answer.
    """

    columns: dict[str, pa.Array]
    good: Floats
    weights: tuple[Floats, Floats]
    person: Codes
    corrected: Floats


def read_rated(path: Path) -> Rated:
    """Return what users said of the answers in a curated.parquet.

    Raises:
        DataError: if the file does not say what each signal says and counts for.
    """
    schema = pq.read_schema(path)
    held = schema.names
    if "opinion" not in {field.name for field in schema.field("signals").type.value_type}:
        raise DataError("this set does not say what its signals count for", where=str(path.name),
                        hint="curate again; an older version made it")  # fmt: skip
    wanted = [*BY, "subject_key", "session_id", "asked", "p_asked", "propensity"]
    table = pq.read_table(path, columns=[n for n in wanted if n in held] + ["signals"])
    table = table.combine_chunks()
    for name in wanted:
        if name not in held:
            empty = pa.float64() if name in ("p_asked", "propensity") else pa.string()
            table = table.append_column(name, pa.nulls(len(table), empty))

    def column(name: str) -> pa.Array:
        return table[name].combine_chunks()

    person = pc.coalesce(
        pc.binary_join_element_wise("p", column("subject_key"), ""),
        pc.binary_join_element_wise("s", column("session_id"), ""),
    ).dictionary_encode()
    good, corrected = _signals(column("signals"), len(table))
    return Rated(
        columns={name: column(name) for name in BY},
        good=good,
        weights=_weights(column("asked"), column("p_asked"), column("propensity")),
        person=np.asarray(pc.fill_null(person.indices, -1)),
        corrected=corrected,
    )


def _signals(signals: pa.Array, n: int) -> tuple[Floats, Floats]:
    """Return whether each row's user liked it (NaN unknown) and whether it was corrected."""
    row = np.asarray(pc.list_parent_indices(signals))
    flat = pc.list_flatten(signals)
    name, actor = flat.field("signal"), flat.field("actor")
    users = pc.fill_null(pc.starts_with(actor, "user"), False)
    rating = pc.and_(pc.is_in(name, value_set=pa.array(RATINGS)), users)
    opinion = np.asarray(pc.fill_null(flat.field("opinion"), 0.0))
    counted = np.asarray(pc.fill_null(flat.field("weight"), 0.0))
    said = np.where(np.asarray(rating), opinion * counted, 0.0)
    total = np.bincount(row, said, minlength=n)
    fixes = np.asarray(pc.equal(name, "correction")) & (opinion < 0) & (counted > 0)
    good = np.where(total > 1e-9, 1.0, np.where(total < -1e-9, 0.0, np.nan))
    return good, (np.bincount(row, fixes, minlength=n) > 0).astype(float)


def _weights(asked: pa.Array, p_asked: pa.Array, propensity: pa.Array) -> tuple[Floats, Floats]:
    """Return both kinds of inverse propensities, clipped; NaN without them, or not asked."""
    known = np.asarray(pc.fill_null(asked.cast(pa.bool_()), False))
    chance = [np.asarray(pc.fill_null(part, np.nan), dtype=float) for part in (p_asked, propensity)]
    both = (chance[0], chance[0] * chance[1])
    asked_for, served = (np.where(known & (each > 0), each, np.nan) for each in both)
    return np.minimum(1.0 / asked_for, MAX_WEIGHT), np.minimum(1.0 / served, MAX_WEIGHT)
