"""Rows as tokens: the chat template applied, the answer marked, what does not fit counted."""

from __future__ import annotations

import bisect
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tuneloop.artefacts.manifest import Counts
from tuneloop.errors import TrainingError
from tuneloop.train.chats import Messages, as_message, as_tools, render, without_calls

IGNORED = -100
ABOUT = ("tools", "loss_on", "reasoning", "weight", "row_id")
"""Columns beside the messages that say how a row is trained on; older sets lack some."""

Row = dict[str, Any]
"""The named message columns, and of `ABOUT` what its file has."""


@dataclass
class TokenRows:
    """Tokenised rows that fit, and what happened to the others.

    SFT rows hold `input_ids` and `labels` (-100 on the prompt); preference rows hold
    `prompt_ids`, `chosen_ids` and `rejected_ids`. `weights` and `ids` are the rows' own.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    n_in: int = 0

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row; of a pair, both answers with their prompt."""
        return [
            len(row["input_ids"])
            if "input_ids" in row
            else 2 * len(row["prompt_ids"]) + len(row["chosen_ids"]) + len(row["rejected_ids"])
            for row in self.rows
        ]

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence the model sees."""
        return max(
            len(row["input_ids"])
            if "input_ids" in row
            else len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))
            for row in self.rows
        )

    def sample(self, n: int | None, *, seed: int) -> TokenRows:
        """Return at most `n` of the rows, seeded and in their order."""
        if n is None or n >= len(self.rows):
            return self
        chosen = sorted(random.Random(seed).sample(range(len(self.rows)), n))
        weights = [self.weights[i] for i in chosen] if self.weights else []
        ids = [self.ids[i] for i in chosen] if self.ids else []
        return replace(self, rows=[self.rows[i] for i in chosen], weights=weights, ids=ids)

    def id_of(self, row: int) -> str | None:
        """Return the id a row has in its set, where it has one."""
        return self.ids[row] if self.ids else None

    def counts(self) -> Counts:
        """Rows in, dropped by reason, out."""
        return Counts(n_in=self.n_in, dropped=dict(self.dropped), n_out=len(self.rows))


def read_rows(path: Path, columns: list[str]) -> list[Row]:
    """Return the named message columns of a Parquet file, row by row, with what is `ABOUT` them."""
    import pyarrow.parquet as pq

    about = [name for name in ABOUT if name in pq.read_schema(path).names]
    rows = pq.read_table(path, columns=[*columns, *about]).to_pylist()
    return [
        row | {name: [as_message(m) for m in row[name] or []] for name in columns} for row in rows
    ]


def sft_rows(rows: list[Row], tokenizer: Any, *, max_length: int) -> TokenRows:
    """Tokenise (prompt, completion) rows; the loss is on the completion only, or where it says.

    `loss_on: all` adds the assistant's earlier turns, `reasoning: mask` takes the reasoning
    before the answer away.

    Raises:
        TrainingError: if the chat template leaves no token of an answer to learn from.
    """
    result = TokenRows(n_in=len(rows))
    kept = _that_say_something(rows, ("completion",), tokenizer, result)
    prompts = render(tokenizer, [(r["prompt"], as_tools(r)) for r in kept], prompt=True)
    wholes = render(tokenizer, [(r["prompt"] + r["completion"], as_tools(r)) for r in kept])
    for row, prompt, whole in zip(kept, prompts, wholes, strict=True):
        start = _common_prefix(prompt, whole)
        if start == len(whole):
            raise _all_masked()
        if len(whole) > max_length:
            _drop(result, "too_long", 1)
            continue
        labels = [IGNORED] * start + whole[start:]
        for begin, end in _earlier_turns(row, whole, tokenizer):
            labels[begin:end] = whole[begin:end]
        if row.get("reasoning") == "mask" and row["completion"][0].get("reasoning_content"):
            end = _end_of_reasoning(row, whole, tokenizer)
            labels[start:end] = [IGNORED] * (end - start)
        result.rows.append({"input_ids": whole, "labels": labels})
        result.weights.append(float(row.get("weight") or 1.0))
        result.ids.append(row.get("row_id"))
    return result


def preference_rows(rows: list[Row], tokenizer: Any, *, max_length: int) -> TokenRows:
    """Tokenise (prompt, chosen, rejected) rows; a pair with one answer too long is dropped.

    Raises:
        TrainingError: if the chat template leaves no token of an answer to learn from.
    """
    result = TokenRows(n_in=len(rows))
    kept = _that_say_something(rows, ("chosen", "rejected"), tokenizer, result)
    prompts = render(tokenizer, [(r["prompt"], as_tools(r)) for r in kept], prompt=True)
    chosen = render(tokenizer, [(r["prompt"] + r["chosen"], as_tools(r)) for r in kept])
    rejected = render(tokenizer, [(r["prompt"] + r["rejected"], as_tools(r)) for r in kept])
    for row, prompt, good, bad in zip(kept, prompts, chosen, rejected, strict=True):
        start = min(_common_prefix(prompt, good), _common_prefix(prompt, bad))
        if start in (len(good), len(bad)):
            raise _all_masked()
        if good == bad:
            _drop(result, "same_answers", 1)
        elif max(len(good), len(bad)) > max_length:
            _drop(result, "too_long", 1)
        else:
            result.rows.append(
                {
                    "prompt_ids": good[:start],
                    "chosen_ids": good[start:],
                    "rejected_ids": bad[start:],
                }
            )
            result.weights.append(float(row.get("weight") or 1.0))
            result.ids.append(row.get("row_id"))
    return result


def need_rows(tokens: TokenRows, *, where: str, max_length: int) -> None:
    """Raise TrainingError, saying what to do, where there is nothing to train on."""
    if tokens.rows:
        return
    if tokens.n_in == 0:
        hint = "the build stage made no such rows: look at its summary, or switch this stage off"
    else:
        dropped = ", ".join(f"{n} {reason}" for reason, n in sorted(tokens.dropped.items()))
        hint = f"all {tokens.n_in} rows were dropped ({dropped}); raise max_length ({max_length})?"
    raise TrainingError("the training set is empty", where=where, hint=hint)


def _drop(result: TokenRows, reason: str, n: int) -> None:
    if n:
        result.dropped[reason] += n


def _that_say_something(
    rows: list[Row], sides: tuple[str, ...], tokenizer: Any, result: TokenRows
) -> list[Row]:
    """Return the rows with an answer on each side that the chat template shows; count the rest.

    Many templates leave tool calls out in silence: the row would teach to answer nothing.
    """
    kept = []
    for row in rows:
        if not all(_says_something(row[side]) for side in sides):
            _drop(result, "empty", 1)
        elif any(_calls_are_lost(row, side, tokenizer) for side in sides):
            _drop(result, "tool_calls_not_rendered", 1)
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
    whole, less = render(tokenizer, [(chat, tools), (bare, tools)])
    return whole == less


def _earlier_turns(row: Row, whole: list[int], tokenizer: Any) -> Iterator[tuple[int, int]]:
    """Yield where the assistant's turns of a prompt lie in its tokens, for `loss_on: all`.

    A template that shows earlier turns otherwise than the last one (without their reasoning)
    gives other tokens; what they do not share with the row is left alone.
    """
    if row.get("loss_on") != "all":
        return
    for i, message in enumerate(row["prompt"]):
        if message["role"] == "assistant":
            before, tools = row["prompt"][:i], as_tools(row)
            (start,) = render(tokenizer, [(before, tools)], prompt=True)
            (end,) = render(tokenizer, [([*before, message], tools)])
            if whole[: len(start)] == start:
                yield len(start), _common_prefix(end, whole)


def _end_of_reasoning(row: Row, whole: list[int], tokenizer: Any) -> int:
    """Return the token at which the answer after the reasoning begins."""
    answer = str(row["completion"][0]["content"])
    place = tokenizer.decode(whole).rfind(answer) if answer.strip() else -1
    if place < 0:
        return len(whole)
    # By text, since "\n" before a word and at an end are different tokens.
    return bisect.bisect_left(
        range(len(whole)), place, key=lambda n: len(tokenizer.decode(whole[:n]))
    )


def _common_prefix(left: list[int], right: list[int]) -> int:
    for position, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return position
    return min(len(left), len(right))


def _all_masked() -> TrainingError:
    return TrainingError(
        "the loss mask of an answer is empty: its row is the same with and without the answer",
        where="chat template",
        hint="the model's chat template leaves assistant messages out; use a model whose "
        "template renders them",
    )
