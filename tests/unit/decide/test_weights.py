import numpy as np
import pytest
import statsmodels.api as sm
from evaluations import evidence

from tuneloop.config.decide import DecideConfig
from tuneloop.decide.measure import measure
from tuneloop.decide.outcomes import values_of
from tuneloop.decide.stage import weigh
from tuneloop.statistics.resampling import Resampling

HOW = Resampling(alpha=0.05, n_bootstrap=500, seed=1)


def made(n=120, families=False):
    """The candidate is better on two prompts of three, and worse on the third."""
    rng = np.random.default_rng(3)
    pairs = [(float(rng.random() < (i % 3 == 0)), float(i % 3 != 0)) for i in range(n)]
    names = [f"f{i // 4}" for i in range(n)] if families else None
    return evidence([(bool(a), bool(b)) for a, b in pairs], families=names)


def heavy(of, weight):
    for i, prompt in enumerate(of.evaluation["prompts"]):
        prompt["weight"] = weight if i % 3 == 0 else 1.0
    return of


def decided(of, **config):
    return weigh(of, DecideConfig(n_bootstrap=500, **config), seed=1, lineage={})


@pytest.mark.parametrize("families", [False, True])
def test_mean_and_error_are_those_of_a_weighted_regression(families):
    of = heavy(made(families=families), 5.0)
    pairs = values_of(of, "pass")
    found = measure(pairs, of.units, HOW, weights=of.weights).complete
    order = list(pairs)
    d = np.array([pairs[p].candidate - pairs[p].champion for p in order])
    w = np.array([of.weights[p] for p in order])
    groups = np.unique([of.units[p] for p in order], return_inverse=True)[1]
    fit = sm.WLS(d, np.ones_like(d), weights=w).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": True}
    )
    n, g = len(d), groups.max() + 1
    # statsmodels has (n - 1) / (n - k) beside G / (G - 1); with an intercept alone it is 1.
    assert found.estimate == pytest.approx(fit.params[0])
    assert found.standard_error == pytest.approx(fit.bse[0])
    assert (found.n, n) == (g, 120)


def test_weights_can_turn_a_verdict_and_both_means_are_stated():
    of = heavy(made(), 8.0)
    plain, weighted = decided(of), decided(of, weighted=True)
    assert plain.verdict == "PROMOTE"
    assert weighted.verdict == "REJECT"
    assert weighted.primary.weighted
    assert not plain.primary.weighted
    assert plain.primary.beside.estimate == weighted.primary.estimate < 0
    assert weighted.primary.beside.estimate == plain.primary.estimate > 0
    assert "weights" in weighted.primary.method


def test_equal_weights_change_nothing():
    plain, weighted = decided(made()), decided(heavy(made(), 1.0), weighted=True)
    assert plain == weighted
    assert plain.primary.beside is None


def test_missing_values_are_bounded_under_weights_too():
    of = heavy(made(), 8.0)
    of.checks[1] |= {"status": "missing", "passed": None}
    bounds = decided(of, weighted=True).primary.bounds
    assert bounds.estimate_low < bounds.estimate_high
