"""Priority sampling: every beginning of the order has chances that are true."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.statistics.priority import FLOOR, inclusion, label_sizes, priority


@pytest.mark.parametrize("n", [5, 20, 59])
def test_weighted_sums_are_unbiased_for_every_n(n):
    rng = np.random.default_rng(0)
    sizes = rng.gamma(1.0, size=60) + 0.1
    values = rng.random(60) + 0.3 * sizes  # large sizes, large values: plain means are biased
    found, plain = [], []
    for _ in range(4000):
        ranks = np.array([priority(s, 1 - u) for s, u in zip(sizes, rng.random(60), strict=True)])
        order = np.argsort(-ranks)
        chances = inclusion(list(sizes[order]), list(ranks[order]), n)
        found.append(sum(values[i] / c for i, c in zip(order[:n], chances, strict=True)))
        plain.append(60 * values[order[:n]].mean())
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - values.sum()) < 4 * error + 1e-9
    if n == 5:
        assert abs(np.mean(plain) - values.sum()) > 8 * np.std(plain) / np.sqrt(len(plain))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=30))
def test_no_pair_is_out_of_reach(shares):
    sizes = label_sizes(shares)
    assert min(sizes) >= FLOOR - 1e-12
    assert sum(sizes) / len(sizes) == pytest.approx(1.0)


def test_the_undecided_and_the_unjudged_weigh_more_than_the_sure():
    sure, undecided, unjudged = label_sizes([1.0, 0.5, None])
    assert sure < undecided == unjudged


def test_all_drawn_have_the_chance_one():
    assert inclusion([1.0, 2.0], [5.0, 4.0], 2) == [1.0, 1.0]
