import random

import pytest

from tuneloop.simulate.grammar import expand


def wordings(text, vocabulary=None, n=200):
    return {expand(text, vocabulary or {}, random.Random(i), {}) for i in range(n)}


def test_every_alternative_is_said_and_nothing_else():
    assert wordings("{a|b{c|d}|}!") == {"a!", "bc!", "bd!", "!"}


def test_a_word_stays_the_same_within_one_message():
    for said in wordings("<thing> and <thing>", {"thing": ["cup", "{pan|pot}"]}):
        first, second = said.split(" and ")
        assert first == second


def test_drawn_words_carry_over_to_the_next_clause():
    drawn = {}
    vocabulary = {"thing": ["cup", "pan", "pot", "lid"]}
    first = expand("<thing>", vocabulary, random.Random(1), drawn)
    assert expand("<thing>", vocabulary, random.Random(2), drawn) == first


def test_digits_have_the_asked_length_and_differ():
    said = wordings("<d5>")
    assert all(len(number) == 5 and number.isdigit() for number in said)
    assert len(said) > 100


@pytest.mark.parametrize("text", ["{a|b", "a}", "{{a}"])
def test_braces_that_do_not_match_are_an_error(text):
    with pytest.raises(ValueError, match="brace"):
        expand(text, {}, random.Random(0), {})


def test_an_unknown_word_is_an_error():
    with pytest.raises(KeyError):
        expand("<nothing>", {}, random.Random(0), {})


def test_a_bar_or_angle_outside_braces_is_text():
    assert expand("a | b < c", {}, random.Random(0), {}) == "a | b < c"
