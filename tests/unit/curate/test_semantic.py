"""Questions that mean the same join their clusters, whatever the order and the blocks."""

import numpy as np
import pytest

from tuneloop.curate import semantic
from tuneloop.curate.semantic import close_pairs, join, nearest

pytest.importorskip("scipy")


@pytest.fixture
def vectors():
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(20, 16))
    found = centres[rng.integers(0, 20, 300)] + 0.15 * rng.normal(size=(300, 16))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("block", [7, 64, 1_000])
def test_pairs_are_all_pairs(vectors, block, monkeypatch):
    monkeypatch.setattr(semantic, "BLOCK", block)
    found = {
        (int(i), int(j)) for a, b in close_pairs(vectors, 0.9) for i, j in zip(a, b, strict=True)
    }
    cosine = np.round(vectors @ vectors.T, 4)
    expected = {(i, j) for i in range(300) for j in range(i + 1, 300) if cosine[i, j] >= 0.9}
    assert expected
    assert found == expected


@pytest.mark.parametrize("block", [7, 1_000])
def test_nearest_is_the_first_of_the_highest(vectors, block, monkeypatch):
    monkeypatch.setattr(semantic, "BLOCK", block)
    among = np.concatenate([vectors[200:], vectors[200:]])
    index, cosine = nearest(vectors[:200], among)
    product = vectors[:200] @ among.T
    assert np.array_equal(index, product.argmax(axis=1))
    assert cosine == pytest.approx(product.max(axis=1), abs=1e-4)
    assert index.max() < 100


def test_clusters_are_joined_through_meaning():
    vectors = np.array([[1, 0], [0.999, 0.0447], [0, 1]], dtype=np.float32)
    cluster = np.array([3, 3, 0, 1, -1], dtype=np.int32)
    questions = np.array([0, 0, 1, 2, 2])
    joined = join(cluster, vectors, questions, threshold=0.9)
    assert joined.tolist() == [0, 0, 0, 1, -1]
    apart = join(cluster, vectors, questions, threshold=0.9999)
    assert apart.tolist() == [0, 0, 1, 2, -1]


def test_no_vectors():
    index, cosine = nearest(np.zeros((0, 4), np.float32), np.ones((2, 4), np.float32))
    assert len(index) == len(cosine) == 0
