"""Meanings are compared once a question, the likeliest first, whatever the batches."""

import numpy as np
import pyarrow as pa
import pytest

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.config.golden import EncoderConfig, LeakConfig, SemanticConfig
from tuneloop.curate import meaning
from tuneloop.curate.leak import KINDS, Guard
from tuneloop.curate.meaning import compare_meanings, join_meanings, open_encoder
from tuneloop.errors import DataError, TuneloopError

pytest.importorskip("scipy")


class Texts:
    """Questions in batches of three."""

    def __init__(self, questions):
        self.questions = questions

    def prompts(self, columns, rows=None):
        assert columns == ["question"]
        numbers = np.arange(len(self.questions)) if rows is None else np.flatnonzero(rows)
        for start in range(0, len(numbers), 3):
            part = numbers[start : start + 3]
            texts = pa.array([self.questions[i] for i in part], pa.string())
            yield part, pa.record_batch({"question": texts})


class Angles:
    """Stands for an encoder: the last word of a text is its angle; counts what it is asked."""

    def __init__(self):
        self.seen = []

    def encode(self, texts):
        self.seen += texts
        angle = np.array([float(text.split()[-1]) for text in texts])
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


QUESTIONS = ["where is my vase 0.1", "other words 0.2", "far away 2", "other words 0.2", "vase 3"]
GOLDEN = [GoldenPrompt(id="g", messages=[{"role": "user", "content": "where is my parcel 0"}]),
          GoldenPrompt(id="h", messages=[{"role": "user", "content": "blue 0.9"}])]  # fmt: skip


def hashes(questions):
    return np.array([abs(hash(q)) for q in questions], dtype=np.uint64)


def compare(questions, **config):
    encoder = Angles()
    guard = Guard(GOLDEN, LeakConfig(semantic_threshold=0.9, **config), encoder)
    found = guard.check(pa.array(questions))
    report = compare_meanings(guard, Texts(questions), hashes(questions), found)
    return found, report, [text for text in encoder.seen if text in questions]


def test_each_question_is_encoded_once_and_every_row_of_it_found():
    found, report, seen = compare([*QUESTIONS, "Where is my PARCEL 0"])
    kinds = [KINDS[kind] for kind in found.kind]
    assert kinds == ["semantic", "semantic", "", "semantic", "", "exact"]
    assert sorted(seen) == sorted(set(QUESTIONS))
    assert report.counts == {"questions": 4, "encoded": 4, "left_out": 0}
    assert found.similarity[0] == pytest.approx(np.cos(0.1), abs=1e-4)


def test_of_too_many_the_likeliest_are_encoded():
    found, report, seen = compare(QUESTIONS, semantic_max_texts=1)
    assert seen == [QUESTIONS[0]]
    assert [KINDS[kind] for kind in found.kind] == ["semantic", "", "", "", ""]
    assert report.counts == {"questions": 4, "encoded": 1, "left_out": 3}


def test_without_an_encoder_nothing_is_compared():
    guard = Guard(GOLDEN, LeakConfig())
    found = guard.check(pa.array(QUESTIONS))
    assert (
        compare_meanings(guard, Texts(QUESTIONS), hashes(QUESTIONS), found).counts["encoded"] == 0
    )


def test_clusters_of_one_meaning_are_joined():
    cluster = np.array([0, 1, 2, 1, 3], dtype=np.int32)
    texts = Texts(QUESTIONS)
    joined, report = join_meanings(
        Angles(), texts, hashes(QUESTIONS), cluster, SemanticConfig(threshold=0.99)
    )
    assert joined.tolist() == [0, 0, 1, 0, 2]
    assert report.counts == {"questions": 4, "clusters_before": 4, "clusters_after": 3}


def test_too_many_to_join_is_said(monkeypatch):
    monkeypatch.setattr(meaning, "MAX_TEXTS", 3)
    cluster = np.zeros(5, dtype=np.int32)
    with pytest.raises(DataError, match="too many"):
        join_meanings(Angles(), Texts(QUESTIONS), hashes(QUESTIONS), cluster, SemanticConfig())


def test_the_encoder_is_asked_for_where_a_step_needs_it(tmp_path):
    def opened(leak, semantic=False, enabled=True):
        return open_encoder(
            EncoderConfig(model=str(tmp_path / "none")), cache=None,
            leak=LeakConfig(semantic=leak, enabled=enabled),
            semantic=SemanticConfig(enabled=semantic),
        )  # fmt: skip

    assert opened("auto") is None
    assert opened("off") is None
    assert opened("on", enabled=False) is None
    for needed in (("on",), ("off", True)):
        with pytest.raises(TuneloopError):
            opened(*needed)
