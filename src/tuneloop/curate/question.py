"""The text that makes two prompts the same question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def question_of(messages: Sequence[Mapping[str, str]]) -> str:
    """Return the question of chat messages; see `question_of_turns`."""
    return question_of_turns([m["content"] for m in messages if m["role"] == "user"])


def question_of_turns(turns: Sequence[str]) -> str:
    """Return the last of what the user said; a very short one comes with what was said before.

    System prompts are shared by all and would make everything a near-duplicate; "yes, please"
    is another question in every conversation.
    """
    start = len(turns) - 1
    while start > 0 and len(" ".join(turns[start:]).split(None, 5)) < 5:
        start -= 1
    return "\n".join(turns[max(start, 0) :])
