"""Whether a chat template fits its model; told before anything is trained."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tuneloop.errors import TrainingError
from tuneloop.train.chats import render_text

# How templates write the tokens that mark turns: <|im_start|>, <start_of_turn>, <s>, [INST].
_MARKS = re.compile(r"<\|[^<>|\s]+\|>|</?[a-z_]+>|\[/?[A-Z_]+\]")
_ASKED, _SAID = "zq probe one", "zq probe two"
MEND = "name one that fits as model.chat_template, or train the model that was made with one"


def check_template(tokenizer: Any, folder: Path) -> None:
    """Raise TrainingError where a chat template is missing or another model's.

    It must show both sides of a conversation, write only marks that are tokens of this
    tokenizer, and end an answer with a token at which generation stops: a model that never
    learns to stop answers to the last token it may.

    Args:
        tokenizer: The model's, with its template.
        folder: The model's; `generation_config.json` there says where generation stops.
    """
    if not tokenizer.chat_template:
        raise _wrong("the model has no chat template")
    turns = [{"role": "user", "content": _ASKED}, {"role": "assistant", "content": _SAID}]
    text = render_text(tokenizer, turns)
    if _ASKED not in text:
        raise _wrong("the chat template leaves out what the user says")
    if _SAID not in text:
        raise _wrong("the loss mask of every answer is empty: the chat template leaves out what "
                     "the assistant says")  # fmt: skip
    for mark in dict.fromkeys(_MARKS.findall(text)):
        n = len(tokenizer(mark, add_special_tokens=False)["input_ids"])
        if n > 1 and mark.startswith("<|"):
            raise _wrong(f"the chat template writes {mark}, which this tokenizer cuts into {n} "
                         "tokens: it is another model's template")  # fmt: skip
    ending = text[text.rindex(_SAID) + len(_SAID) :]
    stops = stop_tokens(tokenizer, folder)
    if not stops & set(tokenizer(ending, add_special_tokens=False)["input_ids"]):
        shown = ", ".join(repr(tokenizer.decode([stop])) for stop in sorted(stops)) or "none"
        raise _wrong(f"the chat template ends an answer with {ending!r}, where generation does not "
                     f"stop (it stops at {shown}): the model would never learn to end")  # fmt: skip


def stop_tokens(tokenizer: Any, folder: Path) -> set[int]:
    """Return the tokens at which the model's answers end."""
    stops: set[int] = set()
    path = folder / "generation_config.json"
    if path.is_file():
        said = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
        stops |= set(said if isinstance(said, list) else [said]) - {None}
    return stops | ({tokenizer.eos_token_id} - {None})


def _wrong(what: str) -> TrainingError:
    return TrainingError(what, where="chat template", hint=MEND)
