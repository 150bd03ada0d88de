from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.simulate.nearness import NearIndex, shingles

words = st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=14).map(" ".join)


def jaccard(a, b):
    a, b = shingles(a), shingles(b)
    return len(a & b) / len(a | b)


@settings(deadline=None, max_examples=150)
@given(st.lists(words, min_size=1, max_size=12), words, st.sampled_from([0.3, 0.5, 0.7, 1.0]))
def test_the_index_finds_what_comparing_all_pairs_finds(texts, query, threshold):
    index = NearIndex(texts, threshold=threshold)
    expected = [i for i, text in enumerate(texts) if jaccard(query, text) >= threshold]
    assert index.near(query) == expected
    assert index.nearest(query) == max(jaccard(query, text) for text in texts)


def test_case_punctuation_numbers_and_addresses_do_not_count():
    a = "Where is ORDER 123, please write to me at a.b@example.com today?"
    b = "where is order 99887 please write to me at zz@example.org today"
    assert shingles(a) == shingles(b)


def test_short_texts_are_near_only_when_equal():
    index = NearIndex(["where is it", "reset please"], threshold=0.5)
    assert index.near("Where is it?") == [0]
    assert index.near("where is my") == []


def test_clusters_join_chains_of_near_texts():
    base = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    texts = [
        " ".join(base),
        " ".join([*base, "x"]),
        " ".join([*base, "x", "y"]),
        "quite other words",
    ]
    clusters = NearIndex(texts, threshold=0.7).clusters()
    assert clusters[0] == clusters[1] == clusters[2] != clusters[3]
