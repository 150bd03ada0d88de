"""Which rows are new: the same answer as one dictionary in memory gives."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.lake import spool as spool_module
from tuneloop.lake.rows import Row, identity
from tuneloop.lake.spool import CONFLICT, NEW, Spool

NOW = datetime(2025, 1, 1, tzinfo=UTC)
events = st.tuples(st.integers(0, 12), st.integers(0, 1))  # an id, and one of two contents


def row(id, content):
    name = identity("feedback", "t", str(id), 0)
    return Row("feedback", "t", str(id), 0, NOW, None, None, None, "interaction", "i", "{}",
               f"{content:016x}" + "0" * 48, name)  # fmt: skip


def model(known, records):
    """Refuse a record, and all of it, where one of its ids is taken by other content."""
    taken = dict(known)
    for record in records:
        for id, content in record:
            taken.setdefault(id, content)
    refused = {n for n, record in enumerate(records) if any(taken[i] != c for i, c in record)}
    held, added = set(known), []
    for n, record in enumerate(records):
        for id, content in () if n in refused else record:
            if id not in held:
                held.add(id)
                added.append((n, id, content))
    return refused, added


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(st.integers(0, 12), st.integers(0, 1), max_size=6),
    st.lists(st.lists(events, max_size=4), max_size=10),
    st.integers(1, 5),
)
def test_settling_on_disk_is_what_memory_would_say(known, records, batch):
    held = spool_module.BATCH_ROWS
    spool_module.BATCH_ROWS = batch
    try:
        with tempfile.TemporaryDirectory() as folder:
            spool = Spool(Path(folder) / "rows")
            for number, record in enumerate(records):
                spool.add([row(*event) for event in record], number=number)
            rows = [row(*event) for event in known.items()]
            table = pa.RecordBatch.from_pydict(
                {"identity": pa.array([r.identity for r in rows], pa.binary()),
                 "row_digest": pa.array([r.row_digest for r in rows], pa.string())}
            )  # fmt: skip
            settled = spool.settle([table] if rows else [])
            added = [
                (r["record"], int(r["id"]), int(r["row_digest"][:16], 16))
                for b in spool.rows(settled, state=NEW) for r in b.to_pylist()
            ]  # fmt: skip
            named = {
                r["record"] for b in spool.rows(settled, state=CONFLICT) for r in b.to_pylist()
            }
    finally:
        spool_module.BATCH_ROWS = held
    refused, wanted = model(known, records)
    assert added == wanted
    assert named == refused
    assert {n for n, c in enumerate(settled.conflicts) if c} == refused
    assert {n for n, a in enumerate(settled.adds) if a} == {n for n, _, _ in wanted}
    assert {n for n, h in enumerate(settled.holds) if h} == {n for n, r in enumerate(records) if r}
