"""What repeats a held text is found as a brute-force comparison finds it, in any batches."""

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.curate.overlap import CONTAINED, EXACT, NEAR, Overlap

pytest.importorskip("scipy")
NEARNESS = 0.7


def shingles(words, size=5):
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}


def expected(text, held):
    """Return the kind and number of the strongest match, by comparing with each held text."""
    best = (9, 0.0, -1)
    for i, other in enumerate(held):
        a, b = text.split(), other.split()
        if a == b and a:
            found = (EXACT, -1.0, i)
        else:
            short = min(len(a), len(b)) < 5
            x, y = (set(a), set(b)) if short else (shingles(a), shingles(b))
            jaccard = len(x & y) / len(x | y) if x | y else 0.0
            inside = len(shingles(a) & shingles(b)) / max(len(shingles(b)), 1)
            if jaccard >= NEARNESS:
                found = (NEAR, -jaccard, i)
            elif len(b) >= 8 and inside >= 0.9:
                found = (CONTAINED, -inside, i)
            else:
                continue
        best = min(best, found)
    return (0, -1) if best[0] == 9 else (best[0], best[2])


texts = st.lists(st.sampled_from("abcdef"), max_size=12).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(st.lists(texts, min_size=1, max_size=5), st.lists(texts, max_size=8))
def test_matches_are_those_of_brute_force(held, rows):
    found = Overlap(held, near=NEARNESS, contained=0.9).match(pa.array(rows, pa.string()))
    assert list(zip(found.kind, found.index, strict=True)) == [expected(r, held) for r in rows]


def test_batches_make_no_difference():
    rng = random.Random(4)
    words = [f"w{i}" for i in range(40)]
    held = [" ".join(rng.choices(words, k=rng.randint(1, 15))) for _ in range(30)]
    rows = [
        " ".join([*rng.choices(words, k=rng.choice([0, 1, 4, 20])), *rng.choice(held).split()])
        for _ in range(300)
    ]
    overlap = Overlap(held, near=0.5, contained=0.9)
    whole = overlap.match(pa.array(rows))
    parts = [overlap.match(pa.array(rows[i : i + 7])) for i in range(0, 300, 7)]
    assert np.array_equal(whole.kind, np.concatenate([p.kind for p in parts]))
    assert np.array_equal(whole.index, np.concatenate([p.index for p in parts]))
    assert len(set(whole.kind.tolist())) == 4


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("HOW do I reset my password, please?!", EXACT),
        ("how do i reset my password please [EMAIL_3]", NEAR),
        ("please", 0),
        ("👍", EXACT),
        ("👎", 0),
        ("", 0),
        (None, 0),
        ("我的卡丢了", EXACT),
    ],
)
def test_form(text, kind):
    held = ["How do I reset my password, please?", "👍", "我的卡丢了。"]
    found = Overlap(held, near=NEARNESS, contained=0.9).match(pa.array([text], pa.string()))
    assert found.kind.tolist() == [kind]


def test_nothing_is_held():
    found = Overlap([], near=NEARNESS, contained=0.9).match(pa.array(["a b c d e f"]))
    assert found.kind.tolist() == [0]


def test_likeness_orders_by_shared_rare_words():
    held = ["where is my parcel", "where is my refund", "where is my vase"]
    found = Overlap(held, near=NEARNESS, contained=0.9).likeness(
        pa.array(["the vase, where?", "where is my thing", "unrelated words", ""])
    )
    assert found[0] > found[1] == found[2] == found[3] == 0
