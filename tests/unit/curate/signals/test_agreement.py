"""Agreement and Dawid–Skene against other people's implementations and known truths."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tuneloop.curate.signals.dawid_skene as module
from tuneloop.curate.signals.agreement import (
    Votes,
    cohen_kappa,
    krippendorff_alpha,
    pairwise_kappas,
    shared,
)
from tuneloop.curate.signals.dawid_skene import dawid_skene, information, majority


def simulated(rng, *, n_items=400, n_people=12, per_item=4, n_classes=3, confusion=None):
    """Votes of people with known confusion on items of known class."""
    prior = rng.dirichlet(np.full(n_classes, 5.0))
    if confusion is None:
        skill = rng.uniform(0.45, 0.95, n_people)
        confusion = np.stack([np.eye(n_classes) * s + (1 - s) / n_classes for s in skill])
        confusion /= confusion.sum(axis=2, keepdims=True)
    truth = rng.choice(n_classes, n_items, p=prior)
    item = np.repeat(np.arange(n_items), per_item)
    person = np.concatenate([rng.choice(n_people, per_item, replace=False) for _ in range(n_items)])
    label = np.array([rng.choice(n_classes, p=confusion[p, truth[i]])
                      for p, i in zip(person, item, strict=True)])  # fmt: skip
    return Votes(item, person, label, np.ones(len(item)), n_classes), truth, confusion


def as_frame(votes):
    import pandas as pd

    return pd.DataFrame({"task": votes.item, "worker": votes.person, "label": votes.label})


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_posteriors_are_those_of_crowd_kit(seed, monkeypatch):
    crowdkit = pytest.importorskip("crowdkit.aggregation")
    votes, _, _ = simulated(np.random.default_rng(seed))
    # The same number of steps: each has its own rule for when it has settled.
    theirs = crowdkit.DawidSkene(n_iter=30, tol=-np.inf).fit(as_frame(votes))
    monkeypatch.setattr(module, "MAX_ITERATIONS", 30)
    monkeypatch.setattr(module, "TOLERANCE", 0.0)
    ours = dawid_skene(votes)
    probabilities = theirs.probas_.loc[range(votes.n_items), range(votes.n_classes)]
    assert np.abs(ours.posterior - probabilities.to_numpy()).max() < 1e-6


def test_alpha_is_that_of_crowd_kit():
    data = pytest.importorskip("crowdkit.metrics.data")
    votes, _, _ = simulated(np.random.default_rng(5), per_item=3)
    few = votes.where(np.random.default_rng(6).random(len(votes)) < 0.7)
    for some in (votes, few):
        theirs = data.alpha_krippendorff(as_frame(some))
        assert krippendorff_alpha(some) == pytest.approx(theirs, abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=60))
@settings(max_examples=50, deadline=None)
def test_kappa_is_that_of_scikit_learn(pairs):
    metrics = pytest.importorskip("sklearn.metrics")
    a, b = np.array(pairs).T
    found = cohen_kappa(a, b, 3)
    if found["kappa"] is None:
        assert set(a) == set(b)
    else:
        assert found["kappa"] == pytest.approx(metrics.cohen_kappa_score(a, b), abs=1e-6)
        assert -1 <= found["low"] <= found["kappa"] <= found["high"] <= 1


@pytest.mark.parametrize("seed", range(5))
def test_known_people_are_recovered(seed):
    rng = np.random.default_rng(seed)
    votes, truth, confusion = simulated(rng, n_items=1500, n_people=8, per_item=5)
    fitted = dawid_skene(votes, pooling=1.0)
    assert np.abs(fitted.confusion - confusion).mean() < 0.05
    most = majority(votes)
    ours = (fitted.posterior.argmax(1) == truth).mean()
    assert ours >= (most == truth).mean()
    beyond, _ = information(fitted)
    skill = np.einsum("pkk->p", confusion)
    assert np.corrcoef(beyond, skill)[0, 1] > 0.95


def test_one_good_person_outvotes_two_who_guess():
    rng = np.random.default_rng(3)
    good, guess = np.full((2, 2), 0.05) + np.eye(2) * 0.9, np.full((2, 2), 0.5)
    votes, truth, _ = simulated(
        rng, n_items=2000, n_people=5, per_item=5, n_classes=2,
        confusion=np.stack([good, good, guess, guess, guess]),
    )  # fmt: skip
    fitted = dawid_skene(votes)
    assert (fitted.posterior.argmax(1) == truth).mean() > (majority(votes) == truth).mean() + 0.05
    beyond, _ = information(fitted)
    assert beyond[:2].min() > 0.6
    assert np.abs(beyond[2:]).max() < 0.15


def test_who_votes_always_the_same_tells_nothing():
    rng = np.random.default_rng(4)
    good = np.full((2, 2), 0.1) + np.eye(2) * 0.8
    confusion = np.stack([good, good, good, [[0, 1.0], [0, 1.0]]])
    votes, _, _ = simulated(
        rng, n_items=600, n_people=4, per_item=4, n_classes=2, confusion=confusion
    )
    beyond, _ = information(dawid_skene(votes, pooling=2.0))
    assert abs(beyond[3]) < 0.05


def test_few_votes_are_pulled_to_all_people():
    votes, _, _ = simulated(np.random.default_rng(8), n_people=200, n_items=200)
    own, together = information(dawid_skene(votes, pooling=1e6))
    assert np.allclose(own, together, atol=1e-3)


@given(st.permutations(range(40)))
@settings(max_examples=10, deadline=None)
def test_the_order_of_votes_and_the_names_of_people_mean_nothing(order):
    votes, _, _ = simulated(np.random.default_rng(9), n_items=10)
    turned = votes.where(np.array(order))
    renamed = Votes(turned.item, 11 - turned.person, turned.label, turned.trust, 3)
    assert np.allclose(dawid_skene(votes).posterior, dawid_skene(renamed).posterior, atol=1e-6)


def test_a_vote_that_is_not_trusted_counts_for_nothing():
    votes, _, _ = simulated(np.random.default_rng(10))
    liar = np.arange(votes.n_items)
    with_liar = Votes(
        np.concatenate([votes.item, liar]),
        np.concatenate([votes.person, np.full(len(liar), 12)]),
        np.concatenate([votes.label, np.zeros(len(liar), int)]),
        np.concatenate([votes.trust, np.zeros(len(liar))]),
        3,
    )
    plain, other = dawid_skene(votes), dawid_skene(with_liar)
    assert np.allclose(plain.posterior, other.posterior, atol=1e-6)


@pytest.fixture(scope="module")
def pandalm():
    folder = os.environ.get("TUNELOOP_DATA")
    if not folder:
        pytest.skip("TUNELOOP_DATA names no folder of real data")
    rows = json.loads((Path(folder) / "pandalm/testset-v1.json").read_text("utf-8"))
    label = np.array([[row[f"annotator{k}"] for k in (1, 2, 3)] for row in rows]).ravel()
    item, person = np.repeat(np.arange(len(rows)), 3), np.tile(np.arange(3), len(rows))
    return Votes(item, person, label, np.ones(len(label)), 3)


def test_pandalm_as_published(pandalm):
    kappas = {row["kappa"] for row in pairwise_kappas(pandalm, np.arange(3))}
    assert sorted(round(k, 3) for k in kappas) == [0.852, 0.862, 0.879]
    most = majority(pandalm)
    assert [int((most == k).sum()) for k in range(3)] == [105, 422, 472]


def test_pandalm_by_dawid_and_skene(pandalm):
    fitted = dawid_skene(pandalm, pooling=10.0)
    most, best = majority(pandalm), fitted.posterior.argmax(1)
    assert (most == best).mean() > 0.99
    assert shared(pandalm).all()
    assert 0.84 < krippendorff_alpha(pandalm) < 0.88
