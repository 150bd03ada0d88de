"""The score is between −1 and 1, behaviour alone convinces nobody, people count by reliability."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuneloop.artefacts.events import EXPLICIT_SIGNALS
from tuneloop.config.signals import PeopleConfig, SignalsConfig
from tuneloop.curate.signals.evidence import evidence
from tuneloop.curate.signals.opinion import opinions

CONVINCING = EXPLICIT_SIGNALS - {"comment", "preference"}


def weighed(hand, texts, pieces, *, rows=None, comparisons=(), **knobs):
    rows = hand.interactions(rows or [{}])
    feedback = hand.feedback(list(pieces))
    feedback.opinion = opinions(rows, feedback, texts)
    return evidence(rows, feedback, hand.preferences(comparisons), SignalsConfig(**knobs))


@pytest.mark.parametrize(
    ("signal", "value", "score"),
    [
        ("thumb", 1, 1), ("stars", 4, 0.5), ("stars", 3, 0), ("score", 0.75, 0.5),
        ("correction", 0.1, -1), ("correction", 1, 1), ("comment", "hm", 0),
        ("comment", "useless", -0.2), ("copy", 1, 0.3), ("copy", 0, 0), ("regenerate", 1, -0.4),
        ("reformulation", 1, -0.3), ("abandonment", 1, -0.2), ("dwell", 0, -0.1),
        ("dwell", 25, 0.1), ("dwell", 9_999, 0), ("edit", 1, 0.3),
    ],
)  # fmt: skip
def test_one_signal(hand, texts, signal, value, score):
    found = weighed(hand, texts, [(0, signal, value)])
    assert found.score[0] == pytest.approx(score, abs=0.02)


VALUES = {
    "thumb": st.sampled_from([-1, 1]), "stars": st.floats(1, 5), "score": st.floats(0, 1),
    "correction": st.floats(0, 1), "comment": st.sampled_from(["thanks", "wrong", "hm"]),
    "dwell": st.floats(0, 1e9), "copy": st.just(1), "regenerate": st.sampled_from([0, 1]),
    "reformulation": st.just(1), "abandonment": st.just(1), "edit": st.floats(0, 1),
}  # fmt: skip
PIECE = st.sampled_from(sorted(VALUES)).flatmap(
    lambda s: st.tuples(
        st.integers(0, 2),
        st.just(s),
        VALUES[s],
        st.fixed_dictionaries({"trust": st.floats(0, 1), "who": st.sampled_from("abc")}),
    )
)


@given(st.lists(PIECE, max_size=12))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_bounds(hand, texts, pieces):
    found = weighed(hand, texts, pieces, rows=[{}, {}, {}])
    assert (np.abs(found.score) <= 1).all()
    assert ((found.weight >= 0) & (found.weight <= 1)).all()
    assert ((found.feedback_weight >= 0) & (found.feedback_weight <= 1)).all()
    for row in range(3):
        if not {s for r, s, *_ in pieces if r == row} & CONVINCING:
            assert abs(found.score[row]) < 0.5


def test_what_no_gate_trusts_counts_for_nothing(hand, texts):
    pieces = [(0, "thumb", 1, {"trust": 0.0}), (0, "thumb", -1, {"trust": 1.0})]
    found = weighed(hand, texts, pieces)
    assert found.score[0] == -1
    assert found.feedback_weight.tolist() == [0, 1]


def test_verbosity_is_no_quality(hand, texts):
    pieces = [(0, "score", 1.0, {"dimension": "Verbosity"}),
              (0, "score", 0.25, {"dimension": "helpfulness"})]  # fmt: skip
    assert weighed(hand, texts, pieces).score[0] == -0.5
    assert weighed(hand, texts, pieces, dimensions={}).score[0] == 0.25


def test_a_reviewers_correction_comes_first_then_the_latest(hand, texts):
    def in_force(*pieces):
        return weighed(hand, texts, pieces).correction[0]

    reviewer = {"actor": "reviewer"}
    assert in_force((0, "correction", 0.1), (0, "correction", 0.2, reviewer),
                    (0, "correction", 0.3)) == 1  # fmt: skip
    assert in_force((0, "correction", 0.1), (0, "correction", 0.3)) == 1
    assert in_force((0, "correction", 0.1), (0, "correction", 1.0)) == -1
    assert in_force((0, "correction", 0.1), (0, "correction", 0.2, {"trust": 0})) == 0
    assert in_force((0, "thumb", 1)) == -1


def test_both_bad_is_a_thumb_down_on_each(hand, texts):
    found = weighed(hand, texts, [(2, "thumb", 1)], rows=[{}, {}, {}], comparisons=[(1, 0, 0, 2)])
    assert found.score.tolist() == [-1, -1, 1]
    assert found.pair_weight.tolist() == [1]


# -- several people on one pair ------------------------------------------------------
def test_one_person_and_pair_is_taken_as_said(hand, texts):
    pieces = [(0, "thumb", 1)]
    said = [(0, 1, 0, 1), (3, 2, 0, 1), (4, 5, 0, 0)]
    found = weighed(hand, texts, pieces, rows=[{}] * 6, comparisons=said)
    assert found.pairs.outcome.tolist() == [1, -1, 0]
    assert list(zip(found.pairs.first, found.pairs.second, strict=True)) == [(0, 1), (2, 3), (4, 5)]
    assert found.pair_weight.tolist() == [1, 1, 1]
    assert found.pairs.of.tolist() == [0, 1, 2]


def test_several_people_and_a_pair_are_one(hand, texts):
    """Two who are right nine times in ten, and one who guesses."""
    rng = np.random.default_rng(0)
    said, truth = [], []
    for pair in range(300):
        better = rng.choice([1, -1])
        truth.append(better)
        for who, right in enumerate((0.92, 0.92, 0.5)):
            vote = better if rng.random() < right else -better
            a, b = (2 * pair, 2 * pair + 1)
            turned = rng.random() < 0.5  # shown in either order
            said.append((b, a, who, -vote) if turned else (a, b, who, vote))
    pieces = [(0, "thumb", 1, {"who": who}) for who in "abc"]
    found = weighed(hand, texts, pieces, rows=[{}] * 600, comparisons=said)
    right = found.pairs.outcome == np.array(truth)
    majority = np.sign(np.bincount(np.repeat(np.arange(300), 3),
                                   [v if a < b else -v for a, b, _, v in said]))  # fmt: skip
    assert right.mean() > (majority == np.array(truth)).mean()
    assert found.pair_weight[right].mean() > found.pair_weight[~right].mean() + 0.2
    guesser = found.preference_weight[2::3]
    assert guesser.max() < 0.25
    assert found.preference_weight[::3].min() > 0.75
    kappas = found.report["people"]["comparisons"]["kappas"]
    assert [(row["a"], row["b"]) for row in kappas] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert kappas[0]["kappa"] > 0.6 > kappas[1]["kappa"]


def test_a_person_without_shared_items_is_believed(hand, texts):
    pieces = [(r, "thumb", 1, {"who": f"u{r}"}) for r in range(5)]
    found = weighed(hand, texts, pieces, rows=[{}] * 5)
    assert (found.feedback_weight == 1).all()


def test_users_are_counted_not_named(hand, texts):
    pieces = [(0, "thumb", 1, {"who": "user-a"}), (0, "thumb", -1, {"who": "user-b"})]
    assert "user-" not in str(weighed(hand, texts, pieces).report)


def test_nobody_has_more_than_their_share(hand, texts):
    pieces = [(r, "thumb", 1, {"who": "loud"}) for r in range(900)]
    pieces += [(900 + r, "thumb", -1, {"who": f"u{r:03d}"}) for r in range(300)]
    found = weighed(hand, texts, pieces, rows=[{}] * 1200)
    loud = found.feedback_weight[:900]
    assert loud.sum() == pytest.approx(50, rel=0.01)
    assert (found.feedback_weight[900:] == 1).all()
    assert found.report["people"]["n_cut_to_share"] == 1
    free = weighed(hand, texts, pieces, rows=[{}] * 1200, people=PeopleConfig(enabled=False))
    assert (free.feedback_weight == 1).all()


def test_a_team_of_two_is_heard_in_full(hand, texts):
    pieces = [(r, "thumb", 1, {"who": "ab"[r % 2]}) for r in range(1000)]
    found = weighed(hand, texts, pieces, rows=[{}] * 1000)
    assert (found.feedback_weight == 1).all()


def test_reviewers_are_not_cut(hand, texts):
    pieces = [(r, "thumb", 1, {"who": "r", "actor": "reviewer"}) for r in range(500)]
    pieces += [(500 + r, "thumb", 1, {"who": f"u{r}"}) for r in range(100)]
    found = weighed(hand, texts, pieces, rows=[{}] * 600)
    assert (found.feedback_weight == 1).all()


# -- what behaviour is worth ---------------------------------------------------------
def behaviour(rng, n, precision, base):
    """Rows rated by a thumb of which half were also copied, with the precision asked for."""
    pieces = []
    for row in range(n):
        copied = rng.random() < 0.5
        share = precision if copied else 2 * base - precision
        pieces.append((row, "thumb", 1 if rng.random() < share else -1, {"who": f"u{row}"}))
        if copied:
            pieces.append((row, "copy", 1, {"who": f"u{row}"}))
    return pieces


def signals_of(found):
    return {(row["signal"], row["says"]): row for row in found.report["signals"]}


def test_a_precise_signal_keeps_its_weight_and_an_empty_one_loses_it(hand, texts):
    rng = np.random.default_rng(1)
    rows = [{}] * 1500
    good = weighed(hand, texts, behaviour(rng, 1500, 0.95, 0.6), rows=rows)
    row = signals_of(good)["copy", "good"]
    assert row["status"] == "measured"
    assert row["weight"] == 0.3  # never above what was configured
    assert row["low"] < 0.95 < row["high"]
    empty = weighed(hand, texts, behaviour(rng, 1500, 0.6, 0.6), rows=rows)
    row = signals_of(empty)["copy", "good"]
    assert row["weight"] < 0.07
    assert row["lift"] == pytest.approx(1.0, abs=0.1)


def test_with_little_overlap_the_configured_weight_stays_and_that_is_said(hand, texts):
    pieces = [(0, "copy", 1), (0, "thumb", -1), (1, "copy", 1)]
    row = signals_of(weighed(hand, texts, pieces, rows=[{}, {}]))["copy", "good"]
    assert (row["status"], row["weight"], row["n"], row["n_rated"]) == ("prior", 0.3, 2, 1)


def test_a_judge_is_measured_against_people(hand, texts):
    judge = {"actor": "judge", "who": "gpt"}
    pieces = []
    for row in range(400):
        truth = 1 if row % 2 else -1
        pieces.append((row, "thumb", truth, {"who": f"u{row}"}))
        pieces.append((row, "score", float(row % 4 < 2), judge))
    found = weighed(hand, texts, pieces, rows=[{}] * 400, people=PeopleConfig(enabled=False))
    assert {row["source"] for row in found.report["signals"]} == {"judge"}
    assert all(row["weight"] < 0.15 for row in found.report["signals"])
    assert (np.sign(found.score) == [1 if row % 2 else -1 for row in range(400)]).all()


def test_alone_a_judge_is_believed(hand, texts):
    judge = {"actor": "judge", "who": "gpt"}
    assert weighed(hand, texts, [(0, "score", 1.0, judge)]).score[0] == 1


def test_the_report_is_plain_json_and_the_same_each_time(hand, texts):
    from tuneloop.artefacts.digest import canonical_json

    rows = [{"system": f"m{r % 2}", "subject": f"s{r}"} for r in range(200)]
    pieces = behaviour(np.random.default_rng(2), 200, 0.9, 0.6)
    one = canonical_json(weighed(hand, texts, pieces, rows=rows).report)
    assert one == canonical_json(weighed(hand, texts, pieces, rows=rows).report)
    assert "NaN" not in one


def test_nothing_at_all(hand, texts):
    found = weighed(hand, texts, [])
    assert found.score.tolist() == [0]
    assert found.report["signals"] == []
    assert found.report["approval"][0]["raw"]["estimate"] is None


def test_how_accounts_are_numbered_means_nothing(hand, texts):
    from dataclasses import replace

    rng = np.random.default_rng(3)
    rows = hand.interactions([{"subject": f"s{r % 30}"} for r in range(200)])
    pieces = [(int(rng.integers(200)), "thumb", int(rng.choice([-1, 1])),
               {"who": f"u{rng.integers(40):02d}"}) for _ in range(900)]  # fmt: skip
    feedback = hand.feedback(pieces)
    feedback.opinion = opinions(rows, feedback)
    n = len(feedback.account_names)
    new = rng.permutation(n)
    turned = replace(feedback, account=new[feedback.account].astype(np.int32),
                     account_names=feedback.account_names.take(np.argsort(new)))  # fmt: skip
    none = hand.preferences()
    one, other = (evidence(rows, f, none, SignalsConfig()) for f in (feedback, turned))
    assert (one.score == other.score).all()
    assert (one.feedback_weight == other.feedback_weight).all()
    assert one.report == other.report
