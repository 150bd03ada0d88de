"""Labels of people in the decision: they correct the judge; the verdict says what is missing."""

import numpy as np
import pytest
from evaluations import evidence

from tuneloop.artefacts.labels import HumanLabel, HumanLabels
from tuneloop.config.decide import DecideConfig
from tuneloop.decide.stage import weigh
from tuneloop.decide.terms import Terms

BROKEN = {
    "role": "deciding", "certified": [],
    "certificates": [
        {"judge": "j", "model": "m", "status": "failed", "failed": ["padded"], "unproven": []}
    ],
}  # fmt: skip


def judged(truth, *, bias, slices=None, judge=None, seed=0):
    """Return evidence of a judge that mostly says `bias`, whatever people think."""
    rng = np.random.default_rng(seed)
    scores = {
        i: [float(np.clip(0.7 * bias + 0.3 * t + rng.normal(0, 0.05), 0, 1))] * 2
        for i, t in enumerate(truth)
    }
    n = len(truth)
    return evidence(
        [(True, True)] * n, scores=scores, slices=slices, judge=judge or {"role": "deciding"}
    )


def labels(truth, chosen, *, uncovered=()):
    found = [
        HumanLabel(
            prompt_id=f"p{i}", human=truth[i], n_people=1, probability=len(chosen) / len(truth)
        )
        for i in chosen
    ]
    return HumanLabels(
        labels=sorted(found, key=lambda one: one.prompt_id), n_pairs=len(truth), n_people=2,
        uncovered=list(uncovered),
    )  # fmt: skip


def decide(made, held=None, **config):
    config = DecideConfig(metric="judge", n_bootstrap=200, **config)
    return weigh(made, config, seed=0, lineage={}, terms=Terms(labels=held))


def gate(record, name):
    return next(g for g in record.gates if g.name == name)


def test_labels_reject_what_a_biased_judge_loves():
    truth = [1.0 if i % 10 < 2 else 0.0 for i in range(200)]
    made = judged(truth, bias=1.0)
    raw = decide(made)
    assert raw.primary.estimate > 0.2
    assert raw.people.n_labels == 0
    found = decide(made, labels(truth, range(0, 200, 3)))
    assert found.verdict == "REJECT"
    assert found.primary.ci_low < 0.2 - 0.5 < found.primary.ci_high
    assert found.people.decides
    assert "human labels" in found.reasons[0]


def test_labels_promote_although_the_judge_failed_its_certificate():
    truth = [0.0 if i % 10 < 2 else 1.0 for i in range(200)]
    made = judged(truth, bias=0.5, judge=BROKEN)
    assert decide(made).verdict == "HOLD"
    found = decide(made, labels(truth, range(0, 200, 3)))
    assert found.verdict == "PROMOTE"
    assert gate(found, "judge_certificate").status == "skipped"


