"""Sets of codes behave as Python's do, and pairs come once."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.curate.near import Sets, near_pairs
from tuneloop.curate.order import find, mix, order_of

some_sets = st.lists(st.sets(st.integers(0, 20), max_size=8), min_size=1, max_size=12)


def as_sets(sets):
    owner = np.repeat(np.arange(len(sets)), [len(s) for s in sets])
    code = np.array([c for s in sets for c in s], dtype=np.uint64) << np.uint64(32)
    return Sets.of(np.concatenate([owner, owner]), np.concatenate([code, code]), len(sets))


@given(some_sets)
def test_jaccard_is_that_of_sets(sets):
    a, b = np.triu_indices(len(sets), k=1)
    found = as_sets(sets).jaccard(a, b)
    expected = [
        len(sets[i] & sets[j]) / len(sets[i] | sets[j]) if sets[i] | sets[j] else 0.0
        for i, j in zip(a, b, strict=True)
    ]
    assert np.allclose(found, expected)


@given(some_sets, st.data())
def test_sets_are_taken_and_joined(sets, data):
    rows = data.draw(st.lists(st.integers(0, len(sets) - 1), max_size=8))
    one = as_sets(sets)
    taken = Sets.join([one.take(np.array(rows, dtype=np.int64)), one])
    parts = [set(taken.codes[a:b].tolist())
             for a, b in zip(taken.offsets[:-1], taken.offsets[1:], strict=True)]  # fmt: skip
    assert parts == [sets[i] for i in rows] + sets


@settings(max_examples=30, deadline=None)
@given(some_sets)
def test_pairs_are_alike_and_come_once(sets):
    a, b = near_pairs(as_sets(sets), threshold=0.7, n_permutations=64)
    assert np.all(a < b)
    assert len({*zip(a.tolist(), b.tolist(), strict=True)}) == len(a)
    equal = {(i, j) for i in range(len(sets)) for j in range(i) if sets[i] == sets[j] and sets[i]}
    assert {(j, i) for i, j in equal} <= {*zip(a.tolist(), b.tolist(), strict=True)}


def test_mixing_tells_which_column_a_number_is_in():
    a, b = (grid.ravel() for grid in np.meshgrid(np.arange(300), np.arange(300)))
    assert len(np.unique(mix(a, mix(np.zeros_like(b), b)))) == len(a)


@given(st.lists(st.tuples(st.integers(0, 3), st.text(max_size=2)), max_size=20))
def test_order_is_that_of_pairs(pairs):
    import pyarrow as pa

    ids = [f"{text}{k}" for k, (_, text) in enumerate(pairs)]
    order = order_of(np.array([n for n, _ in pairs], dtype=np.float64), pa.array(ids, pa.string()))
    expected = sorted(range(len(pairs)), key=lambda k: (pairs[k][0], ids[k].encode()))
    assert order.tolist() == expected


@given(st.lists(st.integers(0, 50), unique=True, max_size=20), st.lists(st.integers(0, 50)))
def test_find_finds(among, wanted):
    keys = np.array(among, dtype=np.uint64)
    order = np.argsort(keys)
    place = find(np.array(wanted, dtype=np.uint64), keys[order], order)
    assert place.tolist() == [among.index(w) if w in among else -1 for w in wanted]
