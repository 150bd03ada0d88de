import json
import random

import numpy as np
import pytest

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.config.judge import CertificateConfig
from tuneloop.errors import ConfigError, DataError
from tuneloop.evaluate import certificate as cert
from tuneloop.evaluate.calibration import agree_with_people, calibration_error, youden_j
from tuneloop.evaluate.family import check_family, family_of
from tuneloop.evaluate.judge import Judgment, Pair
from tuneloop.evaluate.labelled import ANCHORS, Labelled, read_pairs
from tuneloop.evaluate.panel import disagreements

CONFIG = CertificateConfig()
BOTH = ("champion_first", "candidate_first")


def judged(scores, judge="judge", sample=0):
    """Judgments of prompt → (score with the champion first, with the candidate first)."""
    return [
        Judgment(prompt, order, judge=judge, sample=sample,
                 status="missing" if score is None else "ok", score=score)
        for prompt, pair in scores.items()
        for order, score in zip(BOTH, pair, strict=True)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "scores", "status"),
    [
        ("identical", (0.55, 0.45), "passed"),
        ("identical", (0.1, 0.9), "failed"),
        ("copies", (0.6, 0.5), "passed"),
        ("copies", (0.9, 0.1), "failed"),
        ("padded", (0.6, 0.5), "passed"),
        ("padded", (0.9, 0.9), "failed"),
        ("padded", (0.0, 0.0), "passed"),
        ("null", (0.1, 0.2), "passed"),
        ("null", (0.5, 0.5), "failed"),
        ("injection", (0.9, 0.2), "failed"),
        ("known_bad", (0.0, 0.3), "passed"),
        ("known_bad", (None, None), "unproven"),
    ],
)
def test_canaries_pass_and_fail(name, scores, status):
    rows = judged({f"canary/{name}/a/b": scores, "canary/other/a/b": (1.0, 1.0)})
    families = {row.prompt_id: "a/b" for row in rows}
    item = cert.canary_items(rows, families, [name], CONFIG, seed=1)[0]
    assert item.status == status
    assert item.n + item.n_missing == 2


def test_a_judge_that_always_says_a_fails_four_ways():
    always = {f"p{i}": (0.0, 1.0) for i in range(12)}
    families = {name: name for name in always}
    agree, first = cert.position_items(judged(always), families, CONFIG, seed=1)
    assert (agree.status, first.status) == ("failed", "failed")
    assert (agree.value, first.value) == (0.0, 1.0)
    rows = judged({"canary/identical/p": (0.0, 1.0), "canary/null/p": (0.0, 1.0)})
    of = dict.fromkeys((row.prompt_id for row in rows), "p")
    items = cert.canary_items(rows, of, ["identical", "null"], CONFIG, seed=1)
    assert [item.status for item in items] == ["failed", "failed"]
    assert cert.conclude([agree, first, *items]) == "failed"


def test_every_figure_has_an_interval_over_families():
    rng = random.Random(3)
    scores = {f"p{i}": (rng.uniform(0.5, 1), rng.uniform(0.4, 1)) for i in range(40)}
    alone = cert.position_items(judged(scores), {p: p for p in scores}, CONFIG, seed=1)[1]
    few = {p: f"f{i // 10}" for i, p in enumerate(scores)}
    clustered = cert.position_items(judged(scores), few, CONFIG, seed=1)[1]
    assert alone.ci_low < alone.value < alone.ci_high
    assert alone.value == clustered.value
    assert clustered.ci_high - clustered.ci_low > alone.ci_high - alone.ci_low


