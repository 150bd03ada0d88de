"""What promotes, holds and rejects, and the properties every verdict must keep."""

import json
import random

import numpy as np
import pytest
from evaluations import evidence
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.config.decide import DecideConfig
from tuneloop.decide.stage import weigh
from tuneloop.errors import DecisionError

BETTER = [(False, True)] * 40 + [(True, True)] * 30 + [(True, False)] * 5 + [(False, False)] * 25
TIED = [(False, True)] * 10 + [(True, False)] * 10 + [(True, True)] * 80


def verdict(made, **config):
    return weigh(made, DecideConfig(n_bootstrap=500, **config), seed=3, lineage={"evaluation": "e"})


def gate(record, name):
    return next(g for g in record.gates if g.name == name)


def test_a_clear_gain_promotes_and_says_by_how_much():
    record = verdict(evidence(BETTER))
    assert record.verdict == "PROMOTE"
    p = record.primary
    assert (p.estimate, p.n, p.wins, p.losses, p.ties) == (0.35, 100, 40, 5, 55)
    assert (p.candidate_rate, p.champion_rate, p.n_missing) == (0.7, 0.35, 0)
    assert p.ci_low > 0
    assert p.confidence == 0.9
    assert "70.0 %" in record.reasons[1] or "70.0 %" in record.reasons[0]


def test_a_clear_loss_rejects():
    record = verdict(evidence([(b, a) for a, b in BETTER]))
    assert record.verdict == "REJECT"
    assert "worse" in record.reasons[0]


def test_a_tie_holds_and_names_what_is_missing():
    record = verdict(evidence(TIED))
    assert record.verdict == "HOLD"
    assert record.reasons[0].startswith("Not proven better")
    assert record.primary.mde == pytest.approx(2.486 * np.sqrt(0.2 / 100), abs=1e-3)


def test_a_gain_too_small_to_prove_says_how_many_prompts_it_needs():
    record = verdict(evidence([(False, True)] * 9 + [(True, False)] * 5 + [(True, True)] * 60))
    assert record.verdict == "HOLD"
    assert record.primary.n_needed > 74
    assert str(record.primary.n_needed) in record.reasons[0]


def test_two_systems_that_never_differ_hold_and_the_decision_says_so():
    record = verdict(evidence([(True, True)] * 30 + [(False, False)] * 30))
    assert record.verdict == "HOLD"
    assert "do not differ on any of the 60" in record.reasons[0]
    assert record.primary.mde is None


def test_the_required_improvement_moves_the_bar():
    assert verdict(evidence(BETTER), min_improvement=0.2).verdict == "PROMOTE"
    assert verdict(evidence(BETTER), min_improvement=0.3).verdict == "HOLD"


def test_the_same_system_is_never_promoted():
    record = verdict(evidence(BETTER, same=True))
    assert record.verdict == "HOLD"
    assert "same system" in record.reasons[0]


def test_missing_answers_are_neither_failures_nor_passes():
    record = verdict(evidence([*BETTER, (True, None), (None, False)]), max_missing_fraction=0.05)
    p = record.primary
    assert (p.n, p.n_missing, p.estimate) == (100, 2, 0.35)
    assert p.bounds.estimate_low == pytest.approx(33 / 102, abs=1e-6)
    assert p.bounds.estimate_high == pytest.approx(35 / 102, abs=1e-6)
    assert p.bounds.ci_low < p.ci_low


def test_more_missing_than_allowed_holds_first():
    record = verdict(evidence(BETTER + [(True, None)] * 10))
    assert record.verdict == "HOLD"
    assert "lack an answer" in record.reasons[0]
    assert gate(record, "missing_answers").value == pytest.approx(10 / 110, abs=1e-5)


def test_missing_answers_that_could_turn_the_result_hold():
    pairs = [(False, True)] * 12 + [(True, False)] * 3 + [(True, True)] * 60 + [(True, None)] * 6
    assert verdict(evidence(pairs[:-6])).verdict == "PROMOTE"
    assert verdict(evidence(pairs), max_missing_fraction=0.2).verdict == "HOLD"


