"""The texts that feedback brings, by what they are about: written once, looked up by batches.

Corrections, edits and comments are redacted together with the prompt and the answer they belong
to, so that one person stays one person in all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.curate.columns import Hashes
from tuneloop.curate.similar import hash_texts

SCHEMA = pa.schema(
    [
        ("target", pa.uint64()),
        ("piece", pa.uint64()),
        ("signal", pa.int8()),
        ("text", pa.large_string()),
    ]
)

NOTHING = pa.table(
    {"row": pa.array([], pa.int64()), "piece": pa.array([], pa.uint64()),
     "signal": pa.array([], pa.int8()), "text": pa.array([], pa.string())}
)  # fmt: skip


def write(path: Path, tables: Iterable[pa.Table]) -> None:
    """Write the texts in order of what they are about, uncompressed: they are looked up mapped."""
    table = pa.concat_tables([SCHEMA.empty_table(), *tables]).sort_by(
        [("target", "ascending"), ("piece", "ascending")]
    )
    table = table.combine_chunks()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as out:
        out.write_table(table)


class Spoken:
    """Looks up texts by the hash of what they are about."""

    def __init__(self, path: Path) -> None:
        self.table = pa.ipc.open_file(pa.memory_map(str(path))).read_all().combine_chunks()
        self.target: Hashes = self.table["target"].to_numpy()

    def of(self, keys: list[Hashes]) -> pa.Table:
        """Return (row, piece, signal, text) of what is about these interactions.

        Texts about a whole session or episode come with each of its rows; which of them they
        are about is known only when all rows are.

        Args:
            keys: Hashes by which texts find the rows, (row, …) each; 0 finds nothing.
        """
        if not len(self.target):
            return NOTHING
        rows, places = [], []
        for hashes in keys:
            low, high = (np.searchsorted(self.target, hashes, side) for side in ("left", "right"))
            sizes = np.where(hashes == 0, 0, high - low)
            ends = np.cumsum(sizes)
            rows.append(np.repeat(np.arange(len(hashes)), sizes))
            places.append(np.arange(ends[-1] if len(ends) else 0)
                          + np.repeat(low - ends + sizes, sizes))  # fmt: skip
        row = np.concatenate(rows)
        found = self.table.take(pa.array(np.concatenate(places)))
        found = found.set_column(3, "text", found["text"].cast(pa.string()))
        return found.select(["piece", "signal", "text"]).add_column(0, "row", pa.array(row))


def whole_keys(sessions: pa.Array, episodes: pa.Array) -> tuple[Hashes, Hashes]:
    """Return the hashes by which feedback on a whole session or episode finds its rows."""
    one, two = (
        hash_texts(pc.binary_join_element_wise(pa.scalar(kind), names, "\0"))
        for kind, names in (("session", sessions), ("episode", episodes))
    )
    return one, two


def turn_keys(sessions: pa.Array, turns: pa.Array) -> Hashes:
    """Return the hashes by which feedback on a turn finds it; 0 where it has no number."""
    numbers = pc.if_else(pc.greater_equal(turns, 0), turns, pa.scalar(None, turns.type))
    named = pc.binary_join_element_wise(sessions, numbers.cast(pa.string()), ":")
    return hash_texts(pc.binary_join_element_wise(pa.scalar("turn"), named, "\0"))
