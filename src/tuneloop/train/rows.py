"""Rows as tokens: what a training stage reads, how long, how heavy, and what was left out."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from tuneloop.artefacts.manifest import Counts
from tuneloop.errors import TrainingError
from tuneloop.train.chats import as_message

IGNORED = -100
MEND = {
    "too_long": "raise max_length, which cuts nothing and drops what does not fit",
    "tool_calls_not_rendered": "the chat template leaves tool calls out: see model.chat_template",
    "same_answers": "a pair needs two different answers",
}
"""By reason why rows are left out: what to do about it."""
ABOUT = ("tools", "loss_on", "reasoning", "weight", "label", "row_id")
"""Columns beside the messages that say how a row is trained on; older sets lack some."""

_ANSWERS = ("chosen_ids", "rejected_ids", "completion_ids")

Row = dict[str, Any]
"""The named message columns, and of `ABOUT` what its file has."""


@dataclass
class TokenRows:
    """Tokenised rows that fit, and what happened to the others.

    SFT rows hold `input_ids` and `labels` (-100 on the prompt); preference rows `prompt_ids`,
    `chosen_ids` and `rejected_ids`; KTO rows `prompt_ids`, `completion_ids` and `label`.
    `weights` and `ids` are the rows' own.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    """What happened to parts of rows."""
    refusal: str = ""
    """What the chat template said against the first row it refused."""
    n_in: int = 0

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row; of a pair, both answers with their prompt."""
        return [sum(_sequences(row)) for row in self.rows]

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence the model sees."""
        return max(max(_sequences(row)) for row in self.rows)

    def keep(self, ids: dict[str, Any], row: Row) -> None:
        """Take a row's tokens, with its weight and its id."""
        self.rows.append(ids)
        weight = row.get("weight")
        self.weights.append(1.0 if weight is None else float(weight))
        self.ids.append(row.get("row_id"))

    def drop(self, reason: str) -> None:
        """Count a row as left out."""
        self.dropped[reason] += 1

    def relative_weights(self) -> list[float] | None:
        """Return the weights over their mean, in SFT the mean over learned tokens.

        So a weight says how much more than others a row counts, and the learning rate means what
        it means without weights. None where all are equal.
        """
        if len(set(self.weights)) < 2:
            return None
        sizes = [n_learned(row) if "labels" in row else 1 for row in self.rows]
        total = sum(w * n for w, n in zip(self.weights, sizes, strict=True))
        return [w * sum(sizes) / total for w in self.weights]

    def dropped_said(self) -> str:
        """Return what was left out and what to do about it, in words."""
        mend = MEND | ({"refused_by_template": f"it says: {self.refusal}"} if self.refusal else {})
        return "; ".join(
            f"{n:,} {reason}{f' ({mend[reason]})' if reason in mend else ''}"
            for reason, n in sorted(self.dropped.items())
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


def n_learned(row: dict[str, Any]) -> int:
    """Return how many tokens of a row bear loss."""
    if "labels" in row:
        return sum(label != IGNORED for label in row["labels"])
    return sum(len(row[name]) for name in _ANSWERS if name in row)


def decoded(row: dict[str, Any], tokenizer: Any) -> list[tuple[str, str]]:
    """Return a row as text in pieces: what is masked, and what is learned, in their order."""
    if "labels" not in row:
        prompt = ("masked", tokenizer.decode(row["prompt_ids"]))
        return [prompt, *((name.removesuffix("_ids"), tokenizer.decode(row[name]))
                          for name in _ANSWERS if name in row)]  # fmt: skip
    pieces = groupby(
        zip(row["input_ids"], row["labels"], strict=True), key=lambda pair: pair[1] != IGNORED
    )
    return [
        ("learned" if learned else "masked", tokenizer.decode([token for token, _ in pairs]))
        for learned, pairs in pieces
    ]


def _sequences(row: dict[str, Any]) -> list[int]:
    """Return the lengths of the sequences the model sees of a row."""
    if "input_ids" in row:
        return [len(row["input_ids"])]
    return [len(row["prompt_ids"]) + len(row[name]) for name in _ANSWERS if name in row]


def need_rows(tokens: TokenRows, *, where: str, max_length: int) -> None:
    """Raise TrainingError, saying what to do, where there is nothing to learn."""
    if tokens.rows:
        _need_both_labels(tokens, where=where)
        return
    if tokens.n_in == 0:
        hint = "the build stage made no such rows: look at its summary, or switch this stage off"
    else:
        hint = f"all {tokens.n_in} rows were dropped: {tokens.dropped_said()}"
        hint += f"; max_length is {max_length}" if tokens.dropped["too_long"] else ""
    raise TrainingError("the training set is empty", where=where, hint=hint)


def _need_both_labels(tokens: TokenRows, *, where: str) -> None:
    """Raise TrainingError where all answers are good, or all bad: KTO learns from telling apart."""
    labels = {row["label"] for row in tokens.rows if "label" in row}
    if len(labels) != 1:
        return
    there, lacking = ("good", "bad") if labels.pop() else ("bad", "good")
    raise TrainingError(
        f"all {len(tokens.rows):,} answers are {there}: with none that is {lacking} there is "
        "nothing to tell apart",
        where=where,
        hint=f"let a rule of build.rules make rows of {lacking} answers (makes: [kto], "
        f"label: {'false' if lacking == 'bad' else 'true'}), or train "
        + ("sft on the good ones" if there == "good" else "dpo on pairs"),
    )
