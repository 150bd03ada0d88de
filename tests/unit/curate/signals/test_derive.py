"""What people did next says something only by the documented rules."""

import numpy as np
import pytest

from tuneloop.config.signals import DeriveConfig
from tuneloop.curate.columns import SIGNALS
from tuneloop.curate.signals.derive import derive
from tuneloop.curate.signals.opinion import opinions

RESET = "How do I reset my password?"
REWORDED = "How can I reset the password of my account"
OTHER = "Where is your office in Berlin?"
LATER = 100_000.0  # long after any session is over


def derived(hand, texts, rows, pieces=(), encode=None, **knobs):
    """Return {(signal, row): opinion} of what is derived."""
    rows = [{"session": "s", "subject": "u", "words": 10, **row} for row in rows]
    rows.append({"session": "end", "ts": LATER, "question": "the log goes on"})
    interactions = hand.interactions(rows)
    feedback = hand.feedback(list(pieces))
    made = derive(interactions, feedback, texts, DeriveConfig(**knobs), encode=encode)
    assert (np.diff(made.ts) >= 0).all()
    which = np.flatnonzero(made.derived)
    for k in which:
        name = SIGNALS[made.signal[k]]
        assert made.id[int(k)].as_py() == f"derived:{name}:i{made.row[k]:05d}"
        assert made.account_names[int(made.account[k])].as_py() == "u"
    return {(SIGNALS[made.signal[k]], int(made.row[k])): made.opinion[k] for k in which}


def two(question, gap=60.0, **first):
    return [{"ts": 0.0, "question": RESET, **first}, {"ts": gap, "question": question}]


def test_other_words_for_the_same_question(hand, texts):
    found = derived(hand, texts, two(REWORDED))
    assert ("reformulation", 0) in found
    assert -1 <= found["reformulation", 0] <= -0.45


@pytest.mark.parametrize(
    "question", [OTHER, f"Thanks! {REWORDED}", "And what if I reset my password twice?"]
)
def test_another_question_or_a_follow_up_is_none(hand, texts, question):
    assert not derived(hand, texts, two(question))


def test_meaning_finds_what_words_do_not(hand, texts):
    """An encoder for which everything about lost things is alike."""

    def encode(some):
        return np.array([[1, 0] if "lost" in t or "gone" in t else [0, 1] for t in some], "f4")

    rows = [{"ts": 0.0, "question": "My parcel was lost"}, {"ts": 9.0, "question": "It is gone!"}]
    assert ("reformulation", 0) in derived(hand, texts, rows, encode=encode)
    assert not derived(hand, texts, rows)
    assert not derived(hand, texts, rows, encode=encode, reformulation_max_encoded=1)
    assert not derived(hand, texts, two(f"Thanks, {OTHER}"), encode=encode)


def test_confidence_falls_with_time_and_with_unlikeness(hand, texts):
    soon = derived(hand, texts, two(REWORDED, 5))["reformulation", 0]
    late = derived(hand, texts, two(REWORDED, 590))["reformulation", 0]
    closer = derived(hand, texts, two("reset my password, how?", 5))["reformulation", 0]
    assert closer < soon < late < 0
    assert late == pytest.approx(soon / 2, rel=0.03)
    assert not derived(hand, texts, two(REWORDED, 601))


def test_the_same_words_again_ask_for_another_answer(hand, texts):
    assert set(derived(hand, texts, two(RESET))) == {("regenerate", 0), ("abandonment", 1)}
    assert not derived(hand, texts, two(RESET, 1.0))  # a client that tried again
    assert not derived(hand, texts, two(RESET, 601))


def test_only_within_a_session(hand, texts):
    rows = two(RESET)
    rows[1]["session"] = "another"
    assert not derived(hand, texts, rows)
    assert not derived(hand, texts, [{**row, "session": None} for row in two(RESET)])


def test_the_next_turn_is_by_time_then_turn_not_by_place(hand, texts):
    first, second = two(REWORDED)
    assert ("reformulation", 1) in derived(hand, texts, [second, first])
    same_time = [{"ts": 0.0, "turn": 1, "question": RESET}, {"ts": 0.0, "turn": 0,
                 "question": REWORDED}]  # fmt: skip
    assert ("reformulation", 1) in derived(hand, texts, same_time)


def test_leaving_after_one_question_is_no_sign(hand, texts):
    assert not derived(hand, texts, [{"ts": 0.0, "question": RESET}])


def test_leaving_after_asking_twice_is_one(hand, texts):
    assert derived(hand, texts, two(REWORDED))["abandonment", 1] == pytest.approx(-0.6)
    # Unless they asked on, said something, thanked, or the log ends too soon.
    asked_on = [*two(REWORDED), {"ts": 90.0, "question": OTHER}]
    assert ("abandonment", 1) not in derived(hand, texts, asked_on)
    assert ("abandonment", 1) not in derived(hand, texts, two(REWORDED), [(1, "copy", 1)])
    assert ("abandonment", 1) not in derived(hand, texts, two(REWORDED + ", thanks"))
    still_open = {"session_timeout_s": LATER}
    assert ("abandonment", 1) not in derived(hand, texts, two(REWORDED), **still_open)


def test_a_pause_too_short_to_read_proves_something_a_long_one_nothing(hand, texts):
    def after(gap, words=238):
        return derived(hand, texts, two(OTHER, gap, words=words)).get(("dwell", 0))

    assert after(15) == pytest.approx(-0.75)
    assert after(31) is None
    assert after(500) is None
    assert after(1, words=30) is None


def test_what_was_logged_is_not_derived_again(hand, texts):
    for signal, rows in (("regenerate", two(RESET)), ("reformulation", two(REWORDED))):
        found = derived(hand, texts, rows, [(0, signal, 1, {"who": "u"})])
        assert (signal, 0) not in found
        assert (signal, 0) in derived(hand, texts, rows, [(1, signal, 1, {"who": "u"})])


@pytest.mark.parametrize("signal", ["regenerate", "reformulation", "abandonment", "dwell"])
def test_each_can_be_switched_off(hand, texts, signal):
    rows = [*two(REWORDED, 5, words=300), {"ts": 30.0, "question": REWORDED}]
    assert signal in {name for name, _ in derived(hand, texts, rows)}
    assert signal not in {name for name, _ in derived(hand, texts, rows, **{signal: False})}


def test_what_is_derived_keeps_its_opinion_and_its_order(hand, texts):
    rows = hand.interactions([{"session": "s", "ts": t, "question": RESET} for t in (0, 50)])
    pieces = hand.feedback([(0, "thumb", -1, {"ts": 50.0}), (1, "thumb", 1, {"ts": 50.0})])
    pieces.opinion = opinions(rows, pieces)
    made = derive(rows, pieces, texts, DeriveConfig())
    assert made.id.to_pylist() == ["derived:regenerate:i00000", "f00000", "f00001"]
    assert opinions(rows, made).tolist() == [-0.9, -1, 1]


def test_a_long_question_is_compared_by_its_ends(hand, texts):
    pasted = "some line of a long document " * 200
    rows = [{"ts": 0.0, "question": f"{pasted} summarise the main risks"},
            {"ts": 9.0, "question": f"{pasted} translate it to French now"}]  # fmt: skip
    found = derived(hand, texts, rows)
    assert ("reformulation", 0) in found  # the pasted part is most of either: a known limit
