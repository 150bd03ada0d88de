"""Stated comparisons, found again as the rows of their two answers come by."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tuneloop.build.rows import Floats, Ints, Rows, as_array, filled


@dataclass
class Comparisons:
    """The comparisons both of whose answers are among some rows.

    Attributes:
        winner: Row of the better answer (of a tie or two bad ones, of the first).
        loser: Row of the other.
        outcome: `better`, `tie` or `both_bad`.
        weight: How sure those who compared leave one, 0 … 1.
        n_answers: How many answers each was on; above 1, conversations that went on.
        feedback_id: Ids of the feedback of all of them.
        owner: The comparison each id belongs to, ascending.
    """

    winner: Ints
    loser: Ints
    outcome: pa.Array
    weight: Floats
    n_answers: Ints
    feedback_id: pa.Array
    owner: Ints


class Pending:
    """Comparisons that still wait for their rows.

    Args:
        path: `preferences.parquet`.
    """

    def __init__(self, path: Path) -> None:
        table = pq.read_table(path)
        first = pc.fill_null(as_array(table.column("feedback_id")), "")
        if "feedback_ids" in table.column_names:
            ids = as_array(table.column("feedback_ids"))
        else:
            offsets = pa.array(np.arange(len(first) + 1), pa.int32())
            ids = pa.ListArray.from_arrays(offsets, first)
        said = (
            filled(as_array(table.column("weight")), 1.0)
            if "weight" in table.column_names
            else np.ones(len(first))
        )
        n_answers = (
            filled(as_array(table.column("n_answers")), 1.0)
            if "n_answers" in table.column_names
            else np.ones(len(first))
        )
        columns = {c: as_array(table.column(c)) for c in ("winner_id", "loser_id", "outcome")}
        self._table = pa.table(
            columns | {"ids": ids, "weight": said, "n_answers": n_answers}
        ).sort_by([("winner_id", "ascending"), ("loser_id", "ascending")])
        self._seen = np.zeros(self._table.num_rows, dtype=np.int64)

    def of(self, rows: Rows) -> Comparisons:
        """Return the comparisons within these rows; they wait no more."""
        ids = as_array(rows.column("interaction_id"))
        place = {
            side: pc.index_in(as_array(self._table.column(f"{side}_id")), ids)
            for side in ("winner", "loser")
        }
        found = {side: np.asarray(at.is_valid()) for side, at in place.items()}
        both = found["winner"] & found["loser"]
        self._seen += found["winner"].astype(np.int64) + found["loser"]
        here = pa.array(both)
        table = self._table.filter(here)
        result = Comparisons(
            **{
                side: pc.fill_null(at, -1).to_numpy().astype(np.int64)[both]
                for side, at in place.items()
            },
            outcome=as_array(table.column("outcome")),
            weight=table.column("weight").to_numpy(),
            n_answers=table.column("n_answers").to_numpy().astype(np.int64),
            feedback_id=as_array(table.column("ids")).flatten(),
            owner=pc.list_parent_indices(as_array(table.column("ids"))).to_numpy().astype(np.int64),
        )
        self._table, self._seen = self._table.filter(pc.invert(here)), self._seen[~both]
        return result

    def left(self) -> Counter[str]:
        """Return how many answers lie under different prompts, or did not come through."""
        return Counter({
            "preference_prompts_differ": int((self._seen == 2).sum()),
            "preference_without_answers": int((self._seen < 2).sum()),
        })  # fmt: skip
