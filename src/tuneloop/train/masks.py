"""Which tokens of a conversation are learned, found without help from the chat template.

A template need not mark what the assistant says: a turn begins where the conversation before it,
rendered with the prompt for an answer, ends; and it ends at the token that ends turns.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import Any

from tuneloop.train.chats import Messages, RefusedByTemplate, render, render_text

_SAID = "zq probe"


def common_prefix(left: list[int], right: list[int]) -> int:
    """Return how many tokens two sequences begin with together."""
    for position, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return position
    return min(len(left), len(right))


def earlier_turns(
    prompt: Messages, whole: list[int], tokenizer: Any, *, tools: str | None
) -> Iterator[tuple[dict[str, Any], int, int]]:
    """Yield the assistant's messages in a prompt, with where each lies in the row's tokens.

    The end of a turn and the space after it belong to it. A turn that is not found (a template
    that shows the conversation before it otherwise now than then) is left out.
    """
    ending = _ending_of_turns(tokenizer)
    for i, message in enumerate(prompt):
        if message["role"] != "assistant":
            continue
        (start,) = render(tokenizer, [(prompt[:i], tools)], prompt=True)
        if whole[: len(start)] != start:
            continue
        begin = len(start)
        if ending is None:  # no token of its own: as far as the turn, rendered last, is the same
            (alone,) = render(tokenizer, [(prompt[: i + 1], tools)])
            yield message, begin, common_prefix(alone, whole)
        elif ending in whole[begin:]:
            end = whole.index(ending, begin) + 1
            while end < len(whole) and not tokenizer.decode([whole[end]]).strip():
                if whole[end] in tokenizer.added_tokens_decoder:
                    break
                end += 1
            yield message, begin, end


def after_reasoning(message: dict[str, Any], ids: list[int], tokenizer: Any) -> int:
    """Return the token of a turn at which the answer after its reasoning begins.

    Args:
        message: The assistant's message.
        ids: The tokens of its turn.
        tokenizer: The model's.
    """
    answer = str(message["content"])
    place = tokenizer.decode(ids).rfind(answer) if answer.strip() else -1
    if place < 0:
        return len(ids)
    # By text, since "\n" before a word and at an end are different tokens.
    return bisect.bisect_left(range(len(ids)), place, key=lambda n: len(tokenizer.decode(ids[:n])))


def _ending_of_turns(tokenizer: Any) -> int | None:
    """Return the token that ends a turn of the assistant which others follow."""
    asked = {"role": "user", "content": "a"}
    turns = [asked, {"role": "assistant", "content": _SAID}, asked]
    try:
        text = render_text(tokenizer, turns)
    except RefusedByTemplate:
        return None
    after = text[text.rindex(_SAID) + len(_SAID) :] if _SAID in text else ""
    ids: list[int] = tokenizer(after, add_special_tokens=False)["input_ids"]
    return ids[0] if ids and ids[0] in tokenizer.added_tokens_decoder else None
