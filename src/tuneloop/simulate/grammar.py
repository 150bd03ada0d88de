"""Wording with alternatives: `{a|b}` chooses, `<word>` draws from a vocabulary, `<d5>` digits."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

_TOKEN = re.compile(r"[{|}]|<\w+>|[^{|}<]+|<")
_DIGITS = re.compile(r"d(\d)")


@dataclass(frozen=True, slots=True)
class _Word:
    name: str


@dataclass(frozen=True, slots=True)
class _Choice:
    options: tuple[tuple[_Node, ...], ...]


_Node = str | _Word | _Choice


def expand(
    text: str, vocabulary: Mapping[str, list[str]], rng: random.Random, drawn: dict[str, str]
) -> str:
    """Return one wording of `text`.

    A word drawn once stays the same in the text, as people speak of one thing; `drawn` holds
    what was drawn, for clauses that go on in the same message.

    Raises:
        ValueError: for braces that do not match.
        KeyError: for a word the vocabulary lacks.
    """
    return _say(_parse(text), vocabulary, rng, drawn)


def _say(
    nodes: tuple[_Node, ...],
    vocabulary: Mapping[str, list[str]],
    rng: random.Random,
    drawn: dict[str, str],
) -> str:
    said: list[str] = []
    for node in nodes:
        if isinstance(node, str):
            said.append(node)
        elif isinstance(node, _Choice):
            said.append(_say(rng.choice(node.options), vocabulary, rng, drawn))
        elif digits := _DIGITS.fullmatch(node.name):
            n = int(digits[1])
            said.append(str(rng.randrange(10 ** (n - 1), 10**n)))
        else:
            if node.name not in drawn:
                entry = rng.choice(vocabulary[node.name])
                drawn[node.name] = _say(_parse(entry), vocabulary, rng, drawn)
            said.append(drawn[node.name])
    return "".join(said)


@cache
def _parse(text: str) -> tuple[_Node, ...]:
    """Return the tree of `text`; equal texts are parsed once."""
    stack: list[list[list[_Node]]] = [[[]]]
    for token in _TOKEN.findall(text):
        if token == "{":
            stack.append([[]])
        elif token == "|" and len(stack) > 1:
            stack[-1].append([])
        elif token == "}":
            if len(stack) == 1:
                raise ValueError(f"a brace closes that was never opened: {text!r}")
            options = tuple(tuple(option) for option in stack.pop())
            stack[-1][-1].append(_Choice(options))
        elif token[0] == "<" and len(token) > 1:
            stack[-1][-1].append(_Word(token[1:-1]))
        else:
            stack[-1][-1].append(token)
    if len(stack) > 1:
        raise ValueError(f"a brace is never closed: {text!r}")
    return tuple(stack[0][0])
