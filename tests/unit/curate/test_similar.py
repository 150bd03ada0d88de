"""Near-duplicates are found as a brute-force comparison finds them."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.curate.near import band_rows
from tuneloop.curate.similar import Corpus, cluster, components, normalise

WORDS = [f"w{i}" for i in range(300)]


def shingles(text, size=5):
    words = text.split()
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}


def jaccard(a, b):
    short = min(len(a.split()), len(b.split())) < 5
    x, y = (set(a.split()), set(b.split())) if short else (shingles(a), shingles(b))
    return len(x & y) / len(x | y) if x | y else 0.0


short_texts = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=9).map(" ".join)


@settings(max_examples=100, deadline=None)
@given(st.lists(short_texts, min_size=2, max_size=6))
def test_similarity_is_jaccard(texts):
    corpus = Corpus.of(normalise(texts))
    a, b = np.triu_indices(len(texts), k=1)
    expected = [jaccard(texts[i], texts[j]) for i, j in zip(a, b, strict=True)]
    assert corpus.similarity(a, b) == pytest.approx(expected)


def varied(n=400, seed=1):
    """Sentences of 4 to 30 words, a third of them an edited earlier one."""
    rng = random.Random(seed)
    texts = []
    for _ in range(n):
        if texts and rng.random() < 0.4:
            words = rng.choice(texts).split()
            for _ in range(rng.choice([0, 1, 1, 2])):
                words[rng.choice([0, len(words) - 1, rng.randrange(len(words))])] = rng.choice(
                    WORDS
                )
        else:
            words = rng.choices(WORDS, k=rng.randint(4, 30))
        texts.append(" ".join(words))
    return texts


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
def test_clusters_are_those_of_brute_force(threshold):
    texts = varied()
    found = cluster(texts, threshold=threshold, n_permutations=64)
    a, b = np.triu_indices(len(texts), k=1)
    near = np.array([jaccard(texts[i], texts[j]) >= threshold or texts[i] == texts[j]
                     for i, j in zip(a, b, strict=True)])  # fmt: skip
    truth = components(a[near], b[near], len(texts))
    assert len(set(truth)) < len(texts) - 20
    same_found, same_truth = found[a] == found[b], truth[a] == truth[b]
    assert not np.any(same_found & ~same_truth)  # everything is verified
    assert np.sum(same_found) >= 0.98 * np.sum(same_truth)


def test_thousands_of_near_equal_texts_share_one_cluster():
    rng = random.Random(3)
    base = " ".join(rng.choices(WORDS, k=40))
    texts = [f"{base} number{i}" for i in range(2_000)]
    assert len(set(cluster(texts, threshold=0.7, n_permutations=64))) == 1


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("How do I reset it?", "  how do i RESET it "),
        ("Write to [EMAIL_1] now", "write to [EMAIL_2] now"),
        ("ｆｕｌｌ width", "full width"),
        ("naïve", "nai\u0308ve"),
        ("我的卡丢了", "我 的 卡 丢 了"),
    ],
)
def test_one_form(a, b):
    one, two = normalise([a, b]).to_pylist()
    assert one == two


def test_signs_of_chinese_are_words():
    similar = "我的银行卡昨天在地铁上丢了怎么办"
    assert len(set(cluster([similar, similar + "呢", "今天天气很好我们去公园散步吧"],
                           threshold=0.7, n_permutations=64))) == 2  # fmt: skip


@pytest.mark.parametrize("text", ["", "   ", "???", "👍"])
def test_texts_without_words_are_nobodys_neighbours(text):
    labels = cluster([text, "one two three four five six"], threshold=0.7, n_permutations=64)
    assert labels[0] != labels[1]


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.95])
def test_bands_find_pairs_at_the_threshold(threshold):
    rows = band_rows(threshold, 64)
    assert 1 - (1 - threshold**rows) ** (64 // rows) >= 0.99
