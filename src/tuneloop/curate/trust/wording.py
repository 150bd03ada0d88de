"""Which words and phrases a correction or comment brings in by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.curate.columns import Ints, Texts
from tuneloop.curate.trust.bursts import Occurrences

PHRASE = 3
"""Words of a phrase; three phrases running are five words running."""
MIN_PHRASES = 3


@dataclass(frozen=True)
class Novel:
    """What texts say that neither prompt nor answer does, one entry a text and n-gram.

    Attributes:
        pieces: The pieces with a text, ascending.
        texts: Their texts.
        phrases: Word 3-grams.
        words: Single words.
    """

    pieces: Ints
    texts: pa.Array
    phrases: Occurrences
    words: Occurrences


def written_texts(texts: Texts, pieces: Ints, n: int) -> pa.Array:
    """Return the texts of these pieces of feedback, in their order (ascending)."""
    wanted = np.zeros(n, dtype=bool)
    wanted[pieces] = True
    return _in_order(texts.feedback(wanted), pieces)


def context(texts: Texts, rows: Ints, n: int) -> pa.Array:
    """Return all messages and the answer of these interactions as one text each."""
    wanted = np.zeros(n, dtype=bool)
    wanted[rows] = True

    def joined() -> Iterator[tuple[Ints, pa.Array]]:
        for numbers, batch in texts.prompts(["prompt", "answer"], wanted):
            prompts = batch.column("prompt")
            contents = pc.struct_field(prompts.flatten(), "content").fill_null("")
            lists = pa.ListArray.from_arrays(_offsets(prompts), contents)
            answers = batch.column("answer").fill_null("")
            yield numbers, pc.binary_join_element_wise(pc.binary_join(lists, "\n"), answers, "\n")

    return _in_order(joined(), rows)


def _offsets(lists: pa.Array) -> pa.Array:
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]), type=pa.int32())


def _in_order(parts: Iterator[tuple[Ints, pa.Array]], wanted: Ints) -> pa.Array:
    """Return the texts of `wanted` in its order; a number that does not come is empty."""
    numbers, chunks = [np.zeros(0, dtype=np.int64)], [pa.array([], type=pa.large_string())]
    for number, text in parts:
        numbers.append(np.asarray(number, dtype=np.int64))
        chunks.append(text.cast(pa.large_string()))
    have = np.concatenate(numbers)
    order = np.argsort(have, kind="stable")
    place = np.searchsorted(have[order], wanted)
    missing = place >= len(have)
    hit = ~missing
    hit[hit] = have[order][place[hit]] == wanted[hit]
    take = pa.array(np.where(hit, order[np.minimum(place, max(len(have) - 1, 0))], 0)
                    if len(have) else np.zeros(len(wanted), dtype=np.int64), mask=~hit)  # fmt: skip
    return pa.concat_arrays(chunks).take(take).fill_null("")
