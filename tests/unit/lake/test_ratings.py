"""What a number or a word means depends on its name and its scale."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneloop.artefacts.events import Feedback
from tuneloop.lake.format import UnfitError
from tuneloop.lake.ratings import actor_of, judged, opinion, revision, together


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [
        (True, None, ("thumb", True)),
        (False, "helpful", ("thumb", False)),
        ("thumbs_up", None, ("thumb", True)),
        ("👍🏽", None, ("thumb", True)),
        ("👎", None, ("thumb", False)),
        ("Not relevant", None, ("thumb", False)),
        ("incorrect", "correctness", ("thumb", False)),
        (True, "hallucination", ("thumb", False)),
        ("yes", "is_toxic", ("thumb", False)),
        ("no", "toxicity", ("thumb", True)),
        ("toxic", "toxicity", ("thumb", False)),
        ("factual", "hallucination", ("thumb", True)),
        ("hallucinated", "hallucination", ("thumb", False)),
        (0.25, None, ("score", 0.25)),
        ("0.25", None, ("score", 0.25)),
        (0.9, "toxicity", ("score", pytest.approx(0.1))),
        ("partially there", "coverage", ("comment", "partially there")),
    ],
)
def test_judgements(value, name, expected):
    said = judged(value, name=name)
    assert (said["signal"], said["value"]) == expected


def test_a_stated_scale_is_used_and_an_unstated_one_is_marked():
    assert judged(4, scale=(1, 5)) == {"signal": "score", "value": 4.0, "scale": [1.0, 5.0]}
    assert judged(1, scale=(1, 10))["scale"] == [1.0, 10.0]
    assert judged(4)["metadata"] == {"scale": "assumed"}
    assert [judged(n)["scale"] for n in (-0.5, 3, 7, 60)] == [[-1, 1], [1, 5], [0, 10], [0, 100]]
    assert "scale" not in judged(0.5)
    assert judged(2, name="error", scale=(1, 5))["value"] == 4  # turned round within its scale


@pytest.mark.parametrize(
    ("value", "more", "reason"),
    [
        (None, {}, "no_value"),
        ("  ", {}, "no_value"),
        (7, {"scale": (1, 5)}, "out_of_scale"),
        (4_000, {}, "out_of_scale"),
        (1.2, {"name": "latency_ms"}, "not_a_judgement"),
        (12, {"name": "completion_tokens"}, "not_a_judgement"),
        (3, {"name": "char_count"}, "not_a_judgement"),
    ],
)
def test_what_cannot_be_used_is_refused(value, more, reason):
    with pytest.raises(UnfitError) as refused:
        judged(value, **more)
    assert refused.value.reason == reason


@given(
    st.one_of(st.booleans(), st.floats(), st.integers(), st.text(max_size=20), st.none()),
    st.one_of(st.none(), st.text(max_size=20), st.sampled_from(["toxicity", "quality"])),
    st.one_of(st.none(), st.tuples(st.integers(-5, 5), st.integers(-5, 5))),
)
def test_any_judgement_is_a_valid_event_or_refused(value, name, scale):
    try:
        event = opinion("i", judged(value, name=name, scale=scale), id="f", dimension=name)
    except UnfitError:
        return
    Feedback.model_validate(event)


def test_who_judged():
    kinds = ("HUMAN", "LLM_JUDGE", "CODE", "ANNOTATION", "EVAL", "API", "app", "model", None)
    assert [actor_of(kind)["kind"] for kind in kinds] == [
        *("user", "judge", "rule", "reviewer", "judge", "user", "reviewer", "judge", "user")
    ]
    assert actor_of("human", 7) == {"kind": "user", "id": "7"}


def test_a_change_is_a_later_revision():
    made = "2024-05-29 13:46:19.963000"
    assert revision(made, made) == {}
    assert revision(made, "2024-05-29 13:46:20.000000") == {"revision": 1}
    assert revision(1_717_236_000, 1_717_236_065) == {"revision": 65}
    assert revision(made, None) == {}


def test_one_unreadable_piece_does_not_cost_the_record():
    def read(piece):
        if piece == "bad":
            raise UnfitError("no_value", "empty")
        return [{"id": piece}]

    events = together((["a"], read), (["bad", "b"], read))
    assert [event["id"] for event in events] == ["a", "b"]
    assert events[0]["extra"]["unread"] == ["no_value: empty"]
    with pytest.raises(UnfitError, match="no_value"):
        together((["bad"], read))
    assert together(([], read)) == []
