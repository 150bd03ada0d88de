"""What judgments prove: figures, conditions, and the properties every verdict keeps."""

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged import both_orders, compared, single

from tuneloop.errors import ConfigError

RNG = np.random.default_rng(0)
BETTER = [1] * 70 + [0] * 30
SWAP = {"PROMOTE": "REJECT", "REJECT": "PROMOTE", "HOLD": "HOLD"}


def swapped(rows):
    """Return the same judgments with candidate and champion exchanged."""
    other = {"first": "second", "second": "first"}
    made = []
    for row in rows:
        new = dict(row)
        for name in ("preference", "human"):
            if new.get(name) is not None:
                new[name] = 1 - new[name]
        if new.get("candidate_position"):
            new["candidate_position"] = other[new["candidate_position"]]
        lengths = new.pop("champion_chars", None), new.pop("candidate_chars", None)
        new |= {"candidate_chars": lengths[0], "champion_chars": lengths[1]}
        made.append(new)
    return made


def condition(found, name):
    return next(c for c in found["conditions"] if c["name"] == name)


def graded(n, mean=0.6, seed=1, **fields):
    rng = np.random.default_rng(seed)
    return single([round(float(v), 4) for v in np.clip(rng.normal(mean, 0.2, n), 0, 1)], **fields)


# -- figures -------------------------------------------------------------------------
def test_single_rows_have_the_plain_standard_error():
    rows = graded(120)
    values = np.array([row["preference"] for row in rows])
    found = compared(rows)
    assert found["win_rate"] == pytest.approx(values.mean(), rel=1e-9)
    assert found["standard_error"] == pytest.approx(values.std(ddof=1) / np.sqrt(120), rel=1e-9)
    assert found["ci_low"] == pytest.approx(
        values.mean() - 1.98 * found["standard_error"], abs=4e-3
    )
    assert (found["n_prompts"], found["n_rows"], found["n_missing"]) == (120, 120, 0)
    assert found["confidence"] == 0.95


def test_yes_and_no_get_exact_tests():
    found = compared(single(BETTER))
    assert found["verdict"] == "PROMOTE"
    assert "McNemar" in found["method"]
    assert (found["wins"], found["ties"], found["losses"]) == (70, 0, 30)


def test_orders_judges_and_samples_are_averaged_before_anything_else():
    first = {"prompt_id": "a", "candidate_position": "first"}
    rows = [
        first | {"preference": 1, "judge": "x"},
        first | {"preference": 0, "judge": "x", "sample": 1},
        first | {"preference": 1, "judge": "y"},
        first | {"preference": 0, "judge": "x", "candidate_position": "second"},
        {"prompt_id": "b", "preference": 1},
    ]  # fmt: skip
    found = compared(rows)  # a: ((½ + 1) / 2 + 0) / 2
    assert found["win_rate"] == pytest.approx((0.375 + 1) / 2)
    assert (found["n_prompts"], found["n_rows"]) == (2, 5)


def test_more_rows_a_prompt_are_not_more_evidence():
    once = graded(60, mean=0.55)
    many = [row | {"sample": k} for row in once for k in range(6)]
    a, b = compared(once), compared(many)
    assert (a["standard_error"], a["ci_low"]) == (b["standard_error"], b["ci_low"])


def test_clusters_widen_the_error():
    rng = np.random.default_rng(3)
    rows = [
        {"prompt_id": f"{g}-{i}", "cluster": g, "preference": float(np.clip(0.55 + s, 0, 1))}
        for g, s in enumerate(rng.normal(0, 0.2, 40))
        for i in range(5)
    ]
    alone = [{k: v for k, v in row.items() if k != "cluster"} for row in rows]
    a, b = compared(rows), compared(alone)
    assert a["standard_error"] > 1.8 * b["standard_error"]
    assert (a["n_clusters"], a["n_prompts"]) == (40, 200)
    assert a["win_rate"] == b["win_rate"]
    few = compared([row for row in rows if row["cluster"] < 10])
    assert "wild" in few["method"]


