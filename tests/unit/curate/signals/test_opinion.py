"""Each signal says what the page says it does, and silence is silence."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneloop.curate.signals.edits import describe_edit, similarity
from tuneloop.curate.signals.opinion import comment_opinions, correction_opinion, opinions

NOTHING = None


@pytest.mark.parametrize(
    ("signal", "value", "says"),
    [
        ("thumb", 1, 1), ("thumb", -1, -1), ("stars", 5, 1), ("stars", 4, 0.5), ("stars", 3, 0),
        ("stars", 1, -1), ("score", 0.75, 0.5), ("copy", 1, 1), ("copy", 0, NOTHING),
        ("regenerate", 1, -1), ("reformulation", np.nan, -1), ("abandonment", 1, -1),
        ("dwell", 0, -1), ("dwell", 40 * 60 / 238, 0), ("dwell", 100, 1), ("dwell", 9_999, NOTHING),
        ("edit", 1, 1), ("edit", 0.5, 0), ("edit", 0, -1),
        ("correction", 1, 1), ("correction", 0.2, -1), ("correction", np.nan, -1),
        ("correction", 0.85, -0.75), ("comment", "hm", NOTHING), ("comment", "Thanks!", 1),
    ],
)  # fmt: skip
def test_one_signal(hand, texts, signal, value, says):
    rows, pieces = hand.interactions([{"words": 40}]), hand.feedback([(0, signal, value)])
    said = opinions(rows, pieces, texts)
    assert said[0] == pytest.approx(says, abs=0.01) if says is not None else np.isnan(said[0])


def test_comments_say_nothing_without_their_texts(hand):
    rows, pieces = hand.interactions([{}]), hand.feedback([(0, "comment", "thanks")])
    assert np.isnan(opinions(rows, pieces)).all()


@pytest.mark.parametrize(
    ("comment", "says"),
    [
        ("spot on, sent as is", 1), ("Exactly right, thanks", 1), ("works for me", 1),
        ("wrong queue", -1), ("this is not what I asked", -1), ("not helpful", -1),
        ("isn't right", -1), ("doesn’t work", -1), ("can't use this", -1),
        ("great, but the total is wrong", None), ("could you see to it?", None), ("", None),
        (None, None),
    ],
)  # fmt: skip
def test_comments_that_speak_plainly(comment, says):
    [found] = comment_opinions(pa.array([comment], pa.string()))
    assert found == says if says is not None else np.isnan(found)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 500))
def test_the_more_was_corrected_the_worse_and_never_good(one, other, words):
    low, high = sorted((one, other))
    less, more = correction_opinion(np.array([high, low]), np.array([words, words]))
    assert more <= less
    assert high == 1 or -1 <= less <= -0.5


def test_in_a_short_answer_one_letter_may_be_everything():
    assert correction_opinion(np.array([0.9]), np.array([3]))[0] == -1


WORDS = st.text("ab cé", max_size=30)


@given(WORDS, WORDS)
def test_similarity_is_symmetrical_and_one_only_for_equals(a, b):
    one, other = similarity([a, b], [b, a])
    assert one == other
    assert (one == 1) == (a.strip() == b.strip())
    edit = describe_edit(a, b)
    assert edit.inserted + edit.deleted + edit.replaced <= 1
    assert edit.length_ratio >= 0


def test_long_texts_that_differ_at_their_end_are_not_equal():
    assert similarity(["x" * 30_000], ["x" * 29_999 + "y"])[0] < 1


def test_what_was_changed():
    edit = describe_edit("send it to the billing team", "send it to the refunds team today")
    assert edit.replaced == pytest.approx(1 / 7)
    assert edit.inserted == pytest.approx(1 / 7)
    assert edit.deleted == 0
    assert edit.length_ratio > 1
