"""Settling in columns gives what a plain reading of its rules gives, row by row."""

from collections import defaultdict

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.build.made import Links, made
from tuneloop.build.rules import Sources
from tuneloop.build.settle import settle
from tuneloop.config.sets import BuildConfig

RULES = list(BuildConfig().rules)
CORRECTION, LIKED = RULES.index("correction"), RULES.index("liked")


class Fixed:
    """What settling reads of rows and texts: each row's prompt and split, each text's key."""

    def __init__(self, prompt, validates, key):
        self.prompt, self.validates, self.key = prompt, validates, key


ONE = st.tuples(
    st.integers(0, 11),  # row
    st.integers(0, 5),  # good
    st.integers(0, 5),  # bad
    st.booleans(),  # label
    st.sampled_from([0.25, 0.5, 1.0]),  # weight
    st.sampled_from([CORRECTION, LIKED]),
)
N_ROWS, KEYS = 12, np.array([0, 1, 2, 0, 1, 2])  # two texts for each thing that can be said


def sources(validates):
    rows = Fixed(np.arange(N_ROWS) // 3, np.array(validates), None)
    return Sources(rows, Fixed(None, None, KEYS), pa.nulls(0))


def examples(drawn, kind):
    row, good, bad, label, weight, rule = (np.array(c) for c in zip(*drawn, strict=True))
    more = {"preference": {"bad": bad}, "kto": {"label": label.astype(int)}, "sft": {}}[kind]
    links = Links.one_each(row), Links.one_each(np.arange(len(row)))
    found = made(0, row, good, weight, links, **more)
    found.rule = rule
    return found


def plainly(drawn, kind, validates):
    """Return (prompt, what is said) → (weight, rows, feedback, validates), read rule by rule."""
    by_prompt = defaultdict(lambda: defaultdict(list))
    for number, (row, good, bad, label, weight, rule) in enumerate(drawn):
        said = {"sft": KEYS[good], "preference": (KEYS[good], KEYS[bad]),
                "kto": (KEYS[good], label)}[kind]  # fmt: skip
        by_prompt[row // 3][said].append((weight, rule, row, number))
    found = {}
    for prompt, votes in by_prompt.items():
        mass = {said: round(sum(v[0] for v in voices), 9) for said, voices in votes.items()}
        for said, voices in votes.items():
            if kind == "sft":
                rank = {
                    s: (mass[s], any(v[1] == CORRECTION for v in votes[s]),
                        -min(v[2] for v in votes[s]), s)
                    for s in votes
                }  # fmt: skip
                if rank[said] != max(rank.values()):
                    continue
            elif kind == "preference":
                if said[0] == said[1] or mass[said] <= mass.get((said[1], said[0]), 0):
                    continue
            elif mass[said] <= mass.get((said[0], not said[1]), 0):
                continue
            rows = {v[2] for v in voices}
            held_out = all(validates[row] for row in rows)
            best = max(v[0] for v in voices)
            found[prompt, said] = (best, rows, {v[3] for v in voices}, held_out)
    return found


@settings(max_examples=200, deadline=None)
@given(
    drawn=st.lists(ONE, min_size=1, max_size=40),
    validates=st.lists(st.booleans(), min_size=N_ROWS, max_size=N_ROWS),
)
def test_settling_is_as_plainly_read(drawn, validates):
    config = BuildConfig(max_pairs_per_prompt=100)
    kinds = ("sft", "preference", "kto")
    settled = settle({k: examples(drawn, k) for k in kinds}, sources(validates), config)
    for kind, (found, held_out) in settled.items():
        wanted = plainly(drawn, kind, validates)
        got = {}
        for i in range(len(found)):
            said = {
                "sft": KEYS[found.good[i]],
                "preference": (KEYS[found.good[i]], KEYS[found.bad[i]]),
                "kto": (KEYS[found.good[i]], bool(found.label[i])),
            }[kind]
            rows = found.rows.thing[found.rows.owner == i].tolist()
            feedback = found.feedback.thing[found.feedback.owner == i].tolist()
            assert rows[0] == found.row[i]
            assert len(set(feedback)) == len(feedback)
            key = (found.row[i] // 3, said)
            assert key not in got
            got[key] = (found.weight[i], set(rows), set(feedback), held_out[i])
        assert got == wanted
        assert (np.diff(found.row) >= 0).all()


def test_caps_of_a_prompt():
    drawn = [(0, i % 3, (i + 1) % 3, True, 1.0 - i / 10, LIKED) for i in range(3)]
    drawn += [(4, 0, 1, True, 1.0, LIKED)]
    config = BuildConfig(max_pairs_per_prompt=2, max_kto_rows_per_prompt=1)
    where = sources([False] * N_ROWS)
    kinds = ("sft", "preference", "kto")
    settled = settle({k: examples(drawn, k) for k in kinds}, where, config)
    assert settled["preference"][0].row.tolist() == [0, 0, 4]
    assert settled["kto"][0].row.tolist() == [0, 4]
    assert settled["kto"][0].weight.tolist() == [1.0, 1.0]
    assert (where.skipped["preference_prompt_cap"], where.skipped["kto_prompt_cap"]) == (1, 2)
