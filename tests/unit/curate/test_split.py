"""Sides are drawn once: what comes later moves nothing, and nothing connects the two sides."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.config.curate import SplitConfig
from tuneloop.curate.duplicates import Questions
from tuneloop.curate.near import Sets
from tuneloop.curate.split import BOTH, TRAIN, VALIDATION, draw_sides, name_groups


class Rows(SimpleNamespace):
    def __len__(self):
        return len(self.ts)


@dataclass
class Log:
    """A log of (session, question) in order of time, and which questions are near-equal."""

    rows: list
    near: list
    questions: int

    def first(self, n):
        """What this log was when it had n rows: questions are numbered as they appear."""
        rows = self.rows[:n]
        n_questions = max((q for _, q in rows), default=-1) + 1
        near = [(a, b) for a, b in self.near if b < n_questions]
        return Log(rows, near, n_questions)

    def columns(self):
        sessions = np.array([s for s, _ in self.rows], dtype=np.int32)
        of = np.array([q for _, q in self.rows], dtype=np.int64)
        n = len(self.rows)
        interactions = Rows(
            id=pa.array([f"i{k:04}" for k in range(n)]),
            ts=np.arange(n, dtype=np.float64),
            question=(of.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15),
            codes={"session": sessions, "subject": sessions % 3},
        )
        empty = Sets(np.zeros(0, np.uint64), np.zeros(n + 1, np.int64))
        pairs = np.array(self.near, dtype=np.int64).reshape(-1, 2)
        first = np.array([of.tolist().index(q) for q in range(self.questions)], dtype=np.int64)
        questions = Questions(of, pairs[:, 0], pairs[:, 1], first)
        return SimpleNamespace(interactions=interactions, documents=empty), questions


@st.composite
def logs(draw):
    rows, seen = [], 0
    for _ in range(draw(st.integers(2, 40))):
        question = draw(st.integers(0, seen))
        seen = max(seen, question + 1)
        rows.append((draw(st.integers(0, 12)), question))
    pairs = st.tuples(st.integers(0, seen - 1), st.integers(0, seen - 1))
    near = draw(st.lists(pairs.map(lambda p: tuple(sorted(p))).filter(lambda p: p[0] < p[1]),
                         max_size=12, unique=True)) if seen > 1 else []  # fmt: skip
    return Log(rows, near, seen)


HALF = SplitConfig(validation_fraction=0.5)


@settings(max_examples=200, deadline=None)
@given(logs(), st.data())
def test_later_rows_move_no_earlier_one(log, data):
    now = data.draw(st.integers(1, len(log.rows)))
    before = draw_sides(*log.first(now).columns(), HALF, seed=3)
    after = draw_sides(*log.columns(), HALF, seed=3)
    assert np.array_equal(before, after[:now])


@settings(max_examples=200, deadline=None)
@given(logs())
def test_nothing_connects_the_two_sides(log):
    assembled, questions = log.columns()
    side = draw_sides(assembled, questions, HALF, seed=3)
    by_session, by_question = {}, {}
    for (session, question), mine in zip(log.rows, side.tolist(), strict=True):
        if mine != BOTH:
            by_session.setdefault(session, set()).add(mine)
            by_question.setdefault(question, set()).add(mine)
    assert all(len(sides) == 1 for sides in [*by_session.values(), *by_question.values()])
    for a, b in log.near:
        assert len(by_question.get(a, set()) | by_question.get(b, set())) <= 1
    groups = name_groups(assembled, questions, side != BOTH, HALF)
    for names in (groups.group_id.to_pylist(), groups.cluster_id.to_pylist()):
        sides = {}
        for name, mine in zip(names, side.tolist(), strict=True):
            assert (name is None) == (mine == BOTH)
            sides.setdefault(name, set()).add(mine)
        assert all(len(found) == 1 for found in sides.values())


def strangers(n=4_000):
    return Log([(k, k) for k in range(n)], [], n)


def test_the_share_of_groups_is_the_configured_one():
    side = draw_sides(*strangers().columns(), SplitConfig(validation_fraction=0.1), seed=1)
    assert np.mean(side == VALIDATION) == pytest.approx(0.1, abs=0.015)
    other = draw_sides(*strangers().columns(), SplitConfig(validation_fraction=0.1), seed=2)
    assert not np.array_equal(side, other)


def test_by_time_the_newest_groups_are_held_out():
    log = strangers(100)
    log.rows[95] = (3, 95)  # an old conversation goes on
    side = draw_sides(*log.columns(), SplitConfig(validation_fraction=0.1, time=True), seed=1)
    assert side[:90].tolist() == [TRAIN] * 90
    assert side[95] == TRAIN
    assert side[90:].sum() == 9


def test_a_date_holds_still_when_data_is_added():
    config = SplitConfig(time=True, since="1970-01-01T00:01:00+00:00")
    small = draw_sides(*strangers(80).columns(), config, seed=1)
    large = draw_sides(*strangers(200).columns(), config, seed=1)
    assert small.tolist() == [TRAIN] * 60 + [VALIDATION] * 20
    assert np.array_equal(small, large[:80])


def test_a_date_alone_is_a_mistake():
    with pytest.raises(ValueError, match="needs time"):
        SplitConfig(since="2026-01-01T00:00:00Z")
