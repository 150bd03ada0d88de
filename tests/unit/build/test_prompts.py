"""Prompts are cut between turns, and equal where their words are."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.artefacts.tables import MESSAGES
from tuneloop.build.prompts import BYTES_PER_TOKEN, Prompts, one_spaced


def prompts(*conversations, tools=None):
    column = pa.chunked_array([pa.array(list(conversations), MESSAGES)])
    tools = pa.chunked_array([pa.array(tools or [None] * len(conversations), pa.string())])
    return Prompts.of(column, tools)


def plain(found):
    return [[(m["role"], m["content"]) for m in row] for row in found.column().to_pylist()]


def say(role, content="", **more):
    return {"role": role, "content": content} | more


TURN = st.lists(st.sampled_from(["assistant", "tool"]), max_size=4)
WORDS = st.text("abcdé ", max_size=30)


@settings(max_examples=150, deadline=None)
@given(
    system=st.booleans(),
    turns=st.lists(st.tuples(TURN, WORDS), min_size=1, max_size=6),
    most=st.integers(1, 40),
    keep=st.booleans(),
)
def test_a_cut_keeps_whole_turns_at_the_end(system, turns, most, keep):
    whole = [say("system", "be kind")] if system else []
    for roles, text in turns:
        whole += [say("user", text), *(say(role, text) for role in roles)]
    whole.append(say("user", "and now?"))
    found = prompts(whole)
    (fits,) = found.cut(most, with_system=keep)
    (cut,) = plain(found)
    head = [m for m in cut if m[0] == "system"]
    rest = [m for m in cut if m[0] != "system"]
    assert head == ([("system", "be kind")] if system and keep else [])
    body = [(m["role"], m["content"]) for m in whole if m["role"] != "system"]
    assert body[len(body) - len(rest) :] == rest
    assert rest[0][0] == "user"
    n_bytes = sum(len(text.encode()) for _, text in cut)
    assert fits == (n_bytes <= most * BYTES_PER_TOKEN)
    if fits and len(rest) < len(body):  # no more would have fitted
        before = body[: len(body) - len(rest)]
        start = max(i for i, m in enumerate(before) if m[0] == "user")
        more = sum(len(text.encode()) for _, text in before[start:])
        assert n_bytes + more > most * BYTES_PER_TOKEN


def test_tool_calls_count_and_stay_with_their_results():
    calls = '[{"id":"c1","function":{"name":"find","arguments":"{}"}}]'
    long = [say("user", "x" * 200), say("assistant", None, tool_calls=calls),
            say("tool", "found", tool_call_id="c1"), say("assistant", "here"),
            say("user", "thanks")]  # fmt: skip
    found = prompts(long, [say("user", "short")])
    assert found.n_bytes().tolist() == [200 + len(calls) + 5 + 4 + 6, 5]
    assert found.cut(50, with_system=True).tolist() == [True, True]
    assert plain(found) == [[("user", "thanks")], [("user", "short")]]
    row = prompts(long[1:3])
    assert not row.cut(1, with_system=True).any()  # no user, no turn to keep


def test_without_a_limit_nothing_is_cut():
    found = prompts([say("user", "x" * 10_000)])
    assert found.cut(None, with_system=True).all()
    assert found.filter(np.array([False])).column().to_pylist() == []


def keys(*conversations, tools=None):
    found = prompts(*conversations, tools=tools).keys().to_pylist()
    return len(set(found))


def test_equal_prompts_differ_in_spacing_only():
    same = [[say("user", text)] for text in ("a b", " a  b ", "a\n\tb", "a\u00a0b")]
    assert keys(*same) == 1
    assert keys([say("user", "a b")], [say("user", "ab")]) == 2
    assert keys([say("user", "a")], [say("assistant", "a")]) == 2
    assert keys([say("user", "a"), say("user", "b")], [say("user", "a b")]) == 2
    assert keys([say("user", "a")], [say("user", "a", tool_calls="[1]")]) == 2
    assert keys([say("user", "a")], [say("user", "a")], tools=["[]", None]) == 2
    assert keys([say("user", None)], [say("user", "")]) == 1


def test_keys_of_some_of_the_prompts():
    all_of = prompts([say("user", "a")], [say("user", "bb"), say("user", "c")], [say("user", "d")])
    some = all_of.filter(np.array([False, True, True]))
    assert some.keys().to_pylist() == all_of.keys().to_pylist()[1:]


@given(st.lists(st.text(max_size=20), max_size=20))
def test_one_space_between_words(texts):
    spaced = one_spaced(pa.array(texts, pa.string())).to_pylist()
    assert spaced == [" ".join(text.split()) for text in texts]
