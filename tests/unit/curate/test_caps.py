"""No one thing has more than its share; the least weighty rows go first."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tuneloop.config.caps import CapsConfig
from tuneloop.curate.caps import above, apply_caps
from tuneloop.curate.dropped import Dropped


@given(
    st.lists(st.integers(-1, 5), min_size=1, max_size=200),
    st.sampled_from([0.1, 0.25, 0.5, 0.9]),
    st.integers(1, 10),
    st.randoms(use_true_random=False),
)
def test_the_share_holds_in_what_is_left(codes, share, least, random):
    code = np.array(codes, dtype=np.int32)
    kept = np.ones(len(code), dtype=bool)
    weight = np.array([random.random() for _ in codes])
    tie = np.arange(len(code), dtype=np.uint64)
    gone = above(code, kept, (weight, tie), share, least)
    kept[gone] = False
    counts = np.bincount(code[kept & (code >= 0)], minlength=6)
    assert all(n <= max(least, share * kept.sum()) for n in counts)
    for value in set(codes) - {-1}:
        mine = code == value
        stay, go = weight[mine & kept], weight[mine & ~kept]
        assert not len(go) or go.max() <= stay.min()
    assert kept[code == -1].all()


def rows(**codes):
    n = len(next(iter(codes.values())))
    names = ("subject", "segment", "intent", "template", "system")
    given = {name: np.array(codes.get(name, [-1] * n), dtype=np.int32) for name in names}
    return SimpleNamespace(
        id=pa.array([f"i{k:03}" for k in range(n)]),
        codes=given,
        names={"system": pa.array(["base@1", "helpdesk-7"])},
    )


def test_tuned_answers_and_loud_users_are_capped_and_counted():
    n = 400
    interactions = rows(
        system=[k % 4 > 0 for k in range(n)], subject=[0] * 100 + list(range(1, n - 99))
    )
    kept, dropped = np.ones(n, dtype=bool), Dropped()
    config = CapsConfig(tuned_systems=["helpdesk-*"], tuned=0.5, user=0.1, min_rows=10)
    worth = (np.ones(n), np.arange(n, dtype=np.uint64))
    report = apply_caps(interactions, kept, worth, config, dropped)
    tuned = interactions.codes["system"][kept]
    assert tuned.mean() <= 0.51  # users are capped afterwards
    assert np.bincount(interactions.codes["subject"][kept]).max() <= 0.1 * kept.sum()
    assert report["tuned"]["largest_share"] == 0.75
    assert dropped.counts("interaction") == {
        "cap_tuned": report["tuned"]["n_dropped"],
        "cap_user": report["user"]["n_dropped"],
    }


def test_caps_can_be_switched_off_and_spare_the_few():
    interactions = rows(subject=[0] * 30)
    for config in (CapsConfig(user=None), CapsConfig(user=0.1)):  # 30 rows are below min_rows
        kept = np.ones(30, dtype=bool)
        apply_caps(interactions, kept, (np.ones(30), np.zeros(30, np.uint64)), config, Dropped())
        assert kept.all()
