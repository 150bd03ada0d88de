"""Caps and the balance of lengths, over whole sets."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from tuneloop.build.chunks import _n_words
from tuneloop.build.limits import balance, cap_clusters, cap_rows, draws, length_bias, wilson
from tuneloop.build.pairs import pick_diverse
from tuneloop.build.write import Written


def written(n, *, seed=0, gap=None, cluster=None):
    rng = np.random.default_rng(seed)
    found = Written()
    gap = rng.normal(20, 30, n).astype(int) if gap is None else np.asarray(gap)
    found.add(
        id=rng.integers(0, 2**63, n).astype(np.uint64),
        weight=rng.uniform(0.1, 1, n),
        validates=rng.random(n) < 0.1,
        n_words=200 + gap,
        n_words_bad=np.full(n, 200),
        cluster=np.arange(n) if cluster is None else np.asarray(cluster),
    )
    return found


def everything(found):
    return np.ones(len(found["weight"]), dtype=bool)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (700, 1000)])
def test_the_interval_is_wilsons(k, n):
    assert wilson(k, n) == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-5)
    assert wilson(0, 0) is None


def test_length_bias_is_measured():
    bias = length_bias(np.array([3, 5, 9, 4]), np.array([1, 6, 2, 4]), np.ones(4))
    assert bias["mean_words"] == 2.0
    assert (bias["n_differ"], bias["share_longer"]) == (3, pytest.approx(2 / 3, abs=1e-6))
    assert bias["mean_words_interval"][0] < 2.0 < bias["mean_words_interval"][1]
    assert length_bias(np.empty(0), np.empty(0), np.empty(0)) is None


@pytest.mark.parametrize("how", ["drop", "weight"])
def test_balanced_pairs_do_not_prefer_length(how):
    found = written(3000)
    before = length_bias(found["n_words"], found["n_words_bad"], found["weight"])
    assert before["share_longer"] > 0.7
    kept, weight = balance(found, everything(found), how, seed=1)
    trains = kept & ~found["validates"]
    longer = found["n_words"] > 200
    apart = found["n_words"] != 200
    counted = weight if how == "weight" else np.ones(len(weight))
    share = counted[trains & longer].sum() / counted[trains & apart].sum()
    assert share == pytest.approx(0.5, abs=0.06)
    assert kept[found["validates"]].all()
    if how == "weight":
        assert kept.all()
        assert (weight <= found["weight"]).all()
    else:
        assert (weight == found["weight"]).all()
    assert balance(found, everything(found), "off", seed=1)[0].all()


def test_what_has_no_counterpart_is_not_lost_altogether():
    found = written(100, gap=np.full(100, 10))
    kept, _ = balance(found, everything(found), "drop", seed=1)
    assert (kept & ~found["validates"]).sum() == 1


@given(most=st.integers(1, 8), seed=st.integers(0, 5))
def test_a_cluster_keeps_its_heaviest(most, seed):
    found = written(200, cluster=np.arange(200) % 17, seed=seed)
    kept = cap_clusters(found, most, seed=3)
    assert kept[found["validates"]].all()
    for number in range(17):
        own = (found["cluster"] == number) & ~found["validates"]
        assert (kept & own).sum() == min(most, own.sum())
        if (own & ~kept).any():
            assert found["weight"][own & ~kept].max() <= found["weight"][own & kept].min()


def test_a_sample_is_seeded_and_grows_with_its_size():
    found = written(500)
    few, more = (cap_rows(found, everything(found), n, seed=4) for n in (50, 100))
    trains = ~found["validates"]
    assert ((few & trains).sum(), (more & trains).sum()) == (50, 100)
    assert (more | ~few).all()
    other = cap_rows(found, everything(found), 50, seed=5)
    assert (few != other).any()
    assert cap_rows(found, everything(found), None, seed=4).all()


def test_draws_are_even():
    drawn = draws(np.arange(20_000, dtype=np.uint64), 7) / 2**64
    counts, _ = np.histogram(drawn, bins=10, range=(0, 1))
    assert abs(counts - 2000).max() < 200


@settings(deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(5, 9), st.floats(0, 2)), max_size=25),
    most=st.integers(1, 6),
)
def test_pairs_are_the_widest_and_hold_many_answers(pairs, most):
    chosen = pick_diverse(pairs, most)
    assert len(chosen) == len(set(chosen)) == min(most, len(pairs))
    if chosen:
        assert pairs[chosen[0]][2] == max(margin for *_, margin in pairs)
    if len(chosen) > 1:
        first = pairs[chosen[0]][:2]
        others = [i for i, pair in enumerate(pairs) if not set(pair[:2]) & set(first)]
        if others:  # an answer not used yet comes before a wider margin
            assert chosen[1] in others
            assert pairs[chosen[1]][2] == max(pairs[i][2] for i in others)


@given(st.lists(st.text(st.characters(codec="ascii"), max_size=30), max_size=20))
def test_words_are_counted(texts):
    texts = [text.replace("\x1c", "").replace("\x1d", "").replace("\x1e", "").replace("\x1f", "")
             for text in texts]  # fmt: skip
    wanted = np.array([i % 3 > 0 for i in range(len(texts))], dtype=bool)
    counted = _n_words(pa.array(texts, pa.string()), wanted).tolist()
    assert counted == [len(t.split()) if w else 0 for t, w in zip(texts, wanted, strict=True)]
