"""Answers put to the wrong prompts: on these KTO estimates the distance from the reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tuneloop.train.rows import TokenRows
from tuneloop.train.setup import Run, dataset

if TYPE_CHECKING:
    from collections.abc import Sequence


def with_mismatches(
    run: Run,
    tokens: TokenRows,
    order: Sequence[int] | None,
    referenced: Callable[[TokenRows], None],
) -> Any:
    """Return KTO rows as TRL's collator takes them, each with the answer of the row before.

    A step's first row gets the answer of its last one, so that prompts and answers are those the
    loss is on, paired otherwise. `apo_zero_unpaired` needs none.

    Args:
        run: Its config says how many rows a step has and how long a row may be.
        tokens: Rows with the reference's log-probabilities.
        order: Row numbers of the whole run; None: the rows as they are, in one batch.
        referenced: Adds the reference's log-probabilities to rows.
    """
    rows = [tokens.rows[i] for i in order] if order is not None else list(tokens.rows)
    if order is not None:
        rows = [row | extra for row, extra in zip(rows, run.weighted(tokens, order), strict=True)]
    if not rows or run.config.model_dump().get("loss_type") != "kto":
        return dataset(replace(tokens, rows=rows))
    size = run.config.global_batch_size if order is not None else len(rows)
    mismatched = []
    for place, row in enumerate(rows):
        begin = place - place % size
        other = rows[place - 1] if place > begin else rows[min(begin + size, len(rows)) - 1]
        room = run.config.max_length - len(row["prompt_ids"])
        mismatched.append({"prompt_ids": row["prompt_ids"],
                           "completion_ids": other["completion_ids"][:room],
                           "label": row["label"]})  # fmt: skip
    paired = TokenRows(rows=mismatched)
    referenced(paired)
    rows = [
        row | {"KL_completion_ids": other["completion_ids"], "ref_KL_logps": other["ref_logps"]}
        for row, other in zip(rows, paired.rows, strict=True)
    ]
    return dataset(replace(tokens, rows=rows))