def test_nothing_to_compare_holds_with_a_reason_and_no_number():
    record = verdict(evidence([(None, None)] * 5), max_missing_fraction=1.0)
    assert record.verdict == "HOLD"
    assert record.primary.status == "missing"
    assert record.primary.estimate is None
    assert record.primary.reason


def test_an_unknown_metric_is_an_error_that_names_the_known():
    with pytest.raises(DecisionError) as caught:
        verdict(evidence(BETTER), metric="intnet")
    assert "intent" in caught.value.hint


def test_a_hard_failure_rejects_a_better_candidate():
    made = evidence(BETTER, hard=[True] * 99 + [False])
    record = verdict(made)
    assert record.verdict == "REJECT"
    assert "no_secrets" in record.reasons[0]
    assert verdict(made, max_hard_failures=1).verdict == "PROMOTE"


def test_no_hard_failure_still_states_what_the_rate_could_be():
    made = evidence(BETTER, hard=[True] * 100)
    assert gate(verdict(made), "hard_checks").detail.endswith("as high as 3 %.")
    families = [f"f{i // 4}" for i in range(100)]
    made = evidence(BETTER, hard=[True] * 100, families=families)
    assert gate(verdict(made), "hard_checks").detail.endswith("as high as 11 %.")


def test_a_hard_check_that_was_not_run_is_unproven():
    record = verdict(evidence(BETTER, hard=[True] * 99 + [None]))
    assert gate(record, "hard_checks").status == "unproven"
    assert record.verdict == "HOLD"


def slices_of(n_small, rest):
    return [["billing"]] * n_small + [["rest"]] * rest


def test_a_protected_slice_that_got_worse_rejects_though_the_average_is_better():
    pairs = [(True, False)] * 20 + [(True, True)] * 5 + [(False, True)] * 75
    made = evidence(pairs, slices=slices_of(25, 75))
    assert verdict(made).verdict == "PROMOTE"
    record = verdict(made, protected_slices=["billing"])
    assert record.verdict == "REJECT"
    assert "billing" in record.reasons[0]


def test_a_protected_slice_with_too_few_or_no_prompts_is_unproven():
    made = evidence(BETTER, slices=slices_of(9, 91))
    for name in ("billing", "nowhere"):
        record = verdict(made, protected_slices=[name])
        assert record.verdict == "HOLD"
        assert name in record.reasons[0]
        part = next(s for s in record.slices if s.name == name)
        assert part.status == "unproven"


def test_an_unprotected_slice_is_reported_and_decides_nothing():
    pairs = [(True, False)] * 20 + [(False, True)] * 80
    record = verdict(evidence(pairs, slices=slices_of(20, 80)))
    by_name = {s.name: s for s in record.slices}
    assert record.verdict == "PROMOTE"
    assert by_name["billing"].status == "reported"
    assert by_name["billing"].estimate == -1
    assert not by_name["billing"].improved
    assert by_name["rest"].improved


def test_graded_metrics_are_compared_by_their_values():
    rng = random.Random(1)
    pairs = [(0.4 + 0.2 * rng.random(), 0.55 + 0.2 * rng.random()) for _ in range(80)]
    record = verdict(evidence(pairs, metric="token_f1"), metric="token_f1")
    assert record.verdict == "PROMOTE"
    assert "bootstrap-t" in record.primary.method


# -- the judge -----------------------------------------------------------------------
HELD = [{"name": "identical_pair", "passed": True}, {"name": "injection", "passed": True}]
LIKED = dict.fromkeys(range(60), (0.8, 0.9))


def judged(role="deciding", canaries=HELD, scores=LIKED, **config):
    made = evidence(BETTER, judge={"role": role, "canaries": canaries}, scores=scores)
    return verdict(made, **config)


