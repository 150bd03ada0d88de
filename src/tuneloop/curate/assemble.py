"""From the heads of all parts to `Interactions`: one order, one numbering, no texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.curate import parts
from tuneloop.curate.admit import CODED
from tuneloop.curate.columns import Flags, Hashes, Interactions, Ints
from tuneloop.curate.near import Sets
from tuneloop.curate.order import encode, firsts, order_of
from tuneloop.curate.spoken import turn_keys, whole_keys

NUMBERS = ("ts", "turn", "n_answer_words", "n_answer_chars", "propensity", "p_asked", "asked")


@dataclass
class Known:
    """Every interaction feedback can be about, refused ones too.

    Attributes:
        key: Hash of the id.
        row: Row of `Interactions`, -1 refused.
        id: Ids.
        reason: Why it was refused, null where admitted.
        detail: And more of that.
        ts: When, in seconds.
        sessions: Hash that feedback on its whole session has.
        episodes: The same for its episode.
        turns: Hash that feedback on its turn has, where it names session and number.
    """

    key: Hashes
    row: Ints
    id: pa.Array
    reason: pa.Array
    detail: pa.Array
    ts: np.ndarray
    sessions: Hashes
    episodes: Hashes
    turns: Hashes

    def __len__(self) -> int:
        return len(self.key)


@dataclass
class Assembled:
    """What the parts hold, texts aside.

    Attributes:
        interactions: In order of (question hash, id).
        known: All of them, refused ones too, in order of (hash of the id).
        key: Hash of each row's id.
        shingles: Fingerprint of each row's question (see `similar.fingerprints`).
        words: Its words, where few.
        documents: Hashes of the documents each row was made with.
        golden: Rows marked as golden.
        flags: Other columns of findings, by name.
        places: Row of each text, part by part and place by place; -1 for a repeated one.
    """

    interactions: Interactions
    known: Known
    key: Hashes
    shingles: Sets
    words: Sets
    documents: Sets
    golden: Flags
    flags: dict[str, np.ndarray]
    places: Ints


def assemble(folder: Path, names: Sequence[str]) -> Assembled:
    """Return everything the heads of these parts hold."""
    heads = [parts.read(folder / f"{name}.head") for name in names]
    table = pa.concat_tables(heads, promote_options="permissive").unify_dictionaries()
    del heads
    key = table["key"].to_numpy()
    by_key = np.argsort(key, kind="stable")
    once = np.zeros(len(key), dtype=bool)
    once[by_key[firsts(by_key, key)]] = True  # appended twice by two machines
    admitted = table["reason"].is_null().to_numpy(zero_copy_only=False)
    chosen = np.flatnonzero(admitted & once)
    question = table["question_hash"].fill_null(0).to_numpy()
    chosen = chosen[order_of(question[chosen], table["id"].take(pa.array(chosen)).combine_chunks())]
    row = np.full(len(key), -1, dtype=np.int64)
    row[chosen] = np.arange(len(chosen))
    known = _known(table, row, by_key[once[by_key]])
    mine = table.take(pa.array(chosen))
    flags = {
        name[5:]: mine[name].to_numpy() for name in table.column_names if name.startswith("flag:")
    }
    return Assembled(
        interactions=_interactions(mine),
        known=known,
        key=key[chosen],
        shingles=_sets(mine["shingles"]),
        words=_sets(mine["words"]),
        documents=_sets(mine["documents"]),
        golden=mine["golden"].to_numpy(zero_copy_only=False),
        flags=flags,
        places=row[admitted],
    )


def _interactions(table: pa.Table) -> Interactions:
    coded = {"session": "session_id", "episode": "episode_id", "subject": "subject_key"}
    coded |= {name: name for name in CODED}
    columns = {name: encode(table[source]) for name, source in coded.items()}
    numbers = {name: table[name].to_numpy() for name in NUMBERS}
    return Interactions(
        id=table["id"].combine_chunks(),
        codes={name: codes for name, (codes, _) in columns.items()},
        names={name: names for name, (_, names) in columns.items()},
        question=table["question_hash"].to_numpy(),
        answer=table["answer_hash"].to_numpy(),
        cluster=np.full(len(table), -1, dtype=np.int32),
        **numbers,
    )


def _known(table: pa.Table, row: Ints, order: Ints) -> Known:
    every = table.select(
        ["id", "key", "session_id", "episode_id", "ts", "turn", "reason", "detail"]
    )
    every = every.take(pa.array(order))
    sessions, episodes = whole_keys(
        every["session_id"].combine_chunks(), every["episode_id"].combine_chunks()
    )
    return Known(
        key=every["key"].to_numpy(),
        row=row[order],
        id=every["id"].combine_chunks(),
        reason=every["reason"].combine_chunks(),
        detail=every["detail"].combine_chunks(),
        ts=every["ts"].to_numpy(),
        sessions=sessions,
        episodes=episodes,
        turns=turn_keys(every["session_id"].combine_chunks(), every["turn"].combine_chunks()),
    )


def _sets(column: pa.ChunkedArray) -> Sets:
    lists = column.combine_chunks()
    sizes = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Sets(lists.flatten().to_numpy(zero_copy_only=False), offsets)
