"""Rows become tokens: the chat template applied, the answer marked, what does not fit counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tuneloop.artefacts.store import Artefact
from tuneloop.config.train import Method
from tuneloop.errors import TrainingError
from tuneloop.train.chats import Messages, RefusedByTemplate, as_tools, render, without_calls
from tuneloop.train.masks import after_reasoning, common_prefix, earlier_turns
from tuneloop.train.rows import IGNORED, Row, TokenRows, read_rows


def sft_rows(rows: list[Row], tokenizer: Any, *, max_length: int) -> TokenRows:
    """Tokenise (prompt, completion) rows; the loss is on the completion only, or where it says.

    `loss_on: all` adds the assistant's earlier turns, `reasoning: mask` takes the reasoning
    before the answers away.

    Raises:
        TrainingError: if the chat template leaves no token of an answer to learn from.
    """
    result = TokenRows(n_in=len(rows))
    for row, prompt, whole in _rendered(rows, ("completion",), tokenizer, result):
        start = _start_of_answer(prompt, whole)
        if len(whole) > max_length:
            result.drop("too_long")
            continue
        turns = [(row["completion"][0], start, len(whole))]
        if row.get("loss_on") == "all":
            earlier = list(earlier_turns(row["prompt"], whole, tokenizer, tools=as_tools(row)))
            said = sum(m["role"] == "assistant" for m in row["prompt"])
            result.notes["earlier_turns_not_found"] += said - len(earlier)
            turns += earlier
        labels = [IGNORED] * len(whole)
        for message, begin, end in turns:
            masks = row.get("reasoning") == "mask" and message.get("reasoning_content")
            skip = after_reasoning(message, whole[begin:end], tokenizer) if masks else 0
            labels[begin + skip : end] = whole[begin + skip : end]
        result.keep({"input_ids": whole, "labels": labels}, row)
    return result


def preference_rows(rows: list[Row], tokenizer: Any, *, max_length: int) -> TokenRows:
    """Tokenise (prompt, chosen, rejected) rows; a pair with one answer too long is dropped.

    Raises:
        TrainingError: if the chat template leaves no token of an answer to learn from.
    """
    result = TokenRows(n_in=len(rows))
    sides = ("chosen", "rejected")
    for row, prompt, good, bad in _rendered(rows, sides, tokenizer, result):
        start = min(_start_of_answer(prompt, good), _start_of_answer(prompt, bad))
        if good == bad:
            result.drop("same_answers")
        elif max(len(good), len(bad)) > max_length:
            result.drop("too_long")
        else:
            ids = {"prompt_ids": good[:start], "chosen_ids": good[start:],
                   "rejected_ids": bad[start:]}  # fmt: skip
            result.keep(ids, row)
    return result


def kto_rows(rows: list[Row], tokenizer: Any, *, max_length: int) -> TokenRows:
    """Tokenise (prompt, completion, label) rows, the label saying whether the answer is good.

    Raises:
        TrainingError: if the chat template leaves no token of an answer to learn from.
    """
    result = TokenRows(n_in=len(rows))
    for row, prompt, whole in _rendered(rows, ("completion",), tokenizer, result):
        start = _start_of_answer(prompt, whole)
        if len(whole) > max_length:
            result.drop("too_long")
        else:
            ids = {"prompt_ids": whole[:start], "completion_ids": whole[start:]}
            result.keep(ids | {"label": bool(row["label"])}, row)
    return result


@dataclass(frozen=True)
class RowKind:
    """What a training stage reads of a set."""

    name: str
    """The set's name in its files."""
    columns: tuple[str, ...]
    encode: Callable[..., TokenRows]


ROW_KINDS: dict[Method, RowKind] = {
    "sft": RowKind("sft", ("prompt", "completion"), sft_rows),
    "dpo": RowKind("preference", ("prompt", "chosen", "rejected"), preference_rows),
    "kto": RowKind("kto", ("prompt", "completion"), kto_rows),
}


def load_rows(
    method: Method, examples: Artefact, part: str, tokenizer: Any, *, max_length: int
) -> TokenRows:
    """Return the rows of a set that a training stage reads, as tokens.

    Args:
        method: The stage.
        examples: The example set.
        part: `train` or `validation`.
        tokenizer: The model's.
        max_length: Tokens a row may have.
    """
    kind = ROW_KINDS[method]
    rows = read_rows(examples.path(f"{kind.name}_{part}.parquet"), list(kind.columns))
    return kind.encode(rows, tokenizer, max_length=max_length)


def _rendered(
    rows: list[Row], sides: tuple[str, ...], tokenizer: Any, result: TokenRows
) -> list[tuple[Any, ...]]:
    """Return (row, tokens of its prompt, tokens with each side) of rows that say something.

    What the template takes amiss, one row after the other, is counted, and what it said kept.
    """
    kept = _that_say_something(rows, sides, tokenizer, result)
    try:
        return _render_all(kept, sides, tokenizer)
    except RefusedByTemplate:
        found = []
        for row in kept:
            try:
                found += _render_all([row], sides, tokenizer)
            except RefusedByTemplate as error:
                result.drop("refused_by_template")
                result.refusal = result.refusal or str(error)
        return found


def _render_all(rows: list[Row], sides: tuple[str, ...], tokenizer: Any) -> list[tuple[Any, ...]]:
    prompts = render(tokenizer, [(r["prompt"], as_tools(r)) for r in rows], prompt=True)
    wholes = [
        render(tokenizer, [(r["prompt"] + r[side], as_tools(r)) for r in rows]) for side in sides
    ]
    return list(zip(rows, prompts, *wholes, strict=True))


def _that_say_something(
    rows: list[Row], sides: tuple[str, ...], tokenizer: Any, result: TokenRows
) -> list[Row]:
    """Return the rows with an answer on each side that the chat template shows; count the rest.

    Many templates leave tool calls out in silence: the row would teach to answer nothing.
    """
    kept = []
    for row in rows:
        if not all(_says_something(row[side]) for side in sides):
            result.drop("empty")
        elif any(_calls_are_lost(row, side, tokenizer) for side in sides):
            result.drop("tool_calls_not_rendered")
        else:
            kept.append(row)
    return kept


def _says_something(messages: Messages) -> bool:
    return any(str(m["content"]).strip() or m.get("tool_calls") for m in messages)


def _calls_are_lost(row: Row, side: str, tokenizer: Any) -> bool:
    if not any(m.get("tool_calls") for m in row[side]):
        return False
    chat, tools = row["prompt"] + row[side], as_tools(row)
    bare = row["prompt"] + without_calls(row[side])
    try:
        whole, less = render(tokenizer, [(chat, tools), (bare, tools)])
    except RefusedByTemplate:  # counted as that
        return False
    return whole == less


def _start_of_answer(prompt: list[int], whole: list[int]) -> int:
    """Return the token at which the answer begins: where the row goes on from its prompt."""
    start = common_prefix(prompt, whole)
    if start == len(whole):
        raise TrainingError(
            "the loss mask of an answer is empty: its row is the same with and without the answer",
            where="chat template",
            hint="the model's chat template leaves assistant messages out; name one that shows "
            "them as model.chat_template",
        )
    return start