def test_a_deciding_judge_that_holds_its_canaries_agrees_to_a_promotion():
    record = judged()
    assert record.verdict == "PROMOTE"
    assert record.judge.decided
    assert record.judge.win_rate.estimate == pytest.approx(0.35)
    assert record.judge.first_position_rate == pytest.approx((0.2 + 0.9) / 2)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"canaries": [*HELD, {"name": "null_answer", "passed": False}]}, "judge_canaries"),
        ({"canaries": [{"name": "injection", "passed": None}]}, "judge_canaries"),
        ({"canaries": []}, "judge_canaries"),
        ({"scores": dict.fromkeys(range(60), (0.3, 0.9))}, "judge_orders"),
        ({"scores": LIKED | dict.fromkeys(range(20), (None, 0.9))}, "judge_missing"),
        ({"scores": dict.fromkeys(range(60), (0.5, 0.5))}, "judge_win_rate"),
    ],
)
def test_a_deciding_judge_that_cannot_be_trusted_holds(change, name):
    record = judged(**change)
    assert record.verdict == "HOLD"
    assert gate(record, name).status in ("failed", "unproven")


def test_an_advisory_judge_decides_nothing_and_the_decision_says_so():
    record = judged(role="advisory", canaries=[{"name": "injection", "passed": False}],
                    scores=dict.fromkeys(range(60), (0.1, 0.1)))  # fmt: skip
    assert record.verdict == "PROMOTE"
    assert not record.judge.decided
    assert any("advisory" in reason for reason in record.reasons)
    assert record.judge.canaries == {"injection": "failed"}


def test_the_judge_as_the_metric_collapses_its_orders_first():
    record = judged(metric="judge")
    assert record.primary.n == 60
    assert record.primary.estimate == pytest.approx(0.35)
    assert record.verdict == "PROMOTE"


def test_a_broken_judge_rejects_nobody():
    record = judged(metric="judge", scores=dict.fromkeys(range(60), (0.1, 0.1)),
                    canaries=[{"name": "injection", "passed": False}])  # fmt: skip
    assert record.verdict == "HOLD"
    assert "injection" in record.reasons[0]


# -- properties ----------------------------------------------------------------------
bits = st.tuples(st.booleans(), st.booleans())
fewer = settings(max_examples=60, deadline=None)


@fewer
@given(st.lists(bits, min_size=1, max_size=60))
def test_swapped_labels_mirror_the_numbers_and_never_promote_both(pairs):
    one, two = verdict(evidence(pairs)), verdict(evidence([(b, a) for a, b in pairs]))
    assert one.primary.estimate == -two.primary.estimate
    assert one.primary.ci_low == pytest.approx(-two.primary.ci_high, abs=1e-5)
    assert (one.primary.wins, one.primary.losses) == (two.primary.losses, two.primary.wins)
    if one.verdict == "PROMOTE":
        assert two.verdict == "REJECT"


MIRROR = {"PROMOTE": "REJECT", "HOLD": "HOLD", "REJECT": "PROMOTE"}
outcomes = st.sampled_from(
    [(True, True), (False, False), (True, None), (None, False), (None, None)]
)


@fewer
@given(
    st.integers(0, 40), st.integers(0, 40), st.lists(outcomes, max_size=12),
    st.sampled_from([0.0, 0.05, 1.0]),
)  # fmt: skip
def test_swapped_systems_swap_the_verdict_whatever_is_missing(won, lost, rest, cap):
    pairs = [(False, True)] * won + [(True, False)] * lost + rest or [(True, True)]
    one = verdict(evidence(pairs), max_missing_fraction=cap)
    two = verdict(evidence([(b, a) for a, b in pairs]), max_missing_fraction=cap)
    assert two.verdict == MIRROR[one.verdict]


@fewer
@given(
    st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.8, 1.0]), min_size=8, max_size=20),
    st.integers(0, 3), st.booleans(), st.booleans(),
)  # fmt: skip
def test_swapped_systems_swap_what_a_deciding_judge_says(shares, missing, holds, turns):
    def scores(swap):
        found = {}
        for i, share in enumerate(shares * 3):
            pair = (share, 1 - share) if turns else (share, share)
            found[i] = (1 - pair[1], 1 - pair[0]) if swap else pair
        return found | dict.fromkeys(range(missing), (None, None))

    one, two = (
        judged(metric="judge", scores=scores(swap), canaries=[{"name": "null", "passed": holds}])
        for swap in (False, True)
    )
    assert two.verdict == MIRROR[one.verdict]