def test_the_verdict_says_how_many_more_labels_and_where():
    # People find no difference on one half, and on the other prefer the candidate in two of three.
    truth = [(1.0 if (i // 2) % 3 else 0.0) if i % 2 else 0.5 for i in range(400)]
    slices = [["noisy"] if i % 2 else ["calm"] for i in range(400)]
    made = judged([0.5] * 400, bias=0.5, slices=slices)
    found = decide(made, labels(truth, range(40)))
    assert found.verdict == "HOLD"
    action = found.next_action
    assert action.kind == "label_pairs"
    assert action.n == found.people.more_labels > 0
    assert action.slice == "noisy"
    assert f"About {action.n} more labels" in found.reasons[0]


def test_without_labels_a_failed_judge_asks_for_them():
    truth = [1.0] * 60
    found = decide(judged(truth, bias=0.6, judge=BROKEN))
    assert found.verdict == "HOLD"
    assert found.next_action.kind == "label_pairs"
    assert 30 <= found.next_action.n <= 60


def test_too_few_labels_decide_nothing_but_expose_a_judge_that_is_upside_down():
    truth = [float(i % 2) for i in range(100)]
    made = judged(truth, bias=0.5)
    upside = [1 - t for t in truth]
    found = decide(made, labels(upside, range(28)))
    assert not found.people.decides
    assert gate(found, "human_labels").status == "unproven"
    assert found.verdict == "HOLD"
    agreed = decide(made, labels(truth, range(28)))
    assert gate(agreed, "human_labels").status == "skipped"


def test_labels_of_one_stratum_cannot_speak_for_all():
    truth = [1.0] * 100
    found = decide(judged(truth, bias=0.5), labels(truth, range(40), uncovered=["rare"]))
    assert not found.people.decides
    assert found.people.on_slice == "rare"
    assert "rare" in found.people.summary


@pytest.mark.parametrize(("n", "status"), [(5, "unproven"), (40, "passed")])
def test_a_protected_slice_needs_labels_of_its_own_where_the_judge_is_no_help(n, status):
    truth = [1.0 if i % 5 else 0.0 for i in range(200)]
    slices = [["de"] if i < 60 else [] for i in range(200)]
    made = judged([0.5] * 200, bias=0.6, slices=slices)
    held = labels(truth, [*range(n), *range(60, 160)])
    found = decide(made, held, protected_slices=["de"])
    assert gate(found, "slice:de").status == status
    if status == "unproven":
        assert "25 more labels" in gate(found, "slice:de").detail


def test_an_advisory_judge_leaves_the_labels_advisory():
    truth = [1.0] * 60
    made = judged(truth, bias=0.6, judge={"role": "advisory"})
    found = weigh(
        made, DecideConfig(n_bootstrap=200), seed=0, lineage={},
        terms=Terms(labels=labels(truth, range(40))),
    )  # fmt: skip
    assert found.people.n_labels == 40
    assert not found.people.decides
    assert found.primary.metric == "pass"


def test_swapped_sides_and_swapped_labels_give_the_mirrored_rate():
    rng = np.random.default_rng(2)
    truth = [float(rng.choice([0, 0.5, 1])) for _ in range(120)]
    flipped = [1 - t for t in truth]
    one = decide(judged(truth, bias=0.5), labels(truth, range(50))).people
    other = judged(truth, bias=0.5)
    for row in other.judgments:
        row["score"] = 1 - row["score"]
    two = decide(other, labels(flipped, range(50))).people
    assert one.estimate == pytest.approx(-two.estimate, abs=1e-5)
    assert one.ci_low == pytest.approx(-two.ci_high, abs=1e-5)


def test_a_replay_has_the_labels():
    truth = [1.0 if i % 3 else 0.0 for i in range(120)]
    made, config = judged(truth, bias=0.5), DecideConfig(metric="judge", n_bootstrap=200)
    found = decide(made, labels(truth, range(60)))
    again = weigh(made, config, seed=0, lineage={}, terms=Terms.of(found))
    assert again.model_dump_json() == found.model_dump_json()


def test_the_corrected_interval_covers_and_drawing_the_undecided_first_narrows_it():
    from tuneloop.statistics.ppi import corrected_rate
    from tuneloop.statistics.priority import inclusion, label_sizes, priority

    rng = np.random.default_rng(3)
    covered, widths = {"uniform": 0, "drawn": 0}, {"uniform": [], "drawn": []}
    for _ in range(300):
        f = np.round(rng.beta(0.4, 0.4, 400), 3)
        y = (rng.random(400) < f).astype(float)
        for name in covered:
            sizes = [1.0] * 400 if name == "uniform" else label_sizes(list(f))
            ranks = np.array(
                [priority(s, 1 - u) for s, u in zip(sizes, rng.random(400), strict=True)]
            )
            order = np.argsort(-ranks)
            chances = inclusion([sizes[i] for i in order], [ranks[i] for i in order], 80)
            human, p = np.full(400, np.nan), np.ones(400)
            human[order[:80]], p[order[:80]] = y[order[:80]], chances
            low, high = corrected_rate(f, human, probability=p, alpha=0.025).interval
            covered[name] += low <= y.mean() <= high
            widths[name].append(high - low)
    assert covered["drawn"] >= 0.92 * 300
    assert np.mean(widths["drawn"]) < 0.92 * np.mean(widths["uniform"])
