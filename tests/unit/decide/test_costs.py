"""Costs and the objective that asks for cheaper: figures, bounds, and what is missing."""

import random

import numpy as np
import pytest
from evaluations import evidence

from tuneloop.artefacts.metrics import METRICS
from tuneloop.config.decide import DecideConfig
from tuneloop.decide.costs import read_spending, state_costs
from tuneloop.decide.stage import weigh
from tuneloop.statistics.quantiles import quantile_bounds

CHEAPER = DecideConfig(n_bootstrap=200, objective="not_worse_and_cheaper", margin=0.1)
TIE = [(True, True)] * 150 + [(True, False)] * 3 + [(False, True)] * 3
TOKENS = {"per_million_prompt_tokens": 1.0, "per_million_completion_tokens": 2.0, "per_hour": 0.0}


def costed(pairs=TIE, *, written=(60, 30), prices=(TOKENS, TOKENS), seconds=None):
    """Return evidence with tokens, prices and, by side, seconds of a probe."""
    made = evidence(pairs)
    draw = random.Random(1)
    for row in made.answers:
        mean = written[row["side"] == "candidate"]
        row |= {"n_prompt_tokens": 100, "n_completion_tokens": mean + draw.randint(-5, 5)}
    made.evaluation["prices"] = dict(zip(("champion", "candidate"), prices, strict=True))
    made.evaluation["latency"] = {"concurrency": 1}
    for side, took in (seconds or {}).items():
        made.timings.extend(
            {"prompt_id": f"p{i}", "side": side, "status": "ok" if s else "missing", "seconds": s}
            for i, s in enumerate(took)
        )
    return made


def decision(made, config=CHEAPER):
    return weigh(made, config, seed=1, lineage={})


def gate(record, name):
    return next(g for g in record.gates if g.name.startswith(name))


def test_not_worse_and_at_a_lower_price_is_promoted_where_better_is_not():
    made = costed()
    record = decision(made)
    assert record.verdict == "PROMOTE", record.reasons
    assert gate(record, "cheaper").name == "cheaper:price_per_1000"
    assert decision(made, DecideConfig(n_bootstrap=200)).verdict == "HOLD"
    champion, candidate = (record.costs[side].price_per_1000 for side in ("champion", "candidate"))
    assert champion.value == pytest.approx(0.1 + 0.12, abs=0.005)  # 100 read, 60 written
    assert candidate.value == pytest.approx(0.1 + 0.06, abs=0.005)
    assert candidate.ci_low < candidate.value < candidate.ci_high


def test_cheaper_does_not_make_up_for_worse():
    worse = [(True, True)] * 60 + [(True, False)] * 60
    record = decision(costed(worse))
    assert record.verdict == "REJECT"
    assert "worse by more than" in record.reasons[0]


def test_dearer_or_of_an_unknown_price_is_held():
    dearer = decision(costed(written=(30, 60)), CHEAPER.model_copy(update={"cheaper_by": "price"}))
    assert (dearer.verdict, gate(dearer, "cheaper").status) == ("HOLD", "failed")
    unknown = decision(costed(prices=({}, {})))
    assert unknown.verdict == "HOLD"
    assert "no price is configured" in gate(unknown, "cheaper").detail
    assert unknown.next_action.kind == "measure_costs"


def test_a_lower_95th_percentile_needs_enough_answers():
    by_latency = CHEAPER.model_copy(update={"cheaper_by": "latency"})
    slow = [1 + 0.001 * i for i in range(150)]
    fast = [s / 2 for s in slow]
    faster = decision(costed(seconds={"champion": slow, "candidate": fast}), by_latency)
    assert faster.verdict == "PROMOTE", faster.reasons
    few = decision(costed(seconds={"champion": slow[:40], "candidate": fast[:40]}), by_latency)
    assert "cannot be bounded by 40" in gate(few, "cheaper").detail
    lost = [None] * 20 + fast[20:]  # they never came: not fast
    broken = decision(costed(seconds={"champion": slow, "candidate": lost}), by_latency)
    assert broken.verdict == "HOLD"


def test_machine_hours_become_a_price_by_the_seconds_measured():
    hours = {"per_hour": 3.6}
    made = costed(prices=(hours, hours), seconds={"champion": [2.0, 2.0], "candidate": [1.0, 1.0]})
    assert read_spending(made, "champion").prices == {"p0": 2.0, "p1": 2.0}
    without = state_costs(read_spending(costed(prices=(hours, hours)), "champion"), 0.05)
    assert without.price_per_1000.status == "missing"
    assert "evaluate.latency" in without.price_per_1000.reason
    assert without.latency_p95_s.value is None


@pytest.mark.parametrize("n", [60, 200])
def test_bounds_of_a_quantile_cover_it_as_often_as_they_say(n):
    draw = np.random.default_rng(5)
    true = -np.log(0.05)  # 95th percentile of the exponential
    low = high = 0
    for _ in range(2000):
        below, above = quantile_bounds(list(draw.exponential(size=n)), 0.95, 0.05)
        low += below is None or below <= true
        high += above is None or above >= true
    assert low / 2000 >= 0.95 - 0.015
    assert high / 2000 >= 0.95 - 0.015


def test_fifty_nine_bound_a_95th_percentile_from_above_and_fifty_eight_do_not():
    assert quantile_bounds(list(range(59)), 0.95, 0.05)[1] == 58
    assert quantile_bounds(list(range(58)), 0.95, 0.05)[1] is None
    assert quantile_bounds([], 0.95, 0.05) == (None, None)


def test_every_gate_names_a_declared_metric_and_the_decision_says_what_it_is():
    made = costed(seconds={"champion": [1.0] * 5, "candidate": [1.0] * 5})
    record = decision(made)
    assert all(g.metric for g in record.gates)
    assert record.evidence["pass"].spec == METRICS["pass"]
    assert record.evidence["price_per_1000"].estimate < 0
    assert (record.phase, record.objective, record.expiry.days) == (
        "offline", "not_worse_and_cheaper", 30,
    )  # fmt: skip