def test_nobody_is_rejected_by_what_is_left_when_too_much_is_missing():
    pairs = [(True, False)] * 60 + [(True, None)] * 40
    assert verdict(evidence(pairs), max_missing_fraction=1).verdict == "REJECT"
    record = verdict(evidence(pairs))
    assert record.verdict == "HOLD"
    assert "40 of 100 prompts lack an answer" in record.reasons[0]
    assert record.next_action.kind == "fix_answers"
    assert verdict(evidence(pairs, hard=[False])).verdict == "REJECT"  # a rule that was broken was


def test_several_candidates_share_the_level():
    pairs = [(False, True)] * 14 + [(True, False)] * 4 + [(True, True)] * 40  # p = 0.015
    alone, of_five = verdict(evidence(pairs)), verdict(evidence(pairs), n_candidates=5)
    assert (alone.verdict, of_five.verdict) == ("PROMOTE", "HOLD")
    assert alone.primary.p_value == of_five.primary.p_value
    assert of_five.primary.confidence == pytest.approx(1 - 2 * 0.05 / 5)
    assert of_five.n_candidates == 5
    assert "p at most 0.01" in of_five.reasons[0]
    assert of_five.model_dump() == verdict(evidence(pairs), alpha=0.01).model_copy(
        update={"n_candidates": 5}
    ).model_dump()  # fmt: skip


@fewer
@given(st.lists(bits, min_size=2, max_size=40), st.integers(1, 5), st.data())
def test_duplicated_rows_in_a_family_change_nothing(pairs, copies, data):
    families = [f"f{i}" for i in range(len(pairs))]
    chosen = data.draw(st.integers(0, len(pairs) - 1))
    more = pairs + [pairs[chosen]] * copies
    again = verdict(evidence(more, families=families + [f"f{chosen}"] * copies))
    once = verdict(evidence(pairs, families=families))
    assert again.verdict == once.verdict
    for name in ("n", "estimate", "ci_low", "ci_high", "p_value"):
        assert getattr(again.primary, name) == getattr(once.primary, name)


@fewer
@given(st.lists(bits, min_size=5, max_size=50), st.integers(0, 49))
def test_one_more_win_never_weakens_the_case(pairs, position):
    position %= len(pairs)
    better = [*pairs[:position], (False, True), *pairs[position + 1 :]]
    before, after = verdict(evidence(pairs)), verdict(evidence(better))
    order = ["REJECT", "HOLD", "PROMOTE"]
    assert order.index(after.verdict) >= order.index(before.verdict)
    assert after.primary.p_value <= before.primary.p_value + 1e-9
    assert after.primary.ci_low >= before.primary.ci_low - 1e-6


def test_a_tie_is_promoted_no_more_often_than_alpha_even_within_families():
    rng, rounds, promoted, naive = np.random.default_rng(8), 300, 0, 0
    for _ in range(rounds):
        # 40 families of 4 prompts; a family leans one way for all its prompts.
        lean = rng.choice([-1, 0, 1], size=40, p=[0.3, 0.4, 0.3])
        flips = rng.random((40, 4)) < 0.6
        rows = (lean[:, None] * flips).ravel()
        pairs = [(r < 0, r > 0) for r in rows]
        families = [f"f{i // 4}" for i in range(160)]
        promoted += verdict(evidence(pairs, families=families)).verdict == "PROMOTE"
        naive += verdict(evidence(pairs)).verdict == "PROMOTE"
    assert promoted / rounds <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / rounds)
    assert naive > promoted  # what averaging within families is for


def test_the_record_holds_no_nan_and_replays_to_the_same_bytes():
    made = evidence([*BETTER, (None, True)], slices=slices_of(30, 71), scores=LIKED,
                    judge={"role": "advisory", "canaries": HELD})  # fmt: skip
    one = verdict(made, protected_slices=["billing"]).model_dump_json()
    assert one == verdict(made, protected_slices=["billing"]).model_dump_json()
    assert "NaN" not in one
    assert json.loads(one)["lineage"] == {"evaluation": "e"}
    assert json.loads(one)["outcomes"]["missing"] == ["p100"]
