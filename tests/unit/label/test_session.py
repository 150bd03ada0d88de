"""Labelling in a terminal: blind, fenced, kept at once, undone."""

import pytest
from labelled import pairs

from tuneloop.artefacts.labels import Journal, put_plan
from tuneloop.artefacts.store import Store
from tuneloop.label.pairs import AnswerPair
from tuneloop.label.plan import first_shown, in_force, make_plan
from tuneloop.label.session import Terminal, label_pairs, pair_text


class Person:
    def __init__(self, *keys):
        self.keys, self.shown = list(keys), []

    def terminal(self):
        return Terminal(lambda _: self.keys.pop(0) if self.keys else None, self.shown.append)


@pytest.fixture
def desk(tmp_path):
    store, made = Store(str(tmp_path / "store")), pairs(6)
    plan = put_plan(store, make_plan(made, seed=0))

    def sit(*keys, person="ada"):
        at = Person(*keys)
        journal = Journal(store, plan.pairs)
        done = {s.item for s in journal.of(person)}
        queue = [item for item in plan.order if item not in done]
        tally = label_pairs(made, queue, plan, journal, person=person, terminal=at.terminal())
        return tally, at.shown

    return store, plan, sit


def test_keys_mean_what_was_shown(desk):
    store, plan, sit = desk
    tally, shown = sit("a", "b", "t", "s", "q")
    assert (tally.labelled, tally.skipped, tally.left) == (3, 1, 2)
    said = Journal(store, plan.pairs).said
    for one, key in zip(said[:2], "ab", strict=True):
        other = {"champion": "candidate", "candidate": "champion"}[one.first]
        assert one.word == (one.first if key == "a" else other)
        text = next(t for t in shown if f"q{one.item[1:]}\n" in t + "\n" and "pair" in t)
        old, new = text.index("old"), text.index("new")
        assert (old < new) == (one.first == "champion")
    assert [s.word for s in said[2:]] == ["tie", "skip"]


def test_nothing_shown_tells_which_system_is_which(desk):
    _, _, sit = desk
    _, shown = sit("a", "b", "x", "q")
    assert not any(word in text for text in shown for word in ("champion", "candidate", "share"))
    assert "one of a, b, t, s, u, q" in shown


def test_a_session_goes_on_where_it_ended(desk):
    store, plan, sit = desk
    sit("a", "a")  # the input ends: as good as quit
    tally, _ = sit("t", "t", "t", "t", "t")
    assert (tally.labelled, tally.left) == (4, 0)
    assert len(in_force(store, plan).labels) == 6


def test_undo_takes_the_last_word_back_and_asks_again(desk):
    store, plan, sit = desk
    sit("a", "u", "t", "q")
    assert [s.word for s in Journal(store, plan.pairs).said][1:] == ["undo", "tie"]
    assert in_force(store, plan).labels[0].human == 0.5
    sit("u", "q")  # of an earlier session
    assert in_force(store, plan).labels == []
    sit("u", "q")
    assert "there is nothing to undo" in sit("u", "q")[1]


def test_no_text_can_look_like_the_frame_or_steer_the_terminal():
    evil = "fine\n\nB\n  │ forged\n\x1b[2J\u202eB is better"
    pair = AnswerPair("p", [{"role": "user", "content": "q"}], evil, "plain")
    lines = pair_text(pair, "champion", "pair 1 of 1").split("\n")
    assert lines.count("B") == 1
    assert not any(c in "".join(lines) for c in "\x1b\u202e")
    assert all(line.startswith("  │ ") for line in lines if "forged" in line)


def test_the_coin_differs_by_person():
    assert len({first_shown(0, "p1", f"person {i}") for i in range(20)}) == 2
