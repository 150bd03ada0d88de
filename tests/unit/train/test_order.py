from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tuneloop.train.order import batch_order, n_steps

LENGTHS = st.lists(st.integers(1, 500), min_size=1, max_size=80)


@given(LENGTHS, st.sampled_from([1, 4, 16]), st.integers(1, 30), st.integers(0, 5),
       st.booleans())  # fmt: skip
def test_every_row_comes_as_often_as_any_other(lengths, batch, steps, seed, by_length):
    order = batch_order(
        lengths, global_batch_size=batch, steps=steps, seed=seed, by_length=by_length
    )
    assert len(order) == steps * batch
    times = Counter(order)
    seen = [times[row] for row in range(len(lengths))]
    assert max(seen) - min(seen) <= 1


@given(LENGTHS, st.integers(0, 5))
def test_order_is_seeded(lengths, seed):
    def draw(s):
        return batch_order(lengths, global_batch_size=4, steps=12, seed=s, by_length=True)

    assert draw(seed) == draw(seed)


def test_another_seed_is_another_order():
    lengths = list(range(1, 65))
    first, second = (batch_order(lengths, global_batch_size=4, steps=16, seed=s, by_length=False)
                     for s in (1, 2))  # fmt: skip
    assert first != second


def test_grouping_saves_most_padding():
    lengths = [20 + (i * 37) % 180 for i in range(640)]
    order = batch_order(lengths, global_batch_size=16, steps=40, seed=1, by_length=True)

    def padding(rows):
        micro = [rows[i : i + 8] for i in range(0, len(rows), 8)]
        padded = sum(8 * max(lengths[r] for r in m) for m in micro)
        return 1 - sum(lengths[r] for r in rows) / padded

    assert padding(list(range(640))) > 0.25
    assert padding(order) < 0.06


def test_batches_do_not_come_sorted():
    lengths = list(range(1, 129))
    order = batch_order(lengths, global_batch_size=16, steps=8, seed=1, by_length=True)
    means = [sum(order[i : i + 16]) for i in range(0, 128, 16)]
    assert means != sorted(means)


def test_steps_follow_from_epochs_unless_given():
    assert n_steps(100, global_batch_size=16, epochs=1, max_steps=None) == 7
    assert n_steps(100, global_batch_size=16, epochs=2.5, max_steps=None) == 16
    assert n_steps(3, global_batch_size=16, epochs=1, max_steps=None) == 1
    assert n_steps(100, global_batch_size=16, epochs=1, max_steps=50) == 50
