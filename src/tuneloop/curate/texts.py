"""The texts of admitted interactions, on disk, read range by range in the order of the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from tuneloop.curate import parts
from tuneloop.curate.columns import Feedback, Flags, Hashes, Ints
from tuneloop.curate.order import find


@dataclass
class StoredTexts:
    """`columns.Texts`: nothing but one range is ever in memory.

    Attributes:
        texts: Part files of interactions.
        said: Part files of the texts of feedback.
        key: Hash of each row's id.
        question: Hash of each row's question, ascending.
        places: Row of each text, part by part; -1 for none.
        pieces: Hash of the id of each piece of feedback, and what it is about.
    """

    texts: Sequence[Path]
    said: Sequence[Path]
    key: Hashes
    question: Hashes
    places: Ints
    pieces: tuple[Hashes, Ints] = field(
        default_factory=lambda: (np.zeros(0, np.uint64), np.zeros(0, np.int64))
    )

    def __post_init__(self) -> None:
        """Sort the places by range, in the order in which ranges are read."""
        held = self.places >= 0
        of = np.full(len(self.places), parts.N_RANGES, dtype=np.int64)
        of[held] = parts.range_of(self.question[self.places[held]])
        self._bounds = np.searchsorted(parts.range_of(self.question), np.arange(parts.N_RANGES + 1))
        self._ranges = self._in_parts(of)

    def _in_parts(self, of: Ints) -> list[Ints]:
        order = np.argsort(of, kind="stable")
        bounds = np.searchsorted(of[order], np.arange(parts.N_RANGES + 1))
        return [self.places[order[low:high]] for low, high in pairwise(bounds.tolist())]

    def bounds(self, number: int) -> tuple[int, int]:
        """Return the first row of a range, and the first of the next."""
        return int(self._bounds[number]), int(self._bounds[number + 1])

    def open(self, columns: Sequence[str]) -> parts.Ranges:
        """Return columns of the interactions, to be read range by range."""
        return parts.Ranges(self.texts, columns)

    def open_said(self, columns: Sequence[str]) -> parts.Ranges:
        """Return columns of the texts of feedback, to be read range by range."""
        return parts.Ranges(self.said, ["piece", "key", *columns])

    def range(
        self, source: parts.Ranges, number: int, rows: Flags | None = None
    ) -> tuple[Ints, pa.Table]:
        """Return the wanted rows of one range, ascending, and their texts."""
        low, high = self.bounds(number)
        wanted = np.arange(low, high) if rows is None else low + np.flatnonzero(rows[low:high])
        if not len(wanted):
            return wanted, pa.table({})
        table = source.read(number)
        place = np.full(high - low, -1, dtype=np.int64)
        place[self._ranges[number] - low] = np.arange(len(self._ranges[number]))
        return wanted, table.take(pa.array(place[wanted - low]))

    def prompts(
        self, columns: list[str], rows: Flags | None = None
    ) -> Iterator[tuple[Ints, pa.RecordBatch]]:
        """Yield (row numbers, batch) over interactions, ascending."""
        source = self.open(columns)
        for number in range(parts.N_RANGES):
            wanted, table = self.range(source, number, _padded(rows, len(self.key)))
            if len(wanted):
                yield wanted, table.combine_chunks().to_batches()[0]

    def feedback(self, rows: Flags | None = None) -> Iterator[tuple[Ints, pa.Array]]:
        """Yield (numbers of pieces of feedback, their texts), in the order of their rows."""
        source = self.open_said(["text"])
        for number in range(parts.N_RANGES):
            pieces, table = self.said_range(source, number, rows)
            if len(pieces):
                yield pieces, table["text"].combine_chunks()

    def said_range(
        self, source: parts.Ranges, number: int, rows: Flags | None = None
    ) -> tuple[Ints, pa.Table]:
        """Return the pieces of one range that have a text, ascending, and the columns."""
        _, about = self.pieces
        table = source.read(number)
        piece = find(table["piece"].to_numpy(), self._ordered, self._piece_order)
        # A text about a whole session lies with each of its rows; one of them is meant.
        fits = piece >= 0
        fits[fits] = self.key[about[piece[fits]]] == table["key"].to_numpy()[fits]
        wanted = _padded(rows, len(about))
        if wanted is not None:
            fits[fits] &= wanted[piece[fits]]
        chosen = np.flatnonzero(fits)
        order = np.argsort(piece[chosen], kind="stable")
        return piece[chosen][order], table.take(pa.array(chosen[order]))

    def connect(self, key: Hashes, feedback: Feedback) -> None:
        """Say which pieces there are: the hash of each id, and its row."""
        self.pieces = key, feedback.row.astype(np.int64)
        self._piece_order = np.argsort(key, kind="stable")
        self._ordered = key[self._piece_order]


def _padded(rows: Flags | None, n: int) -> Flags | None:
    if rows is None or len(rows) >= n:
        return rows
    return np.append(rows, np.zeros(n - len(rows), dtype=bool))
