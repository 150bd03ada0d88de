"""The score is between −1 and 1, behaviour alone convinces nobody, and silence is silence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneloop.artefacts.events import EXPLICIT_SIGNALS
from tuneloop.config.data import SignalWeights
from tuneloop.curate.evidence import weigh
from tuneloop.curate.rows import FeedbackRow, Row

ANSWER = " ".join(["word"] * 40)  # ten seconds of reading


def weighed(*signals, answer=ANSWER, weights=None):
    row = Row(
        tenant="t", id="i", ts=0.0, event_ts="", session_id=None, subject_key=None, system=None,
        messages=[{"role": "user", "content": "q"}], answer=answer, outcome="ok", role="primary",
        shown=True, consent=None,
    )  # fmt: skip
    for n, (signal, value, *kind) in enumerate(signals):
        actor = kind[0] if kind else "user"
        row.feedback.append(
            FeedbackRow("t", f"f{n}", n, "interaction", "i", actor, None, signal, None, value,
                        "set")
        )  # fmt: skip
    weigh([row], weights or SignalWeights())
    return row


@pytest.mark.parametrize(
    ("signal", "value", "score"),
    [
        ("thumb", True, 1), ("thumb", "up", 1), ("thumb", 1, 1), ("thumb", -1, -1),
        ("thumb", False, -1), ("thumb", "down", -1), ("stars", 5, 1), ("stars", 4, 0.5),
        ("stars", 3, 0), ("stars", 1, -1), ("score", 0.75, 0.5), ("correction", "better", -1),
        ("correction", f" {ANSWER} ", 1), ("comment", "hm", 0), ("copy", None, 0.3),
        ("copy", False, 0), ("regenerate", None, -0.4), ("reformulation", None, -0.3),
        ("abandonment", True, -0.2), ("dwell", 0, -0.1), ("dwell", 20, 0.1), ("dwell", 9_999, 0),
        ("preference", {"winner": "i", "loser": "j", "outcome": "both_bad"}, -1),
        ("preference", {"winner": "i", "loser": "j", "outcome": "better"}, 0),
    ],
)  # fmt: skip
def test_one_signal(signal, value, score):
    assert weighed((signal, value)).score == pytest.approx(score, abs=0.02)


values = {
    "thumb": st.booleans(), "stars": st.floats(1, 5), "score": st.floats(0, 1),
    "correction": st.text(min_size=1), "comment": st.text(min_size=1),
    "dwell": st.floats(0, 1e9), "copy": st.none(), "regenerate": st.booleans(),
    "reformulation": st.none(), "abandonment": st.none(),
}  # fmt: skip
signal = st.sampled_from(sorted(values)).flatmap(lambda s: st.tuples(st.just(s), values[s]))
weight = st.floats(0, 1)


@given(st.lists(signal, max_size=6), st.builds(SignalWeights, thumb=weight, stars=weight,
       reformulation=weight, regenerate=weight, abandonment=weight, copy=weight))  # fmt: skip
def test_bounds(signals, weights):
    row = weighed(*signals, weights=weights)
    assert -1 <= row.score <= 1
    assert 0 <= row.weight <= 1
    if not {name for name, _ in signals} & EXPLICIT_SIGNALS:
        assert abs(row.score) < 0.5


def test_dwell_is_measured_against_the_answers_length():
    assert weighed(("dwell", 8), answer="yes").score == 0  # 30 times its reading time: idle
    assert weighed(("dwell", 8), answer=ANSWER * 10).score < 0
    assert weighed(("dwell", 18), answer=ANSWER).score > 0


def test_a_reviewers_correction_comes_first_then_the_latest():
    row = weighed(("correction", "a"), ("correction", "b", "reviewer"), ("correction", "c"))
    assert row.correction == "b"
    assert weighed(("correction", "a"), ("correction", "c")).correction == "c"
    assert weighed(("correction", ANSWER)).correction is None
