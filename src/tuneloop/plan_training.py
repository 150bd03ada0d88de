"""What a plan says of a training stage: rows, tokens, memory, and one row with its mask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneloop.artefacts.store import Artefact
from tuneloop.config.schema import RunConfig
from tuneloop.config.train import Method
from tuneloop.config.trainer import TrainerConfig
from tuneloop.errors import TuneloopError

if TYPE_CHECKING:
    from tuneloop.pipeline import Pipeline
    from tuneloop.runtime.shapes import ModelShape
    from tuneloop.train.rows import TokenRows
    from tuneloop.train.step import Step

EXAMPLES = 20
"""Rows of which the one with the most turns is shown."""


def training_plan(pipeline: Pipeline, examples: Artefact, stage: Method) -> dict[str, Any]:
    """Return a stage's rows, tokens, steps and memory, and one row with its mask."""
    from tuneloop.runtime.quiet import quiet_libraries
    from tuneloop.train.encode import load_rows
    from tuneloop.train.rows import decoded
    from tuneloop.train.setup import load_tokenizer
    from tuneloop.train.templates import check_template

    config = pipeline.config.train.method(stage)
    try:
        base = pipeline.base
    except TuneloopError as error:
        return {"note": f"the base model is not at hand: {error.what}"}
    with quiet_libraries():
        tokenizer = load_tokenizer(base)
        check_template(tokenizer, base.folder)
        tokens = load_rows(stage, examples, "train", tokenizer, max_length=config.max_length)
    if not tokens.rows:
        return {"n_rows": 0, "dropped": dict(tokens.dropped)}
    row = max(tokens.rows[:EXAMPLES], key=lambda row: len(decoded(row, tokenizer)))
    return _numbers(pipeline.config, stage, tokens, base.folder) | {
        "example": [{"part": part, "text": text} for part, text in decoded(row, tokenizer)]
    }


def training_bound(pipeline: Pipeline, stage: Method) -> dict[str, Any]:
    """Return the most memory a stage can take: every row as long as `max_length` allows."""
    from tuneloop.runtime.shapes import folder_shape, published_shape
    from tuneloop.train.step import largest_step

    config = pipeline.config.train.method(stage)
    note = "run `tuneloop build` first to see rows, tokens and an example"
    try:
        shape = published_shape(pipeline.config.model.name) or folder_shape(pipeline.base.folder)
    except TuneloopError as error:
        return {"note": f"{note}; no memory estimate: {error.what}"}
    step = largest_step(config, pairs=stage == "dpo")
    return {"note": note} | _memory(pipeline.config, config, shape, step)


def _numbers(run: RunConfig, stage: Method, tokens: TokenRows, folder: Path) -> dict[str, Any]:
    from tuneloop.runtime.shapes import folder_shape
    from tuneloop.train.order import n_steps
    from tuneloop.train.rows import n_learned
    from tuneloop.train.step import filled, packs, step_of

    config = run.train.method(stage)
    lengths, losses = tokens.lengths, [n_learned(row) for row in tokens.rows]
    micro = 1 if packs(config) else config.micro_batch_size
    config, ordered = filled(config, tokens), sorted(lengths)
    padded = sum(max(ordered[i : i + micro]) * len(ordered[i : i + micro])
                 for i in range(0, len(ordered), micro))  # fmt: skip
    return {
        "n_rows": len(lengths),
        "dropped": dict(tokens.dropped),
        "notes": {note: n for note, n in tokens.notes.items() if n},
        "n_tokens": sum(lengths),
        "n_loss_tokens": sum(losses),
        "longest_tokens": max(lengths),
        "padding_fraction": round(1 - sum(lengths) / padded, 3),
        "padding_fraction_unsorted": round(1 - sum(lengths) / (max(lengths) * len(lengths)), 3),
        "steps": n_steps(
            len(lengths),
            global_batch_size=config.global_batch_size,
            epochs=config.epochs,
            max_steps=config.max_steps,
        ),
    } | _memory(run, config, folder_shape(folder), step_of(config, tokens, seed=run.seed))


def _memory(run: RunConfig, config: TrainerConfig, shape: ModelShape, step: Step) -> dict[str, Any]:
    """Return what a training takes here and, where the config is made for a card, on that."""
    from tuneloop.train.memory import Machine
    from tuneloop.train.room import memory_plan

    plan = {"memory": memory_plan(shape, config, step)}
    if run.recipe is not None:
        card = Machine("cuda", "bf16", shards=run.recipe.n_cards)
        room = run.recipe.card_gib
        plan["memory_on_card"] = memory_plan(shape, config, step, machine=card, room=room)
    return plan


def training_lines(part: dict[str, Any]) -> list[str]:
    """Return a stage's plan as lines for people."""
    if "n_tokens" not in part:
        lines = [f"  {part.get('note', 'no rows')}"]
        bound = part.get("memory", {}).get("lines", [])
        return [
            *lines,
            *(f"  at most: {line}" for line in bound[:1]),
            *(f"  {b}" for b in bound[1:]),
            *_card_lines(part),
        ]
    lines = [
        f"  {part['n_rows']:,} rows, {part['n_tokens']:,} tokens "
        f"({part['n_loss_tokens']:,} with loss), longest {part['longest_tokens']}",
        f"  {part['steps']} steps; padding {part['padding_fraction']:.1%} "
        f"(unsorted {part['padding_fraction_unsorted']:.1%})",
        *(f"  {line}" for line in part["memory"]["lines"]),
        *_card_lines(part),
    ]
    if part["dropped"]:
        lines.append(f"  dropped: {json.dumps(part['dropped'])}")
    if part["notes"]:
        lines.append(f"  their loss is left out: {json.dumps(part['notes'])}")
    lines += [f"  {piece['part']}: {piece['text']!r}" for piece in part["example"]]
    return lines


def _card_lines(part: dict[str, Any]) -> list[str]:
    if "memory_on_card" not in part:
        return []
    first, *rest = part["memory_on_card"]["lines"]
    return [f"  on the card it is made for: {first}", *(f"  {line}" for line in rest)]
