import random
from collections import Counter

import pytest

from tuneloop.config.simulate import LabelsConfig
from tuneloop.errors import DataError
from tuneloop.simulate.labels import LabelTable
from tuneloop.simulate.nearness import NearIndex

VERBS = ["find", "send", "lose", "return", "break", "paint", "open", "move", "read", "build"]
NOUNS = [
    "card",
    "house",
    "bottle",
    "letter",
    "garden",
    "engine",
    "window",
    "ticket",
    "story",
    "bridge",
    "river",
    "cable",
]


def write(path, n, n_labels, *, seed=0, copies=0):
    rng = random.Random(seed)
    lines = ["text\tlabel"]
    for i in range(n):
        text = " ".join(rng.choice(VERBS if w % 2 else NOUNS) for w in range(rng.randrange(6, 20)))
        lines.append(f"{text} {i}x\tTopic {i % n_labels} ü")
        lines += [f"{text} {i}x again\tTopic {i % n_labels} ü"] * (i < copies)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def table(path, *, seed=1, golden_seed=0, **kwargs):
    return LabelTable(LabelsConfig(path=str(path), **kwargs), seed=seed, golden_seed=golden_seed)


def texts(prompts):
    return [prompt.messages[-1]["content"] for prompt in prompts]


def drain(scenario):
    rng = random.Random(0)
    return [scenario.asks("plain", rng) for _ in range(scenario.n_rows)]


@pytest.mark.parametrize(
    ("n", "n_labels", "expected"), [(60, 2, 30), (900, 300, 200), (4000, 7, 400)]
)
def test_golden_size_is_a_tenth_within_its_bounds(tmp_path, n, n_labels, expected):
    scenario = table(write(tmp_path / "t.tsv", n, n_labels))
    assert len(scenario.golden().prompts) == pytest.approx(expected, abs=2)


def test_golden_is_stratified_and_every_label_stays_in_the_traffic(tmp_path):
    scenario = table(write(tmp_path / "t.tsv", 3000, 10))
    counts = Counter(prompt.reference for prompt in scenario.golden().prompts)
    assert len(counts) == 10
    assert max(counts.values()) - min(counts.values()) <= 1
    assert {ask.answer for ask in drain(scenario)} == set(counts)


def test_no_row_of_the_traffic_nearly_repeats_a_golden_one(tmp_path):
    scenario = table(write(tmp_path / "t.tsv", 800, 4, copies=400))
    index = NearIndex(texts(scenario.golden().prompts), threshold=0.5)
    asks = drain(scenario)
    assert not [ask.text for ask in asks if index.near(ask.text)]
    n_golden = len(scenario.golden().prompts)
    assert len(asks) + n_golden + scenario.counts["table.near_golden"] == 1200


def test_the_golden_set_depends_on_its_own_seed_only(tmp_path):
    path = write(tmp_path / "t.tsv", 500, 5)
    first, second = table(path, seed=1), table(path, seed=2)
    assert first.golden() == second.golden()
    assert [ask.text for ask in drain(first)] != [ask.text for ask in drain(second)]
    assert table(path, golden_seed=1).golden() != first.golden()


def test_a_golden_table_is_used_whole_and_cleans_the_traffic(tmp_path):
    path = write(tmp_path / "t.tsv", 300, 3)
    golden = tmp_path / "g.tsv"
    lines = path.read_text().splitlines()
    golden.write_text("\n".join([lines[0], *lines[1:40], "something new\tunheard of"]))
    scenario = table(path, golden_path=str(golden))
    assert texts(scenario.golden().prompts) == [line.split("\t")[0] for line in lines[1:40]]
    assert scenario.counts["golden_table.unknown_label"] == 1
    assert scenario.counts["table.near_golden"] == 39
    assert scenario.n_rows == 300 - 39


def test_the_prompt_names_the_column_and_lists_no_label(tmp_path):
    path = tmp_path / "t.csv"
    words = [f"{a} {b} {c}" for a in VERBS for b in NOUNS[:4] for c in VERBS[:2]]
    body = "\n".join(
        f"{text} {text[::-1]} {i:b} {chr(97 + i)}x please,kind {i % 3}"
        for i, text in enumerate(words)
    )
    path.write_text(f"what,customer_topic\n{body}")
    scenario = table(path, text_column="what", label_column="customer_topic")
    prompt = scenario.golden().prompts[0].messages[0]["content"]
    assert "customer topic" in prompt
    assert "kind" not in prompt


def test_the_check_wants_the_label_and_nothing_else(tmp_path):
    scenario = table(write(tmp_path / "t.tsv", 100, 2))
    prompt = scenario.golden().prompts[0]
    (check,) = prompt.checks
    assert (check.kind, check.value, check.ignore_case) == ("exact", prompt.reference, True)
    ask = scenario.asks("plain", random.Random(0))
    assert scenario.score(ask, f" {ask.answer.upper()} ") == 1
    assert scenario.score(ask, f"It is {ask.answer}, I think.") == pytest.approx(0.4)
    assert scenario.score(ask, scenario.wrong(ask, random.Random(0))) == 0
    assert scenario.score(ask, scenario.free_text(ask, random.Random(0))) == 0


def test_too_few_rows_or_labels_are_a_clear_error(tmp_path):
    with pytest.raises(DataError, match="at least 50"):
        table(write(tmp_path / "few.tsv", 40, 2))
    with pytest.raises(DataError, match="same label"):
        table(write(tmp_path / "one.tsv", 100, 1))
    with pytest.raises(DataError, match="held out"):
        table(write(tmp_path / "unique.tsv", 60, 60))


def write_rows(path, rows):
    path.write_text("\n".join(["text\tlabel", *(f"{text}\t{label}" for text, label in rows)]))
    return path


def test_a_small_table_of_set_phrases_is_refused_where_too_little_is_left(tmp_path):
    rows = [(f"{verb} my {noun} now", verb) for verb in VERBS for noun in NOUNS[:6]]
    with pytest.raises(DataError, match="are left to learn from") as caught:
        table(write_rows(tmp_path / "t.tsv", rows))
    assert "nearly repeat a golden one" in str(caught.value)


def test_the_golden_part_shrinks_before_too_little_is_left(tmp_path):
    # In pairs that share three words of five: a golden row costs its partner.
    rows = [(f"a{i} b{i} c{i} {x}{i}", f"k{i % 2}") for i in range(30) for x in "xy"]
    letters = str.maketrans("0123456789", "qrstuvwxyz")  # numbers are masked
    rows = [(text.translate(letters), label) for text, label in rows]
    scenario = table(write_rows(tmp_path / "t.tsv", rows))
    assert len(scenario.golden().prompts) == 20
    assert scenario.n_rows >= 20


def test_a_table_of_set_phrases_is_still_divided_without_repeats(tmp_path):
    path = tmp_path / "t.tsv"
    rows = [f"{a} the {b} {c}\t{c}" for a in VERBS for b in NOUNS for c in ("now", "later", "soon")]
    path.write_text("\n".join(["text\tlabel", *rows]))
    scenario = table(path, golden_min=30, golden_max=30)
    index = NearIndex(texts(scenario.golden().prompts), threshold=0.6)
    assert len(scenario.golden().prompts) == 30
    assert not [ask.text for ask in drain(scenario) if index.near(ask.text)]
    assert scenario.n_rows > 20
