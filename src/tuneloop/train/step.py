"""The largest forward pass of a training: how many tokens, and how attention sees them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tuneloop.config.trainer import TrainerConfig
from tuneloop.train.order import batch_order, n_steps
from tuneloop.train.rows import TokenRows, n_learned

C = TypeVar("C", bound=TrainerConfig)

# Of `train.packing` and `train.attention`, which import torch; a test compares them.
TOKENS_ROUNDED_TO = 64
ATTENTION_ROUNDED_TO = 32
LIKE_LENGTH = 0.6
QUERY_BLOCK = 256


@dataclass(frozen=True)
class Step:
    """The largest forward pass of a training; each figure the largest of any.

    Attributes:
        rows: Sequences in it; of a pair, both.
        row_tokens: Tokens of the longest.
        loss_tokens: Tokens in it that bear loss.
        tokens: All tokens the model sees, padding included.
        packed: Whether rows are laid end to end, and prompts of pairs once.
        scores: Places (query, key) that attention on a CPU looks at, for each head.
        slots: Tokens with the padding of the rectangles they are attended in.
    """

    rows: int
    row_tokens: int
    loss_tokens: int
    tokens: int
    packed: bool
    scores: int
    slots: int


def largest_step(config: TrainerConfig, *, pairs: bool) -> Step:
    """Return the largest forward pass a config allows: every row `max_length`, all of it with loss.

    Args:
        config: The training.
        pairs: Whether a row is a pair of answers, which are two sequences.
    """
    length, rows = config.max_length, config.micro_batch_size * (2 if pairs else 1)
    tokens = rows * length
    packed = packs(config)
    document = length * 2 if packed and pairs else length
    documents = [document] * (tokens // document)
    scores, slots = _rectangles(documents) if packed else (tokens * length, tokens)
    return Step(rows, length, tokens, tokens, packed, scores, slots)


def step_of(config: TrainerConfig, tokens: TokenRows, *, seed: int) -> Step:
    """Return the largest forward pass of a run over rows, in the order it takes them.

    Args:
        config: The training.
        tokens: The rows.
        seed: The run's, which the order follows from.
    """
    steps = [_step(config, [tokens.rows[n] for n in batch])
             for batch in _micro_batches(config, tokens.lengths, seed)]  # fmt: skip
    return Step(
        rows=max(s.rows for s in steps),
        row_tokens=tokens.longest,
        loss_tokens=max(s.loss_tokens for s in steps),
        tokens=max(s.tokens for s in steps),
        packed=steps[0].packed,
        scores=max(s.scores for s in steps),
        slots=max(s.slots for s in steps),
    )


def filled(config: C, tokens: TokenRows, *, processes: int = 1) -> C:
    """Return the config with the micro-batch of `fill_tokens`, which is decided by the rows."""
    if not (packs(config) and config.fill_tokens):
        return config
    lengths = sorted(tokens.lengths, reverse=True)
    micro, share = config.micro_batch_size, config.global_batch_size // processes
    while share % (2 * micro) == 0 and sum(lengths[: 2 * micro]) <= config.fill_tokens:
        micro *= 2
    return config.model_copy(update={"micro_batch_size": micro})


def packs(config: TrainerConfig) -> bool:
    """Return whether rows are laid end to end, as far as the config says.

    Not where whole layers are trained, since the head then needs its own gradient, nor with
    NEFTune, whose noise goes by the length of a row.
    """
    whole = config.adapter == "full" or bool(config.lora.modules_to_save)
    return config.packing and not whole and not getattr(config, "neftune_alpha", None)


def _micro_batches(
    config: TrainerConfig, lengths: Sequence[int], seed: int
) -> Iterator[Sequence[int]]:
    """Yield the row numbers of one forward pass after the other."""
    size, micro = config.global_batch_size, config.micro_batch_size
    steps = n_steps(
        len(lengths), global_batch_size=size, epochs=config.epochs, max_steps=config.max_steps
    )
    order = batch_order(
        lengths, global_batch_size=size, steps=steps, seed=seed, by_length=not packs(config)
    )
    for begin in range(0, len(order), micro):
        yield order[begin : begin + micro]


def _step(config: TrainerConfig, rows: Sequence[dict[str, Any]]) -> Step:
    sequences = [length for row in rows for length in _sequences(row)]
    longest, losses = max(sequences), sum(map(n_learned, rows))
    if not packs(config):
        n = len(sequences) * longest
        return Step(len(sequences), longest, losses, n, packed=False, scores=n * longest, slots=n)
    documents = [_document(row) for row in rows]
    filler = TOKENS_ROUNDED_TO - sum(documents) % TOKENS_ROUNDED_TO
    scores, slots = _rectangles([*documents, filler])
    n = sum(documents) + filler
    return Step(len(sequences), longest, losses, n, packed=True, scores=scores, slots=slots)


def _sequences(row: dict[str, Any]) -> list[int]:
    if "chosen_ids" in row:
        return [len(row["prompt_ids"]) + len(row[side]) for side in ("chosen_ids", "rejected_ids")]
    return [_document(row)]


def _document(row: dict[str, Any]) -> int:
    """Return the tokens of a row laid end to end; of a pair, with its prompt once."""
    names = ("input_ids", "prompt_ids", "chosen_ids", "rejected_ids", "completion_ids")
    return sum(len(row[name]) for name in names if name in row)


def _rectangles(documents: Sequence[int]) -> tuple[int, int]:
    """Return scores and slots of documents attended in rectangles of like length."""
    groups: list[list[int]] = []
    for length in sorted(documents, reverse=True):
        if not groups or length < LIKE_LENGTH * groups[-1][0]:
            groups.append([])
        groups[-1].append(length)
    scores = slots = 0
    for group in groups:
        width = group[0] + -group[0] % ATTENTION_ROUNDED_TO
        slots += len(group) * width
        ends = [min(end + QUERY_BLOCK, width) for end in range(0, width, QUERY_BLOCK)]
        seen = sum((end - begin) * end for begin, end in zip([0, *ends], ends, strict=False))
        scores += len(group) * seen
    return scores, slots
