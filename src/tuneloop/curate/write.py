"""The curated set's tables, range by range in the order of the rows."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tuneloop.artefacts.digest import canonical_json
from tuneloop.artefacts.stage import Progress
from tuneloop.artefacts.tables import CURATED, PREFERENCES, SIGNALS
from tuneloop.curate import parts
from tuneloop.curate.columns import (
    ACTORS,
    Feedback,
    Flags,
    Interactions,
    Ints,
    Preferences,
)
from tuneloop.curate.columns import SIGNALS as NAMES
from tuneloop.curate.join import Joined
from tuneloop.curate.said import TEXTS
from tuneloop.curate.signals.evidence import Evidence
from tuneloop.curate.split import VALIDATION, Groups
from tuneloop.curate.texts import StoredTexts
from tuneloop.runtime.ahead import ahead

ROWS_PER_GROUP = 20_000
STORED = ("event_ts", "source", "output_terms", "consent_basis", "prompt", "tools", "answer",
          "answer_tool_calls", "answer_reasoning")  # fmt: skip
CODED = {"session_id": "session", "episode_id": "episode", "subject_key": "subject",
         "system": "system", "segment": "segment", "intent": "intent",
         "template": "template"}  # fmt: skip
OUTCOMES = {1: "better", -1: "better", 0: "tie", 2: "both_bad"}


@dataclass
class Told:
    """All signals of all rows, sorted by row: feedback in order of (ts, id), then comparisons.

    Attributes:
        row: The row of each.
        piece: Number in `Feedback`, -1 for comparisons.
        table: The columns of `SIGNALS`; `value_json` is null where the value is a text.
    """

    row: Ints
    piece: Ints
    table: pa.Table


def tell(joined: Joined, feedback: Feedback, found: Evidence, kept: Flags) -> Told:
    """Return the believed signals of the rows in the set."""
    preferences = joined.preferences
    pieces = np.flatnonzero(kept[feedback.row] & (feedback.trust > 0))
    compared = np.flatnonzero(
        kept[preferences.first] & kept[preferences.second] & (preferences.trust > 0)
    )
    actors = pa.array(ACTORS)
    own = _own_values(joined, feedback, pieces)
    tables = [pa.table({
        "feedback_id": feedback.id.take(pa.array(pieces)),
        "signal": pa.array(NAMES).take(pa.array(feedback.signal[pieces])),
        "dimension": _names(feedback.dimensions, feedback.dimension[pieces]),
        "value_json": own,
        "actor": _actors(actors.take(pa.array(feedback.actor[pieces])),
                         joined.actor_of(feedback).take(pa.array(pieces))),
        "opinion": pa.array(feedback.opinion[pieces], from_pandas=True),
        "weight": pa.array(found.feedback_weight[pieces]),
    })]  # fmt: skip
    rows, numbers = [feedback.row[pieces].astype(np.int64)], [pieces]
    for side in (preferences.first, preferences.second):
        tables.append(_comparisons(joined, feedback, found, compared, actors))
        rows.append(side[compared].astype(np.int64))
        numbers.append(np.full(len(compared), -1))
    row = np.concatenate(rows)
    order = np.argsort(row, kind="stable")
    table = pa.concat_tables(tables).take(pa.array(order)).combine_chunks()
    return Told(row[order], np.concatenate(numbers)[order], table)


def _own_values(joined: Joined, feedback: Feedback, pieces: Ints) -> pa.Array:
    """Return values as JSON; derived pieces carry a number."""
    logged = joined.place(feedback)[pieces]
    values = joined.value_json.take(pa.array(logged, mask=logged < 0))
    derived = feedback.derived[pieces]
    numbers = [
        canonical_json(round(value, 6)) if of else None
        for value, of in zip(feedback.value[pieces].tolist(), derived.tolist(), strict=True)
    ] if derived.any() else [None] * len(pieces)  # fmt: skip
    return pc.if_else(pa.array(derived), pa.array(numbers, pa.string()), values)


def _comparisons(
    joined: Joined, feedback: Feedback, found: Evidence, chosen: Ints, actors: pa.Array
) -> pa.Table:
    preferences = joined.preferences
    both_bad = preferences.outcome[chosen] == 2
    return pa.table({
        "feedback_id": preferences.id.take(pa.array(chosen)),
        "signal": pa.repeat("preference", len(chosen)),
        "dimension": _names(feedback.dimensions, preferences.dimension[chosen]),
        "value_json": joined.preference_json.take(pa.array(chosen)),
        "actor": _actors(actors.take(pa.array(preferences.actor[chosen])),
                         joined.preference_actor.take(pa.array(chosen))),
        "opinion": pa.array(np.where(both_bad, -1.0, np.nan), from_pandas=True),
        "weight": pa.array(found.preference_weight[chosen]),
    })  # fmt: skip


def _names(names: list[str], codes: np.ndarray) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(codes, mask=codes < 0))


def _actors(kinds: pa.Array, names: pa.Array) -> pa.Array:
    """Return each giver as one word, e.g. `user:u17`."""
    return pc.coalesce(pc.binary_join_element_wise(kinds, names, ":"), kinds)


@dataclass
class Writer:
    """Writes `curated.parquet`."""

    tenant: str
    interactions: Interactions
    kept: Flags
    side: np.ndarray
    groups: Groups
    found: Evidence
    told: Told
    texts: StoredTexts

    def write(self, path: Path, progress: Progress) -> None:
        """Write the rows in the set, one range after another; one is packed while one is read."""
        coded = [*CODED, "tenant", "split", "source", "output_terms", "consent_basis"]
        options = {"compression": "zstd", "use_dictionary": coded}
        with (
            pq.ParquetWriter(path, CURATED, **options) as out,
            ThreadPoolExecutor(max_workers=1) as packer,
        ):
            packed = packer.submit(lambda: None)
            for table in self._groups():
                packed.result()
                packed = packer.submit(out.write_table, table, row_group_size=len(table))
                progress.advance(len(table))
            packed.result()

    def _groups(self) -> Iterator[pa.Table]:
        """Yield the rows in tables of whole ranges, `ROWS_PER_GROUP` at least but for the last."""
        held: list[pa.Table] = []
        for read in ahead(self._ranges()):
            held.append(self._table(*read))
            if sum(map(len, held)) >= ROWS_PER_GROUP:
                yield pa.concat_tables(held).combine_chunks()
                held = []
        if held:
            yield pa.concat_tables(held).combine_chunks()

    def _ranges(self) -> Iterator[tuple[Ints, pa.Table, Ints, pa.Table]]:
        """Yield the rows in the set and the pieces about them, with their texts, by range."""
        stored = self.texts.open(STORED)
        said = self.texts.open_said(["text"])
        for number in range(parts.N_RANGES):
            rows, table = self.texts.range(stored, number, self.kept)
            if len(rows):
                yield rows, table, *self.texts.said_range(said, number)

    def _table(self, rows: Ints, stored: pa.Table, pieces: Ints, said: pa.Table) -> pa.Table:
        at, interactions = pa.array(rows), self.interactions
        corrections, signals = self._spoken(rows, pieces, said)
        columns = {name: stored[name] for name in STORED}
        columns |= {name: _coded(interactions, source, rows) for name, source in CODED.items()}
        turn = interactions.turn[rows]
        columns |= {
            "interaction_id": interactions.id.take(at),
            "tenant": pa.repeat(self.tenant, len(rows)),
            "turn": pa.array(turn, mask=turn < 0),
            "group_id": self.groups.group_id.take(at),
            "cluster_id": self.groups.cluster_id.take(at),
            "split": pa.array(["train", "validation"]).take(
                pa.array((self.side[rows] == VALIDATION).astype(np.int8))
            ),
            "correction": corrections,
            "asked": pa.array(interactions.asked[rows] == 1, mask=interactions.asked[rows] < 0),
            "p_asked": pa.array(interactions.p_asked[rows], from_pandas=True),
            "propensity": pa.array(interactions.propensity[rows], from_pandas=True),
            "score": pa.array(self.found.score[rows]),
            "weight": pa.array(self.found.weight[rows]),
            "signals": signals,
        }
        return pa.table([_fitted(columns[f.name], f.type) for f in CURATED], schema=CURATED)

    def _spoken(self, rows: Ints, pieces: Ints, said: pa.Table) -> tuple[pa.Array, pa.Array]:
        """Return the correction of each row, and its signals with the texts put in."""
        text = said["text"].combine_chunks()
        wanted = self.found.correction[rows]
        place = _position(wanted, pieces)
        correction = text.take(pa.array(place, mask=place < 0))
        low, high = np.searchsorted(self.told.row, [rows[0], rows[-1] + 1])
        of = self.told.row[low:high]
        inside = np.isin(of, rows)
        table = self.told.table.slice(low, high - low).filter(pa.array(inside))
        spoken = _position(self.told.piece[low:high][inside], pieces)
        written = pc.is_in(table["signal"], value_set=pa.array(sorted(TEXTS)))
        own = np.asarray(written.to_numpy(zero_copy_only=False)) if len(table) else spoken >= 0
        beside = text.take(pa.array(spoken, mask=own | (spoken < 0)))
        table = table.append_column("comment", beside)
        spoken = np.where(own, spoken, -1)
        has = np.flatnonzero(spoken >= 0)
        if len(has):
            quoted = pa.array(
                [canonical_json(t) for t in text.take(pa.array(spoken[has])).to_pylist()]
            )
            mask = pa.array(spoken >= 0)
            values = pc.replace_with_mask(table["value_json"].combine_chunks(), mask, quoted)
            table = table.set_column(table.column_names.index("value_json"), "value_json", values)
        starts = np.searchsorted(of[inside], np.append(rows, rows[-1] + 1)).astype(np.int32)
        columns = [table[f.name].combine_chunks().cast(f.type) for f in SIGNALS.value_type]
        structs = pa.StructArray.from_arrays(columns, fields=list(SIGNALS.value_type))
        return correction, pa.ListArray.from_arrays(pa.array(starts), structs)


def _position(wanted: Ints, among: Ints) -> Ints:
    """Return where each number is in `among` (ascending), -1 where it is not."""
    if not len(among):
        return np.full(len(wanted), -1, dtype=np.int64)
    place = np.minimum(np.searchsorted(among, wanted), len(among) - 1)
    return np.where(among[place] == wanted, place, -1)


def _coded(interactions: Interactions, name: str, rows: Ints) -> pa.Array:
    codes = interactions.codes[name][rows]
    return interactions.names[name].take(pa.array(codes, mask=codes < 0))


def _fitted(column: pa.Array | pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return whole.cast(kind)


def write_preferences(
    path: Path, interactions: Interactions, preferences: Preferences, found: Evidence, kept: Flags
) -> dict[str, int]:
    """Write one row a compared pair whose answers are both in the set; return n by outcome."""
    pairs = found.pairs
    chosen = np.flatnonzero(kept[pairs.first] & kept[pairs.second] & (found.pair_weight > 0))
    outcome = pairs.outcome[chosen]
    swapped = outcome == -1
    winner = np.where(swapped, pairs.second[chosen], pairs.first[chosen])
    loser = np.where(swapped, pairs.first[chosen], pairs.second[chosen])
    pieces = np.argsort(pairs.of, kind="stable")  # in order of (ts, id) within a pair
    low = np.searchsorted(pairs.of[pieces], chosen, "left")
    high = np.searchsorted(pairs.of[pieces], chosen, "right")
    place = np.concatenate(
        [np.zeros(0, int), *(pieces[a:b] for a, b in zip(low, high, strict=True))]
    )
    offsets = np.concatenate([[0], np.cumsum(high - low)]).astype(np.int32)
    ids = preferences.id.take(pa.array(place))
    names = [OUTCOMES[o] for o in outcome.tolist()]
    n_answers = np.ones(len(pairs.first), np.int32)
    believed = pairs.of >= 0
    np.maximum.at(n_answers, pairs.of[believed], preferences.n_answers[believed])
    table = pa.table([
        interactions.id.take(pa.array(winner)),
        interactions.id.take(pa.array(loser)),
        preferences.id.take(pa.array(pieces[low])),
        pa.ListArray.from_arrays(pa.array(offsets), ids),
        pa.array(names, pa.string()),
        pa.array(found.pair_weight[chosen]),
        pa.array(n_answers[chosen]),
    ], schema=PREFERENCES)  # fmt: skip
    pq.write_table(table, path, compression="zstd")
    return {name: names.count(name) for name in sorted(set(names))}
