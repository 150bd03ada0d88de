"""Batches without padding: rows laid end to end, and prompts that two answers share laid once.

A batch is a dictionary of tensors that a model with an answer head reads (`tuneloop.train.head`):
`input_ids` (1, N), `position_ids` (1, N), and, for the M tokens the loss is on, `score_at` (M,),
where the hidden state lies that predicts each, and `targets` (M,), which they are, row by row.
What may see what is under `attention` (`tuneloop.train.attention`). Batches for models that
would mix up rows laid end to end are padded: `input_ids` (B, T), and no `attention`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from tuneloop.train.rows import IGNORED

Batch = dict[str, Any]
# A new shape costs a CPU milliseconds for each kind of product: lengths are rounded up to these.
TOKENS_ROUNDED_TO = 64
ATTENTION_ROUNDED_TO = 32
# Documents attended together are at least so long, as a share of the longest among them.
LIKE_LENGTH = 0.6


@dataclass
class Document:
    """Tokens that see one another and nothing else: a row, or a pair with its prompt laid once.

    `branch` is 0 on the prompt, 1 and 2 on the answers, which do not see each other. `scored`
    holds for each of its rows the places in it that predict the row's labelled tokens.
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    branch: torch.Tensor
    rows: tuple[int, ...]
    scored: tuple[torch.Tensor, ...]

    def __len__(self) -> int:
        return len(self.tokens)


def pack(
    input_ids: torch.Tensor, lengths: torch.Tensor, labels: torch.Tensor,
    *, pairs: bool = False, varlen: bool = False,
) -> Batch:  # fmt: skip
    """Return a batch without padding.

    Args:
        input_ids: (B, T), padded on the right.
        lengths: (B,), the real tokens of each row.
        labels: (B, T), -100 where there is no loss.
        pairs: Rows n and n + B/2 answer the same prompt, which is laid once.
        varlen: For the kernel of GPUs; else for groups of documents of like length.
    """
    n_rows, sizes = len(input_ids), lengths.tolist()
    if pairs:
        half = n_rows // 2
        documents = [
            _pair(input_ids, labels, (row, row + half), (sizes[row], sizes[row + half]))
            for row in range(half)
        ]
    else:
        documents = [_single(input_ids, labels, row, sizes[row]) for row in range(n_rows)]
    documents.sort(key=len, reverse=True)
    n_tokens = sum(map(len, documents))
    if not varlen:  # one token of filler at least: no gradient, so it may stand for padding
        rest = TOKENS_ROUNDED_TO - n_tokens % TOKENS_ROUNDED_TO
        filler = torch.zeros(rest, dtype=torch.long)
        documents.append(Document(filler, torch.arange(rest), filler, (), ()))
    score_at: list[torch.Tensor] = [torch.empty(0, dtype=torch.long)] * n_rows
    start = 0
    for document in documents:
        for row, places in zip(document.rows, document.scored, strict=True):
            score_at[row] = places + start
        start += len(document)
    return {
        "input_ids": torch.cat([d.tokens for d in documents])[None],
        "position_ids": torch.cat([d.positions for d in documents])[None],
        "score_at": torch.cat(score_at),
        "targets": _targets(labels),
        "attention": _segments(documents) if varlen else _groups(documents),
    }


def pad(input_ids: torch.Tensor, labels: torch.Tensor) -> Batch:
    """Return a batch (B, T) padded on the right, where no real token ever sees padding."""
    places = torch.arange(labels.numel()).view(labels.shape)
    score_at = places[:, :-1][labels[:, 1:] != IGNORED]
    return {"input_ids": input_ids, "score_at": score_at, "targets": _targets(labels)}


def _targets(labels: torch.Tensor) -> torch.Tensor:
    following = labels[:, 1:]
    return following[following != IGNORED]


def _scored(labels: torch.Tensor) -> torch.Tensor:
    """Return the places (M,) before the labelled tokens of one row (T,)."""
    return (labels[1:] != IGNORED).nonzero()[:, 0]


