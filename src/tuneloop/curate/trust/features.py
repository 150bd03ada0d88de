"""What a vote is about, as hashed features of its question and its answer."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tuneloop.curate.columns import Hashes, Ints
from tuneloop.curate.similar import normalise
from tuneloop.curate.trust.accounts import rank_within
from tuneloop.curate.trust.bursts import Occurrences
from tuneloop.curate.trust.scene import Scene, Votes
from tuneloop.curate.trust.wording import written_texts

QUESTION, ANSWER, TEXT, SYSTEM, BOTH, CLUSTER, CROSSED = range(1, 8)
OF_QUESTION = (QUESTION, CLUSTER, CROSSED, BOTH)
"""Kinds of features that tell the question."""
N_COLUMNS = 1 << 18
MAX_RICH = 60_000
"""With more votes than this, fewer words are read and none are crossed."""
N_WORDS, N_WORDS_LEAN = 40, 10
CHARS_PER_WORD = 10
N_CROSSED = 6
N_WORDS_ASKED, N_ASKED, MIN_ASKED = 24, 1 << 20, 15
MIN_TELLING, MAX_TELLING = 5, 0.2
"""A word worth crossing is in at least so many texts, and in at most this share of them."""
_MIX = np.uint64(0xD6E8FEB86659FD93)
Words = tuple[Ints, Any]
"""Place of the text, and code of the word."""


@dataclass(frozen=True)
class Features:
    """Features of items: an interaction, for its answer; or a correction, for its text.

    Attributes:
        of_vote: The item of each vote.
        views: Items × features, sparse: all features, and those of the answer alone. Where a
            crew holds the majority on a topic, what the question predicts is its word; what
            makes an answer good elsewhere is not.
        asked: (item, word of its question), words numbered.
    """

    of_vote: Ints
    views: tuple[Any, Any]
    asked: tuple[Ints, Ints]


def features_of(scene: Scene, votes: Votes) -> Features:
    """Return the features of what the votes are about."""
    n, rich = len(scene.interactions), len(votes) <= MAX_RICH
    item = np.where(votes.own, n + votes.piece, votes.row)
    items, of_vote = np.unique(item, return_inverse=True)
    fixed = items >= n
    row = items.copy()
    row[fixed] = scene.feedback.row[items[fixed] - n]
    question, answer = _read(scene, row, items[fixed] - n, fixed, N_WORDS if rich else N_WORDS_LEAN)
    parts: list[tuple[Ints, Any, int]] = [(*question, QUESTION), (*answer, ANSWER)]
    parts += _single(scene, items, row, fixed)
    if rich:
        parts.append((*_crossed(question, answer, len(items)), CROSSED))
    views = tuple(
        _matrix([part for part in parts if part[2] not in left_out], len(items))
        for left_out in ((), OF_QUESTION)
    )
    words = np.unique(question[1], return_inverse=True)[1].astype(np.int64)
    return Features(of_vote, (views[0], views[1]), (question[0], words))


@dataclass(frozen=True)
class Asked:
    """The words of questions.

    Attributes:
        row: The row of each word, ascending.
        code: Its number, a hash below `N_ASKED`.
    """

    row: Ints
    code: NDArray[np.int32]


def read_questions(scene: Scene, votes: Votes) -> Asked:
    """Return the words of the questions that votes are about.

    Only questions are read, and a word's number is a hash: cheap enough for every vote of a
    large log.
    """
    rows = np.unique(votes.row)
    wanted = np.zeros(len(scene.interactions), dtype=bool)
    wanted[rows] = True
    owners, codes = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
    for numbers, batch in scene.texts.prompts(["question"], wanted):
        owner, code = hashed_words(batch.column("question"), N_WORDS_ASKED)
        owners.append(np.asarray(numbers, dtype=np.int64)[owner])
        codes.append((code & np.uint64(N_ASKED - 1)).astype(np.int32))
    return Asked(np.concatenate(owners), np.concatenate(codes))


def asked_words(asked: Asked, votes: Votes) -> Occurrences:
    """Return which vote has which word in its question, words that are neither rare nor common.

    Args:
        asked: The words of the questions of these votes, and of others.
        votes: The votes.
    """
    rows, of_vote = np.unique(votes.row, return_inverse=True)
    place = np.full(max(int(asked.row.max(initial=-1)), int(rows.max(initial=-1))) + 1, -1)
    place[rows] = np.arange(len(rows))
    owner = place[asked.row]
    owner, code = owner[owner >= 0], asked.code[owner >= 0]
    count = np.bincount(code, minlength=N_ASKED)
    kept = ((count >= MIN_ASKED) & (count <= MAX_TELLING * len(rows)))[code]
    item, word = spread([(owner[kept], code[kept])], of_vote, len(rows))
    return Occurrences(word.astype(np.int64), item)


def name_codes(names: pa.Array) -> Hashes:
    """Return a code of each name that does not depend on its number; the last, of no name."""
    return np.array([zlib.crc32(name.encode()) for name in names.to_pylist()] + [0], np.uint64)


def _single(scene: Scene, items: Ints, row: Ints, fixed: Any) -> list[tuple[Ints, Any, int]]:
    """Return the features of which an item has one."""
    table, everyone = scene.interactions, np.arange(len(items))
    text = table.answer[row].copy()
    text[fixed] = scene.feedback.text[items[fixed] - len(table)]
    system = name_codes(table.names["system"])[table.codes["system"][row]]
    least = np.full(int(table.cluster.max(initial=-1)) + 2, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(least, table.cluster, table.question)  # a cluster by its least hash
    return [
        (everyone, text, TEXT),
        (everyone, np.where(fixed, np.uint64(0), system), SYSTEM),
        (everyone, text ^ (table.question[row] * _MIX), BOTH),
        (everyone, least[table.cluster[row]], CLUSTER),
    ]


def _read(scene: Scene, row: Ints, pieces: Ints, fixed: Any, n_words: int) -> tuple[Words, Words]:
    """Return the words of each item's question, and of its answer or its own text."""
    rows, inverse = np.unique(row, return_inverse=True)
    wanted = np.zeros(len(scene.interactions), dtype=bool)
    wanted[rows] = True
    found: dict[str, list[Words]] = {"question": [], "answer": []}
    for numbers, batch in scene.texts.prompts(["question", "answer"], wanted):
        place = np.searchsorted(rows, numbers)
        for name, parts in found.items():
            owner, code = hashed_words(batch.column(name), n_words)
            parts.append((place[owner], code))
    question = spread(found["question"], inverse, len(rows))
    owner, code = spread(found["answer"], inverse, len(rows))
    said = hashed_words(written_texts(scene.texts, pieces, len(scene.feedback)), n_words)
    theirs = ~fixed[owner]
    own = np.flatnonzero(fixed)[said[0]]
    answer = np.concatenate([owner[theirs], own]), np.concatenate([code[theirs], said[1]])
    return question, answer


