"""Feedback in force, and the interactions it is about.

In force is the latest revision of each piece that was not retracted, and of what one person said
of one interaction by one signal the last word. Feedback whose interaction is not there yet
waits: it is counted and not an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.curate import parts, spoken
from tuneloop.curate.assemble import Assembled, Known
from tuneloop.curate.columns import (
    ACTORS,
    Feedback,
    Flags,
    Hashes,
    Ints,
    Preferences,
    signal_code,
)
from tuneloop.curate.dropped import Dropped
from tuneloop.curate.order import encode, find, firsts, lasts, mix, order_of
from tuneloop.curate.said import TEXTS

PREFERENCE = signal_code("preference")
COMMENT = pa.scalar(signal_code("comment"), pa.int8())
WRITTEN = pa.array(sorted(map(signal_code, TEXTS)), pa.int8())
SUPERSEDED = "the same person said otherwise later"


@dataclass
class Said:
    """The latest revision of every piece, as read; `n_in` pieces and revisions came in."""

    table: pa.Table
    n_in: int

    def __len__(self) -> int:
        return len(self.table)


@dataclass
class Joined:
    """Feedback that reached an admitted interaction.

    Attributes:
        feedback: All but comparisons.
        preferences: Comparisons.
        key: Hash of the id of each piece of `feedback`.
        actor_id: Names of the actors, null where nobody was named; one a piece of `feedback`.
        value_json: Their values as JSON, null for texts.
        preference_actor: Names of the actors of comparisons.
        preference_json: Values of the comparisons as JSON.
        n_waiting: Pieces whose interaction is not there.
    """

    feedback: Feedback
    preferences: Preferences
    key: Hashes
    actor_id: pa.Array
    value_json: pa.Array
    preference_actor: pa.Array
    preference_json: pa.Array
    n_waiting: int

    def place(self, feedback: Feedback) -> Ints:
        """Return where each piece was in `feedback` before signals were derived, -1 nowhere."""
        logged = ~feedback.derived  # derived ones come between, and change no order
        return np.where(logged, np.cumsum(logged) - 1, -1)

    def actor_of(self, feedback: Feedback) -> pa.Array:
        """Return the named actor of each piece, derived ones too; null where nobody is."""
        place = self.place(feedback)
        return self.actor_id.take(pa.array(place, mask=place < 0))


def latest(folder: Path, names: Sequence[str], dropped: Dropped, *, max_chars: int) -> Said:
    """Return the latest revision of each piece, and write their texts to `spoken.arrow`.

    Corrections and edits above `max_chars` are dropped as answers are.
    """
    tables = [parts.read(folder / f"{name}.said") for name in names]
    columns = [name for name in tables[0].column_names if name != "text"]
    table = pa.concat_tables([one.select(columns) for one in tables]).unify_dictionaries()
    key, revision = table["key"].to_numpy(), table["revision"].to_numpy()
    order = np.lexsort((revision, key))
    order = order[firsts(order, key, revision)]  # appended twice by two machines
    last = lasts(order, key)
    dropped.add("feedback", _ids(table, order[~last]), "superseded", "a later revision")
    in_force = np.zeros(len(key), dtype=bool)
    in_force[order[last]] = True
    gone = in_force & table["retracts"].to_numpy() & (
        (revision > 0) | (table["signal"].to_numpy() == PREFERENCE)
    )  # fmt: skip
    dropped.add("feedback", _ids(table, np.flatnonzero(gone)), "retracted")
    n_chars = table["n_chars"].to_numpy()
    long = in_force & ~gone & (n_chars > max_chars)
    chars = pc.binary_join_element_wise(
        pa.array(n_chars[long]).cast(pa.string()), "characters", " "
    )
    dropped.add("feedback", _ids(table, np.flatnonzero(long)), "too_long", chars)
    in_force &= ~gone & ~long
    spoken.write(folder / "spoken.arrow", _texts(tables, in_force))
    return Said(table.filter(pa.array(in_force)).combine_chunks(), len(order))


def _texts(tables: list[pa.Table], in_force: Flags) -> Iterator[pa.Table]:
    start = 0
    for table in tables:
        mine = in_force[start : start + len(table)]
        start += len(table)
        has = table["text"].is_valid().to_numpy() & mine
        chosen = table.filter(pa.array(has))
        own = pc.is_in(chosen["signal"], value_set=WRITTEN)
        signal = pc.if_else(own, chosen["signal"], COMMENT)  # a comment beside a value is one, too
        place = chosen.column_names.index("signal")
        chosen = chosen.set_column(place, "signal", signal)
        for target in ("target", "turn_target"):
            one = chosen.select([target, "key", "signal", "text"]).rename_columns(
                spoken.SCHEMA.names
            )
            yield one.filter(pc.not_equal(one["target"], pa.scalar(0, pa.uint64()))).cast(
                spoken.SCHEMA
            )


def join(in_force: Said, assembled: Assembled, dropped: Dropped) -> Joined:
    """Return the feedback about admitted interactions, in order of (ts, id)."""
    table, known = in_force.table, assembled.known
    signal = table["signal"].to_numpy()
    compares = signal == PREFERENCE
    target = _targets(table, known)
    by_key = np.arange(len(known))
    pair = [find(table[side].to_numpy(), known.key, by_key) for side in ("winner", "loser")]
    there = np.where(compares, (pair[0] >= 0) & (pair[1] >= 0) & (pair[0] != pair[1]), target >= 0)
    chosen = np.flatnonzero(there)
    actors, _ = encode(table["actor_id"])
    named = actors >= 0
    giver = np.where(named, mix(table["actor"].to_numpy(), actors), table["key"].to_numpy())
    about = np.where(compares, mix(np.minimum(*pair), np.maximum(*pair)), target.astype(np.uint64))
    dimensions, dimension_names = encode(table["dimension"])
    place = mix(about, giver, signal, dimensions)
    order = chosen[order_of(table["ts"].to_numpy()[chosen], _ids(table, chosen))]
    order = order[np.argsort(place[order], kind="stable")]
    last = lasts(order, place)
    dropped.add("feedback", _ids(table, order[~last]), "superseded", SUPERSEDED)
    chosen = order[last]
    retracts = table["retracts"].to_numpy()[chosen]
    dropped.add("feedback", _ids(table, chosen[retracts]), "retracted")
    chosen = chosen[~retracts]
    chosen = chosen[_reached(table, chosen, compares, [target, *pair], known, dropped)]
    chosen = chosen[order_of(table["ts"].to_numpy()[chosen], _ids(table, chosen))]
    target = np.where(compares, pair[0], target)
    accounts, account_names = _accounts(table, chosen, known.row[target], assembled)
    single, double = ~compares[chosen], compares[chosen]
    return Joined(
        feedback=_feedback(table, chosen[single], known.row[target[chosen[single]]],
                           (accounts[single], account_names),
                           (dimensions, dimension_names.to_pylist())),
        preferences=_preferences(table, chosen[double],
                                 [known.row[side[chosen[double]]] for side in pair],
                                 accounts[double], dimensions),
        key=table["key"].to_numpy()[chosen[single]],
        actor_id=_taken(table["actor_id"], chosen[single]),
        value_json=_taken(table["value_json"], chosen[single]),
        preference_actor=_taken(table["actor_id"], chosen[double]),
        preference_json=_taken(table["value_json"], chosen[double]),
        n_waiting=int((~there).sum()),
    )  # fmt: skip


def _targets(table: pa.Table, known: Known) -> Ints:
    """Return the place in `known` each piece is about, -1 where that is not there.

    A session or an episode means its last interaction.
    """
    keys = table["target"].to_numpy()
    whole = table["whole"].to_numpy()
    target = find(keys, known.key, np.arange(len(known)))
    target[whole] = -1
    turns = table["turn_target"].to_numpy()
    missing = np.flatnonzero((target < 0) & (turns != 0))
    if len(missing):
        by_turn = np.argsort(known.turns, kind="stable")
        target[missing] = find(turns[missing], known.turns[by_turn], by_turn)
    if whole.any():
        for names in (known.sessions, known.episodes):
            latest = np.flatnonzero(names != 0)
            latest = latest[order_of(known.ts[latest], known.id.take(pa.array(latest)))]
            latest = latest[np.argsort(names[latest], kind="stable")]
            latest = latest[lasts(latest, names)]
            found = find(keys[whole], names[latest], np.arange(len(latest)))
            hit = np.flatnonzero(whole)[found >= 0]
            target[hit] = latest[found[found >= 0]]
    return target


def _reached(
    table: pa.Table, chosen: Ints, compares: Flags, targets: list[Ints], known: Known,
    dropped: Dropped,
) -> Flags:  # fmt: skip
    """Return which pieces reach admitted interactions; the others go with theirs."""
    target, winner, loser = (places[chosen] for places in targets)
    admitted = known.row >= 0
    alone = ~compares[chosen]
    fine = np.where(alone, admitted[target], admitted[winner] & admitted[loser])
    gone = np.flatnonzero(~fine)
    refused = np.where(admitted[winner], loser, winner)
    refused = np.where(alone, target, refused)[gone]
    reason = known.reason.take(pa.array(refused))
    dropped.add("feedback", _ids(table, chosen[gone]), "target_dropped", reason)
    return fine


def _accounts(
    table: pa.Table, chosen: Ints, row_of: Ints, assembled: Assembled
) -> tuple[np.ndarray, pa.Array]:
    """Return the number of who gave each piece, and the names.

    The named actor; of a nameless user the interaction's person, else its session, else nobody
    but this piece; of other nameless actors their kind.
    """
    actor = _taken(table["actor_id"], chosen)
    row = row_of[chosen]
    people = []
    for name in ("subject", "session"):
        code = assembled.interactions.codes[name][row]
        people.append(assembled.interactions.names[name].take(pa.array(code, mask=code < 0)))
    is_user = table["actor"].to_numpy()[chosen] == ACTORS.index("user")
    kinds = pa.array(ACTORS).take(pa.array(table["actor"].to_numpy()[chosen]))
    who = pc.coalesce(*people, _ids(table, chosen))
    return encode(pc.coalesce(actor, pc.if_else(pa.array(is_user), who, kinds)))


def _feedback(
    table: pa.Table, chosen: Ints, row: Ints, accounts: tuple[np.ndarray, pa.Array],
    dimensions: tuple[np.ndarray, list[str]],
) -> Feedback:  # fmt: skip
    n = len(chosen)
    return Feedback(
        id=_ids(table, chosen),
        ts=table["ts"].to_numpy()[chosen],
        row=row.astype(np.int32),
        account=accounts[0],
        account_names=accounts[1],
        actor=table["actor"].to_numpy()[chosen],
        signal=table["signal"].to_numpy()[chosen],
        dimension=dimensions[0][chosen],
        dimensions=dimensions[1],
        value=table["value"].to_numpy()[chosen].copy(),
        text=np.zeros(n, dtype=np.uint64),
        opinion=np.full(n, np.nan),
        trust=np.ones(n),
        derived=np.zeros(n, dtype=bool),
    )


def _preferences(
    table: pa.Table, chosen: Ints, rows: list[Ints], account: np.ndarray, dimension: np.ndarray
) -> Preferences:
    return Preferences(
        id=_ids(table, chosen),
        ts=table["ts"].to_numpy()[chosen],
        first=rows[0].astype(np.int32),
        second=rows[1].astype(np.int32),
        account=account,
        actor=table["actor"].to_numpy()[chosen],
        outcome=table["outcome"].to_numpy()[chosen],
        dimension=dimension[chosen],
        trust=np.ones(len(chosen)),
        n_answers=table["value"].to_numpy()[chosen].astype(np.int32),
    )


def _ids(table: pa.Table, rows: Ints) -> pa.Array:
    return _taken(table["id"], rows)


def _taken(column: pa.ChunkedArray, rows: Ints) -> pa.Array:
    taken = column.take(pa.array(rows))
    if pa.types.is_dictionary(taken.type):
        taken = taken.cast(pa.string())
    return taken.combine_chunks() if isinstance(taken, pa.ChunkedArray) else taken
