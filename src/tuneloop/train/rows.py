"""Rows as tokens: the chat template applied, the answer marked, what does not fit counted."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tuneloop.artefacts.manifest import Counts
from tuneloop.errors import TrainingError

IGNORED = -100
_RENDER_BATCH = 1000

Messages = list[dict[str, Any]]


@dataclass
class TokenRows:
    """Tokenised rows that fit, and what happened to the others.

    SFT rows hold `input_ids` and `labels` (-100 on the prompt); preference rows hold
    `prompt_ids`, `chosen_ids` and `rejected_ids`.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
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
        return replace(self, rows=[self.rows[i] for i in chosen])

    def counts(self) -> Counts:
        """Rows in, dropped by reason, out."""
        return Counts(n_in=self.n_in, dropped=dict(self.dropped), n_out=len(self.rows))


def read_rows(path: Path, columns: list[str]) -> list[dict[str, Messages]]:
    """Return the named message columns of a Parquet file, row by row."""
    import pyarrow.parquet as pq

    rows = pq.read_table(path, columns=columns).to_pylist()
    return [{name: [_message(m) for m in row[name] or []] for name in columns} for row in rows]


def sft_rows(rows: list[dict[str, Messages]], tokenizer: Any, *, max_length: int) -> TokenRows:
    """Tokenise (prompt, completion) rows; the loss is on the completion only.

    Raises:
        TrainingError: if the chat template leaves no token of an answer to learn from.
    """
    kept = [row for row in rows if _says_something(row["completion"])]
    result = TokenRows(n_in=len(rows))
    _drop(result, "empty", len(rows) - len(kept))
    prompts = _render(tokenizer, [row["prompt"] for row in kept], prompt=True)
    wholes = _render(tokenizer, [row["prompt"] + row["completion"] for row in kept])
    for prompt, whole in zip(prompts, wholes, strict=True):
        start = _common_prefix(prompt, whole)
        if start == len(whole):
            raise _all_masked()
        if len(whole) > max_length:
            _drop(result, "too_long", 1)
        else:
            labels = [IGNORED] * start + whole[start:]
            result.rows.append({"input_ids": whole, "labels": labels})
    return result


def preference_rows(
    rows: list[dict[str, Messages]], tokenizer: Any, *, max_length: int
) -> TokenRows:
    """Tokenise (prompt, chosen, rejected) rows; a pair with one answer too long is dropped.

    Raises:
        TrainingError: if the chat template leaves no token of an answer to learn from.
    """
    kept = [r for r in rows if _says_something(r["chosen"]) and _says_something(r["rejected"])]
    result = TokenRows(n_in=len(rows))
    _drop(result, "empty", len(rows) - len(kept))
    prompts = _render(tokenizer, [row["prompt"] for row in kept], prompt=True)
    chosen = _render(tokenizer, [row["prompt"] + row["chosen"] for row in kept])
    rejected = _render(tokenizer, [row["prompt"] + row["rejected"] for row in kept])
    for prompt, good, bad in zip(prompts, chosen, rejected, strict=True):
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


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message without the nulls that Arrow puts in for missing fields."""
    return {k: v for k, v in message.items() if v is not None} | {
        "content": message.get("content") or ""
    }


def _says_something(messages: Messages) -> bool:
    return any(str(m["content"]).strip() or m.get("tool_calls") for m in messages)


def _render(tokenizer: Any, chats: list[Messages], *, prompt: bool = False) -> list[list[int]]:
    """Return token ids of each chat, through the model's own template."""
    tokens: list[list[int]] = []
    for begin in range(0, len(chats), _RENDER_BATCH):
        texts = tokenizer.apply_chat_template(
            chats[begin : begin + _RENDER_BATCH], tokenize=False, add_generation_prompt=prompt
        )
        tokens += tokenizer(texts, add_special_tokens=False)["input_ids"]
    return tokens


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