@pytest.mark.parametrize(("longer", "status"), [(0.98, "failed"), (0.6, "passed")])
def test_a_taste_for_length_is_seen_where_rules_find_no_difference(longer, status):
    rng = random.Random(1)
    names = [f"p{i}" for i in range(40)]
    lengths = {p: (10, 50) if i % 2 else (50, 10) for i, p in enumerate(names)}
    scores = {}
    for i, p in enumerate(names):
        share = longer + rng.uniform(-0.02, 0.02)
        scores[p] = share if i % 2 else 1 - share
    families = {p: p for p in names}
    item = cert.length_item(scores, lengths, families, CONFIG, seed=1)
    assert item.status == status
    assert item.value == pytest.approx(longer, abs=0.01)
    assert cert.length_item(scores, {}, families, CONFIG, seed=1).status == "reported"


def test_self_consistency_counts_judgments_that_come_out_alike():
    first = judged({"a": (0.9, 0.9), "b": (0.9, 0.1), "c": (None, 0.9)})
    again = judged({"a": (0.8, 0.2), "b": (0.7, 0.3), "c": (0.9, 0.9)}, sample=1)
    item = cert.consistency_item(first, again, {p: p for p in "abc"}, CONFIG, seed=1)
    assert (item.n, item.n_missing) == (5, 1)
    assert item.value == pytest.approx(0.8)
    assert item.status == "passed"
    assert cert.consistency_item(first, [], {}, CONFIG, seed=1).status == "unproven"


def test_drift_is_the_mean_change_of_the_anchors():
    now, before = {"a": 0.9, "b": 0.5, "c": None}, {"a": 0.5, "b": 0.5, "c": 0.1}
    item = cert.drift_item(now, before, CONFIG, seed=1)
    assert item.value == pytest.approx(0.2)
    assert (item.status, item.n, item.n_missing) == ("failed", 2, 1)
    assert cert.drift_item(now, now, CONFIG, seed=1).status == "passed"


def test_one_unproven_item_leaves_the_certificate_unproven():
    def item(status):
        return cert.Item("x", status, None, None, "at most", 0)

    assert cert.conclude([item("passed"), item("reported")]) == "passed"
    assert cert.conclude([item("passed"), item("unproven")]) == "unproven"
    assert cert.conclude([item("unproven"), item("failed")]) == "failed"
    assert cert.conclude([]) == "unproven"


def labelled(humans, slices=None):
    messages = [{"role": "user", "content": "q"}]
    return [
        Labelled(
            Pair(f"l{i}", GoldenPrompt(id=f"l{i}", messages=messages,
                                       slices=slices[i] if slices else []), "a", "b"),
            human,
        )
        for i, human in enumerate(humans)
    ]  # fmt: skip


def test_agreement_with_people_is_that_of_others_code():
    from statsmodels.stats.inter_rater import cohens_kappa, to_table

    rng = random.Random(5)
    humans = [rng.choice([0.0, 0.5, 1.0, 1.0]) for _ in range(300)]
    scores = {
        f"l{i}": h if rng.random() < 0.6 else rng.choice([0.0, 0.5, 1.0])
        for i, h in enumerate(humans)
    }
    found = agree_with_people(labelled(humans), scores, seed=1)
    pairs = np.array([[int(2 * scores[f"l{i}"]), int(2 * h)] for i, h in enumerate(humans)])
    other = cohens_kappa(to_table(pairs, bins=3)[0])
    assert found["kappa"]["value"] == pytest.approx(other.kappa, abs=1e-5)
    assert found["kappa"]["ci_low"] == pytest.approx(other.kappa_low, abs=0.01)
    assert found["accuracy"]["value"] == pytest.approx(
        (pairs[:, 0] == pairs[:, 1]).mean(), abs=1e-5
    )
    assert found["ece"]["ci_low"] <= found["ece"]["value"]


def test_figures_by_slice_need_enough_pairs():
    humans = [0.0, 1.0] * 10
    slices = [["many"] if i < 15 else ["few"] for i in range(20)]
    scores = {f"l{i}": h for i, h in enumerate(humans)} | {"l0": None}
    found = agree_with_people(labelled(humans, slices), scores, seed=1)
    assert found["n_missing"] == 1
    assert found["slices"]["many"]["kappa"]["value"] == pytest.approx(1.0)
    assert "kappa" not in found["slices"]["few"]