def _single(input_ids: torch.Tensor, labels: torch.Tensor, row: int, size: int) -> Document:
    tokens = input_ids[row, :size]
    return Document(
        tokens, torch.arange(size), torch.zeros_like(tokens), (row,), (_scored(labels[row, :size]),)
    )


def _pair(
    input_ids: torch.Tensor, labels: torch.Tensor, rows: tuple[int, int], sizes: tuple[int, int]
) -> Document:
    """Return two rows as one document; what both begin with, up to the first loss, is laid once."""
    (first, second), (n, m) = rows, sizes
    places = _scored(labels[first, :n]), _scored(labels[second, :m])
    until = min(int(places[0][0]), int(places[1][0])) + 1  # the token before the first loss, too
    equal = input_ids[first, :until] == input_ids[second, :until]
    shared = until if bool(equal.all()) else int((~equal).nonzero()[0, 0])
    branch = torch.zeros(n + m - shared, dtype=torch.long)
    branch[shared:n], branch[n:] = 1, 2
    moved = torch.where(places[1] < shared, places[1], places[1] + n - shared)
    return Document(
        torch.cat([input_ids[first, :n], input_ids[second, shared:m]]),
        torch.cat([torch.arange(n), torch.arange(shared, m)]),
        branch,
        rows,
        (places[0], moved),
    )


def _groups(documents: list[Document]) -> Batch:
    """Return documents of like length in rectangles, and the way there and back.

    `take`: for each group (S, T) where its tokens lie, padded with the last, which is filler;
    `put` (N,): in which of all groups' slots each token lies; `branch`: (S, T) per group, -1 on
    padding.
    """
    starts = torch.tensor([0, *(len(d) for d in documents)]).cumsum(0)[:-1].tolist()
    groups: list[list[int]] = []
    for n in sorted(range(len(documents)), key=lambda n: (-len(documents[n]), n)):
        if not groups or len(documents[n]) < LIKE_LENGTH * len(documents[groups[-1][0]]):
            groups.append([])
        groups[-1].append(n)
    take, branches = [], []
    put = torch.empty(sum(map(len, documents)), dtype=torch.long)
    slot = 0
    for group in groups:
        longest = len(documents[group[0]])
        width = longest + -longest % ATTENTION_ROUNDED_TO
        places = torch.full((len(group), width), len(put) - 1)
        branch = torch.full((len(group), width), -1)
        for line, n in enumerate(group):
            start, size = starts[n], len(documents[n])
            places[line, :size] = torch.arange(start, start + size)
            branch[line, :size] = documents[n].branch
            put[start : start + size] = torch.arange(slot, slot + size)
            slot += width
        take.append(places)
        branches.append(branch)
    return {"take": take, "branch": branches, "put": put}


def _segments(documents: list[Document]) -> Batch:
    """Return stretches of queries and the keys each sees: a branch sees its prompt, then itself.

    `query_ends`, `key_ends` (S + 1,): where they end, from 0; `keys` (K,): which tokens the keys
    are, None where they are the queries'.
    """
    n_query, n_key, keys, start = [0], [0], [], 0
    for document in documents:
        sizes = torch.bincount(document.branch).tolist()
        begin = start
        for branch, size in enumerate(sizes):
            if size:
                own = torch.arange(begin, begin + size)
                before = torch.arange(start, start + sizes[0]) if branch else own[:0]
                keys += [before, own]
                n_query.append(size)
                n_key.append(len(before) + size)
                begin += size
        start += len(document)
    shares = sum(n_key) > sum(n_query)
    return {
        "query_ends": torch.tensor(n_query).cumsum(0, dtype=torch.int32),
        "key_ends": torch.tensor(n_key).cumsum(0, dtype=torch.int32),
        "keys": torch.cat(keys) if shares else None,
        "longest_query": max(n_query),
        "longest_key": max(n_key),
    }
