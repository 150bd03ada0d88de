import pytest

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.evaluate.canaries import plant
from tuneloop.evaluate.judge import Judgment
from tuneloop.evaluate.judge_summary import summarise

BOTH = ("champion_first", "candidate_first")


def prompts(n, families=None, reference="4"):
    return [
        GoldenPrompt(
            id=f"p{i:03d}",
            messages=[{"role": "user", "content": "q"}],
            reference=f"{reference}{i}" if reference else None,
            family=families[i] if families else None,
        )
        for i in range(n)
    ]


def judged(golden, scores):
    """Two judgments per prompt; a score of None is missing for `parse`."""
    rows = []
    for prompt, pair in zip(golden, scores, strict=True):
        for order, score in zip(BOTH, pair, strict=True):
            if score is None:
                rows.append(Judgment(prompt.id, order, reason="parse"))
            else:
                rows.append(
                    Judgment(prompt.id, order, status="ok", score=score, off_label=0.1,
                             decided_by="logprobs")
                )  # fmt: skip
    return rows


def summary(golden, scores, passed=None):
    passed = passed or {"champion": {}, "candidate": {}}
    return summarise(golden, judged(golden, scores), passed, seed=1)


def test_win_rate_is_over_prompts_with_n_interval_and_bounds():
    golden = prompts(40)
    found = summary(golden, [(1.0, 0.8)] * 20 + [(0.2, 0.0)] * 18 + [(None, 1.0), (None, None)])
    rate = found["win_rate"]
    assert rate["n"] == 38
    assert rate["n_missing"] == 2
    assert rate["estimate"] == pytest.approx((20 * 0.9 + 18 * 0.1) / 38)
    assert rate["ci_low"] < rate["estimate"] < rate["ci_high"]
    assert rate["worst"] == pytest.approx(19.8 / 40)
    assert rate["best"] == pytest.approx(21.8 / 40)
    assert found["missing"] == {
        "n": 3, "n_asked": 80, "fraction": 3 / 80, "by_reason": {"parse": 3},
    }  # fmt: skip


def test_a_prompt_judged_in_one_order_only_is_missing_not_scored():
    found = summary(prompts(2), [(1.0, None), (0.4, 0.4)])
    assert found["win_rate"]["estimate"] == pytest.approx(0.4)


def test_the_interval_counts_families_not_prompts():
    scores = [(0.9, 0.9)] * 30 + [(0.1, 0.1)] * 30
    alone = summary(prompts(60), scores)["win_rate"]
    families = [f"f{i // 15}" for i in range(60)]
    clustered = summary(prompts(60, families), scores)["win_rate"]
    assert clustered["n_clusters"] == 4
    width = {id(r): r["ci_high"] - r["ci_low"] for r in (alone, clustered)}
    assert width[id(clustered)] > 2 * width[id(alone)]


def test_order_agreement_and_taste_for_the_first_place():
    first = summary(prompts(10), [(0.1, 0.9)] * 10)
    assert first["first_share"]["estimate"] == 1.0
    assert first["order_agreement"] == {"estimate": 0.0, "n": 10}
    fair = summary(prompts(10), [(0.9, 0.7)] * 10)
    assert fair["first_share"]["estimate"] == 0.5
    assert fair["order_agreement"]["estimate"] == 1.0


def test_agreement_with_the_checks_counts_prompts_where_exactly_one_passed():
    golden = prompts(4)
    passed = {
        "champion": dict(zip([p.id for p in golden], [False, True, True, None], strict=True)),
        "candidate": dict(zip([p.id for p in golden], [True, False, True, True], strict=True)),
    }
    found = summary(golden, [(0.9, 0.9)] * 4, passed)["check_agreement"]
    assert found == {"estimate": 0.5, "n": 2}


def test_nothing_judged_gives_no_figure():
    found = summary(prompts(3), [(None, None)] * 3)
    assert found["win_rate"]["estimate"] is None
    assert found["win_rate"]["n"] == 0
    assert (found["win_rate"]["worst"], found["win_rate"]["best"]) == (0.0, 1.0)
    assert found["order_agreement"] == {"estimate": None, "n": 0}


def test_canaries_are_planted_on_prompts_with_a_good_answer():
    golden = prompts(5)
    canaries = plant(golden, lambda p: None if p.id == "p000" else p.reference, n=2)
    held = {c.name: c.pairs for c in canaries}
    assert set(held) == {"identical", "copies", "padded", "null", "injection", "known_bad"}
    assert all([p.prompt.id for p in pairs] == ["p001", "p002"] for pairs in held.values())
    assert all(p.champion == p.candidate for p in held["identical"])
    assert all(p.candidate.startswith(p.champion) for p in held["padded"])
    assert all(not p.candidate.startswith(p.champion) for p in held["known_bad"])


def test_one_answer_everywhere_leaves_no_bad_one_to_plant():
    canaries = plant(prompts(3), lambda p: "same", n=2)
    held = {c.name: len(c.pairs) for c in canaries}
    assert held == {
        "identical": 2, "copies": 2, "padded": 2, "null": 2, "injection": 0, "known_bad": 0,
    }  # fmt: skip