def spread(parts: list[Words], inverse: Ints, n_rows: int) -> Words:
    """Return the words of each item, given those of the rows that the items are of."""
    owner = np.concatenate([part[0] for part in parts])
    code = np.concatenate([part[1] for part in parts])
    order = np.argsort(owner, kind="stable")
    size = np.bincount(owner, minlength=n_rows)
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    n = size[inverse]
    items = np.repeat(np.arange(len(inverse)), n)
    return items, code[order[np.repeat(start[inverse], n) + rank_within(items)]]


def _crossed(question: Words, answer: Words, n: int) -> Words:
    """Return pairs of a telling word of the question and one of the answer."""
    asked, said = _telling(*question, n), _telling(*answer, n)
    size = np.bincount(said[0], minlength=n)
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    repeats = size[asked[0]]
    pair = np.repeat(np.arange(len(asked[0])), repeats)
    other = np.repeat(start[asked[0]], repeats) + rank_within(pair)
    return asked[0][pair], (asked[1][pair] * _MIX) ^ said[1][other]


def _telling(owner: Ints, code: Hashes, n: int) -> Words:
    """Return each item's rarest words that are not too rare to learn from."""
    words, number = np.unique(code, return_inverse=True)
    pair = np.unique(owner * max(len(words), 1) + number)
    owner, number = pair // max(len(words), 1), pair % max(len(words), 1)
    count = np.bincount(number, minlength=len(words))[number]
    kept = (count >= MIN_TELLING) & (count <= n * MAX_TELLING)
    owner, number, count = owner[kept], number[kept], count[kept]
    order = np.lexsort((number, count, owner))
    chosen = order[rank_within(owner[order]) < N_CROSSED]
    return owner[chosen], words[number[chosen]]


def hashed_words(texts: pa.Array, n_words: int) -> Words:
    """Return the first words of each text."""
    cut = pc.utf8_slice_codeunits(texts.fill_null(""), 0, n_words * CHARS_PER_WORD)
    clean = normalise(cut.cast(pa.large_string()))
    lists = pc.split_pattern(clean, " ")
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    owner = np.repeat(np.arange(len(clean)), lengths)
    encoded = lists.flatten().dictionary_encode()
    code = name_codes(encoded.dictionary)[encoded.indices.to_numpy(zero_copy_only=False)]
    kept = (rank_within(owner) < n_words) & (code > 0)
    return owner[kept], code[kept]


def _matrix(parts: list[tuple[Ints, Any, int]], n_items: int) -> Any:
    """Return items × hashed features: those that two items share, rare ones heavier.

    Source: Spärck Jones, A statistical interpretation of term specificity, J. Documentation
    28(1), 1972 (weights); Weinberger et al., Feature hashing, ICML 2009.
    """
    from scipy.sparse import csr_matrix, diags

    owner = np.concatenate([part[0] for part in parts])
    column = np.concatenate([_mixed(code, kind) for _, code, kind in parts]) % np.uint64(N_COLUMNS)
    ones = np.ones(len(owner), dtype=np.float32)
    matrix = csr_matrix((ones, (owner, column.astype(np.int32))), shape=(n_items, N_COLUMNS))
    matrix.data[:] = 1.0
    n_texts = np.bincount(matrix.indices, minlength=N_COLUMNS)
    kept = np.flatnonzero(n_texts > 1)
    matrix = matrix[:, kept]
    matrix.data = np.log(n_items / n_texts[kept]).astype(np.float32)[matrix.indices]
    squares = np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel()
    return diags(1.0 / np.sqrt(np.maximum(squares, 1.0))).astype(np.float32) @ matrix


def _mixed(code: Any, salt: int) -> Hashes:
    mixed: Hashes = (np.asarray(code).astype(np.uint64) + np.uint64(salt)) * _MIX
    mixed ^= mixed >> np.uint64(32)
    mixed = (mixed + np.uint64(salt)) * np.uint64(0x9E3779B97F4A7C15)
    result: Hashes = mixed ^ (mixed >> np.uint64(29))
    return result
