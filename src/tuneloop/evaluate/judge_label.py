"""How a label is read from the probabilities of one token."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import regex

from tuneloop.evaluate.judge_prompt import VERDICT
from tuneloop.runtime.serving import TokenLogprob

WORDS = {"tie": "T", "yes": "Y", "no": "N"}
_REFUSAL = regex.compile(
    r"^\W*(?:I'm sorry|I am sorry|sorry|I apologi[sz]e|I can(?:no|')t|I am unable|I'm unable|"
    r"as an AI\b)",
    regex.IGNORECASE,
)


def is_refusal(text: str) -> bool:
    """Whether the judge's reasoning begins by declining."""
    return _REFUSAL.search(text) is not None


def begun_verdict(reasoning: str) -> str:
    """Return the judge's own words up to the label, for a request that continues them."""
    own = regex.split(r"[\s*_#]*\bverdict\W*:", reasoning, maxsplit=1, flags=regex.IGNORECASE)[0]
    return f"{own.strip()}\n\n{VERDICT}".strip()


def read_label(top: Sequence[TokenLogprob], labels: Sequence[str]) -> dict[str, float]:
    """Return the probability of each label as the next token, its variants summed.

    Variants are `A`, ` A`, `**A`, and the words tie, yes and no for T, Y and N. A lower-case `a`
    is an article and no label. What is left of 1 is off the labels.
    """
    mass = dict.fromkeys(labels, 0.0)
    for token in top:
        word = token.token.strip(" \t\n\r\u2581\u0120\u010a*_\"'`([{<:.)]}>")
        label = WORDS.get(word.lower(), word)
        if label in mass:
            mass[label] += math.exp(token.logprob)
    return mass


def off_label(mass: Mapping[str, float]) -> float:
    """Return the probability that the next token is no label."""
    return min(1.0, max(0.0, 1.0 - sum(mass.values())))