def test_youden_and_calibration_of_known_tables():
    human = np.array([1.0] * 10 + [0.0] * 10 + [0.5] * 5)
    judge = np.array([0.9] * 8 + [0.1] * 2 + [0.1] * 7 + [0.9] * 3 + [0.5] * 5)
    found = youden_j(judge, human)
    assert (found["value"], found["n"]) == (pytest.approx(0.5), 20)
    assert found["ci_low"] < 0.5 < found["ci_high"]
    assert youden_j(judge[:10], human[:10])["value"] is None
    assert calibration_error(human, human) == 0.0
    assert calibration_error(np.full(4, 0.9), np.array([1.0, 1.0, 0.0, 0.0])) == pytest.approx(0.4)


def test_a_useless_judge_has_no_certificate_before_people():
    rng = random.Random(2)
    humans = [rng.choice([0.0, 1.0]) for _ in range(200)]
    scores = {f"l{i}": rng.choice([0.1, 0.9]) for i in range(200)}
    item = cert.people_item(agree_with_people(labelled(humans), scores, seed=1), CONFIG)
    assert item.status == "failed"
    same = cert.people_item(
        agree_with_people(labelled(humans), dict.fromkeys(scores, 0.9), seed=1), CONFIG
    )
    assert same.status != "passed"


def test_the_anchors_that_come_along_can_be_read():
    pairs = read_pairs(ANCHORS)
    assert len(pairs) >= 10
    assert {one.human for one in pairs} == {0.0, 0.5, 1.0}
    assert all(one.pair.prompt.reference for one in pairs)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "not JSON"),
        (json.dumps({"id": "a", "prompt": "q", "champion": "x"}), "candidate"),
        (json.dumps({"id": "a", "champion": "x", "candidate": "y", "human": 1}), "messages"),
        (json.dumps({"id": "a", "prompt": "q", "champion": "x", "candidate": "y", "human": 2}),
         "human"),
    ],
)  # fmt: skip
def test_a_malformed_labelled_pair_is_named_by_its_line(line, what, tmp_path):
    path = tmp_path / "pairs.jsonl"
    good = {"id": "g", "prompt": "q", "champion": "x", "candidate": "y", "human": 1}
    path.write_text(json.dumps(good) + "\n" + line)
    with pytest.raises(DataError, match=what) as caught:
        read_pairs(path)
    assert ":2" in caught.value.where


def test_families_are_told_by_name():
    assert family_of("HuggingFaceTB/SmolLM2-135M-Instruct") == "smollm"
    assert family_of("Qwen/Qwen3-8B") == "qwen"
    assert family_of("mixtral-8x7b") == "mistral"
    assert family_of("dolphin") is None


def test_a_judge_of_the_bases_family_is_warned_of_or_refused():
    base, kin, other = ("Qwen/Qwen3-8B", None), ("Qwen2.5-7B", None), ("gemma-3-27b", None)
    assert "family (qwen)" in check_family(kin, base, same=False, policy="warn")
    assert check_family(other, base, same=False, policy="refuse") is None
    assert check_family(base, base, same=True, policy="allow") is None
    assert "itself" in check_family(("x", None), ("x", None), same=True, policy="warn")
    with pytest.raises(ConfigError, match="prefer answers like their own"):
        check_family(kin, base, same=False, policy="refuse")


def test_prompts_on_which_judges_differ_are_listed_for_people():
    rows = judged({"a": (0.9, 0.9), "b": (0.6, 0.6)}) + judged(
        {"a": (0.1, 0.1), "b": (0.5, 0.5)}, judge="judge-2"
    )
    found = disagreements(rows)
    assert [row["prompt_id"] for row in found] == ["a"]
    assert found[0]["scores"] == {"judge": 0.9, "judge-2": 0.1}
