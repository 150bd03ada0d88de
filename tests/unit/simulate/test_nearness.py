from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.simulate.nearness import NearIndex, Wording, similarity

words = st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=14).map(" ".join)


def jaccard(a, b):
    n = 1 if min(len(a.split()), len(b.split())) < 5 else 5

    def grams(text):
        found = text.split()
        return {tuple(found[i : i + n]) for i in range(len(found) - n + 1)}

    return len(grams(a) & grams(b)) / len(grams(a) | grams(b))


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
    assert similarity(Wording.of(a), Wording.of(b)) == 1


def test_short_texts_are_compared_by_their_words():
    index = NearIndex(["please delete my account", "something else entirely"], threshold=0.7)
    assert index.near("Delete account, please!") == [0]
    assert index.near("delete my card") == []


def test_texts_without_spaces_are_compared_by_their_signs():
    index = NearIndex(["\u6211\u7684\u5305\u88f9\u5728\u54ea\u91cc\u554a"], threshold=0.7)
    assert index.near("\u6211\u7684\u5305\u88f9\u5728\u54ea\u91cc\u554a\uff1f") == [0]
    assert index.near("\u6211\u60f3\u9000\u8d27\u8bf7\u5e2e\u6211") == []


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