# -- what holds ----------------------------------------------------------------------
def test_a_judge_that_always_says_the_first_answer_promotes_nothing():
    rows = both_orders([(1, 0)] * 100)
    found = compared(rows)
    assert found["verdict"] == "HOLD"
    assert (found["position"]["consistency"], found["position"]["first_rate"]) == (0, 1)
    assert "two orders agree on 0.0 %" in found["reasons"][0]
    one_sided = [row for row in rows if row["candidate_position"] == "first"]
    found = compared(one_sided)
    assert (found["win_rate"], found["verdict"]) == (1, "HOLD")
    assert "judge both orders" in found["reasons"][0]
    uneven = [
        r for i, r in enumerate(rows) if (i // 2 < 80) == (r["candidate_position"] == "first")
    ]
    found = compared(uneven)
    assert (found["win_rate"], found["verdict"]) == (0.8, "HOLD")
    assert condition(found, "order")["status"] == "failed"


def test_uneven_orders_do_not_hold_a_judge_without_a_liking_for_one():
    rng = random.Random(4)
    rows = single([float(rng.random() < 0.75) for _ in range(300)])
    rows = [
        r | {"candidate_position": "first" if i % 10 < 6 else "second"} for i, r in enumerate(rows)
    ]
    assert compared(rows)["verdict"] == "PROMOTE"


def test_thirty_percent_missing_holds_whatever_the_rest_says():
    for value in (1, 0):
        rows = single([value] * 70 + [None] * 30)
        found = compared(rows)
        assert found["verdict"] == "HOLD"
        assert "30.0 % of the judgments are missing" in found["reasons"][0]
        assert (found["n_missing"], found["missing"]) == (30, {"no preference": 30})


def test_missing_judgments_count_against_the_candidate():
    rows = single([1] * 58 + [0] * 39 + [None] * 3)
    assert compared(rows)["verdict"] == "HOLD"
    assert compared(rows[:97])["verdict"] == "PROMOTE"
    failed = [r | {"status": "timeout"} if r["preference"] is None else r for r in rows]
    assert compared(failed)["missing"] == {"timeout": 3}
    # A preference beside a failure is no preference.
    assert compared([r | {"status": "parse"} for r in rows[:97]])["n_missing"] == 97


def test_length_that_changes_sides_holds():
    rng = np.random.default_rng(5)
    rows = []
    for i in range(600):
        long = float(rng.normal(500, 350))
        x = np.tanh(long / 350)
        p = 1 / (1 + np.exp(0.5 - 1.7 * x))
        rows.append(
            {"prompt_id": i, "preference": float(rng.random() < p),
             "candidate_chars": max(0, round(1500 + long)), "champion_chars": 1500}
        )  # fmt: skip
    found = compared(rows)
    assert found["win_rate"] > 0.55
    assert found["length_controlled"]["win_rate"] < 0.5
    assert found["verdict"] == "HOLD"
    assert "changes sides" in found["reasons"][0]
    assert found["length_matched"]["n_prompts"] < 600


def test_a_protected_slice_that_is_worse_rejects_and_one_too_small_holds():
    rows = [r | {"slice": {"language": "de" if i % 4 == 0 else "en"}}
            for i, r in enumerate(single([0, 1, 1, 1] * 60))]  # fmt: skip
    assert compared(rows)["verdict"] == "PROMOTE"
    found = compared(rows, protected_slices=["language=de"])
    assert found["verdict"] == "REJECT"
    assert "language=de" in found["reasons"][0]
    parts = {part["name"]: part for part in found["slices"]}
    assert (parts["language=de"]["verdict"], parts["language=en"]["verdict"]) == (
        "worse", "non_inferior",
    )  # fmt: skip
    assert parts["language=de"]["n_prompts"] == 60
    small = rows[1:40:2] + rows[:3]
    assert compared(small, protected_slices=["language=de"])["verdict"] == "HOLD"
    assert "no prompt is in it" in str(compared(rows, protected_slices=["x=y"])["reasons"])
    with pytest.raises((ConfigError, ValueError), match="dimension=value"):
        compared(rows, protected_slices=["de"])


def test_several_candidates_raise_the_bar():
    rows = single([1] * 61 + [0] * 39)
    assert compared(rows)["verdict"] == "PROMOTE"
    found = compared(rows, n_candidates=5)
    assert (found["verdict"], found["decided_by"]["alpha"]) == ("HOLD", 0.01)


def test_a_hold_names_the_prompts_that_would_resolve_it():
    found = compared(single([1] * 54 + [0] * 46))
    assert found["verdict"] == "HOLD"
    needed = found["decided_by"]["n_needed"]
    assert 800 < needed < 1100
    assert f"About {needed:,} prompts" in found["reasons"][0]
    assert "alone will not help" in compared(single([1, 0] * 50))["reasons"][0]


# -- people --------------------------------------------------------------------------
def biased(n=600, labelled=200, seed=8, truth=0.5, tilt=0.35):
    rng = np.random.default_rng(seed)
    human = (rng.random(n) < truth).astype(float)
    said = np.where((human == 0) & (rng.random(n) < tilt), 1.0, human)
    return [
        {"prompt_id": i, "preference": s, "human": h if i < labelled else None}
        for i, (s, h) in enumerate(zip(said.tolist(), human.tolist(), strict=True))
    ]


def test_labels_take_the_promotion_back_that_a_biased_judge_would_give():
    rows = biased()
    alone = [row | {"human": None} for row in rows]
    assert compared(alone)["verdict"] == "PROMOTE"
    found = compared(rows)
    assert found["verdict"] == "HOLD"
    corrected = found["corrected"]
    assert corrected["ci_low"] < 0.5 < corrected["ci_high"] < found["ci_low"] + 0.1
    assert found["agreement"]["n"] == 200
    assert found["decided_by"]["by"] == "people and judge"


def test_few_labels_inform_and_a_judge_proven_useless_holds():
    rng = np.random.default_rng(7)
    rows = single((rng.random(400) < 0.7).astype(float).tolist())
    labelled = [r | {"human": 1 - r["preference"] if i < 25 else None} for i, r in enumerate(rows)]
    found = compared(labelled)
    assert found["verdict"] == "HOLD"
    assert found["agreement"]["kappa_high"] < 0.2
    assert "only people can decide" in found["reasons"][0]


def test_a_hold_on_labels_says_how_many_more():
    tried = (compared(biased(n=3000, seed=s, truth=0.54, tilt=0.2, labelled=100)) for s in range(9))
    found = next(f for f in tried if f["decided_by"]["labels_needed"] and f["verdict"] == "HOLD")
    more = found["decided_by"]["labels_needed"] - 100
    assert more > 0
    assert f"About {more} more human labels" in found["reasons"][0]


# -- never a crash -------------------------------------------------------------------
@pytest.mark.parametrize(
    "rows",
    [
        [],
        single([None] * 5),
        single([1]),
        single([0.5] * 40),
        single([0.7] * 40),
        single([1] * 40),
        both_orders([(1, None), (None, 0), (None, None)]),
        single([1, 0], candidate_chars=10, champion_chars=10),
        single([0.2], human=1, cluster="c", slice={"x": None, "y": True}),
        [r | {"cluster": "one"} for r in single([1] * 30)],
        single([1] * 35, human=1),
    ],
    ids=["empty", "missing", "one", "half", "constant", "all", "holes", "same", "odd", "cluster",
         "agreed"],
)  # fmt: skip
def test_odd_files_are_answered(rows):
    found = compared(rows)
    json.dumps(found, allow_nan=False)
    assert found["verdict"] in SWAP
    assert found["reasons"]
    if found["win_rate"] is not None:
        assert 0 <= found["ci_low"] <= found["ci_high"] <= 1
    if not rows or all(r["preference"] is None for r in rows):
        assert (found["verdict"], found["win_rate"]) == ("HOLD", None)


def test_a_constant_preference_has_no_error_and_one_prompt_none_at_all():
    assert compared(single([0.7] * 40))["standard_error"] == 0
    one = compared(single([1]))
    assert (one["standard_error"], one["verdict"]) == (None, "HOLD")
    assert "standard_error" in one["not_measured"]
    clustered = compared([r | {"cluster": "one"} for r in single([1] * 30)])
    assert clustered["verdict"] == "HOLD"


# -- properties ----------------------------------------------------------------------
@st.composite
def files(draw):
    n = draw(st.integers(1, 45))
    values = st.sampled_from([0, 0.25, 0.4, 0.5, 0.75, 1, None])
    lean = draw(st.sampled_from([None, 0, 1]))
    rows = []
    for i in range(n):
        shared = {
            "prompt_id": f"p{i}",
            "cluster": draw(st.sampled_from([None, "a", "b", f"c{i % 7}"])),
            "slice": draw(st.sampled_from([None, {"k": "v"}, {"k": "w"}])),
            "human": draw(st.sampled_from([None, None, 0, 0.5, 1])),
            "candidate_chars": draw(st.sampled_from([None, 10, 500])),
            "champion_chars": draw(st.sampled_from([10, 480])),
        }
        for position in draw(st.sampled_from([[None], ["first"], ["first", "second"]])):
            preference = lean if lean is not None and draw(st.booleans()) else draw(values)
            rows.append(shared | {"candidate_position": position, "preference": preference})
    return rows


@settings(deadline=None, max_examples=60)
@given(files(), st.randoms())
def test_order_and_copies_of_rows_change_nothing(rows, rng):
    again = [*rows, *rng.sample(rows, k=len(rows) // 2)]
    rng.shuffle(again)
    first = json.dumps(compared(rows, n_bootstrap=200), sort_keys=True)
    assert json.dumps(compared(again, n_bootstrap=200), sort_keys=True) == first


@settings(deadline=None, max_examples=80)
@given(files())
def test_swapping_the_systems_swaps_the_verdict(rows):
    keys = {"n_bootstrap": 300, "max_missing_fraction": 0.4, "min_consistency": 0.1}
    a, b = compared(rows, **keys), compared(swapped(rows), **keys)
    assert b["verdict"] == SWAP[a["verdict"]]
    for part in ("length_controlled", "corrected"):
        one, other = (a[part] or {}), (b[part] or {})
        if one:
            assert one["win_rate"] == pytest.approx(1 - other["win_rate"], abs=1e-8)
            assert one["ci_low"] == pytest.approx(1 - other["ci_high"], abs=1e-8)
    if a["win_rate"] is not None:
        assert a["win_rate"] == pytest.approx(1 - b["win_rate"], abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 30), st.integers(1, 40))
def test_more_wins_never_take_a_promotion_back(wins, losses, ties, more):
    def verdict(w, x):
        rows = single([1] * w + [0] * x + [0.5] * ties)
        return ["REJECT", "HOLD", "PROMOTE"].index(compared(rows)["verdict"])

    assert verdict(wins + more, losses) >= verdict(wins, losses)
    assert verdict(wins, losses + more) <= verdict(wins, losses)
    if losses:
        assert verdict(wins + 1, losses - 1) >= verdict(wins, losses)
