"""Orders and groups of columns, the same whatever order the rows came in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tuneloop.curate.columns import Codes, Flags, Hashes, Ints

_MIX, _SPREAD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)


def order_of(first: NDArray[Any], ids: pa.Array) -> Ints:
    """Return the order of (first, id); ids are compared only where `first` is equal."""
    order = np.argsort(first, kind="stable")
    equal = np.flatnonzero(first[order][1:] == first[order][:-1])
    if len(equal):
        tied = np.unique(np.concatenate([equal, equal + 1]))
        rows = order[tied]
        rank = pc.rank(ids.take(pa.array(rows)), tiebreaker="first").to_numpy()
        order[tied] = rows[np.lexsort((rank, first[rows]))]
    return order


def firsts(order: Ints, *keys: NDArray[Any]) -> Flags:
    """Return, place by place in `order`, whether it begins a run of equal keys."""
    new = np.zeros(len(order), dtype=bool)
    new[:1] = True
    for key in keys:
        ordered = key[order]
        new[1:] |= ordered[1:] != ordered[:-1]
    return new


def lasts(order: Ints, *keys: NDArray[Any]) -> Flags:
    """Return, place by place in `order`, whether it ends a run of equal keys."""
    new = firsts(order, *keys)
    return np.append(new[1:], np.ones(min(len(order), 1), dtype=bool))


def mix(*columns: NDArray[Any]) -> Hashes:
    """Return one hash of several integer columns."""
    mixed = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        mixed = (mixed ^ (column.astype(np.uint64) * _SPREAD)) * _MIX
        mixed ^= mixed >> np.uint64(29)
    return mixed


def find(keys: Hashes, ordered: Hashes, order: Ints) -> Ints:
    """Return where each key is among others, -1 where it is not.

    Args:
        keys: What is looked for.
        ordered: The others, ascending.
        order: Where each of them is.
    """
    place = np.minimum(np.searchsorted(ordered, keys), max(len(ordered) - 1, 0))
    if not len(ordered):
        return np.full(len(keys), -1, dtype=np.int64)
    return np.where(ordered[place] == keys, order[place], -1)


def encode(column: pa.ChunkedArray | pa.Array) -> tuple[Codes, pa.Array]:
    """Return codes (-1 null) and names, ascending: the same codes for the same values."""
    if isinstance(column, pa.ChunkedArray):
        column = column.unify_dictionaries().combine_chunks()
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    names = column.dictionary.cast(pa.string())
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    used = np.unique(codes[codes >= 0])  # parts may name what only dropped rows had
    order = used[pc.sort_indices(names.take(pa.array(used))).to_numpy().astype(np.int64)]
    place = np.full(len(names) + 1, -1, dtype=np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return place[codes], names.take(pa.array(order))
