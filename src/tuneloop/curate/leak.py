"""The guard between training and the golden set: word for word, nearly, and by meaning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.artefacts.golden import GoldenPrompt, Status
from tuneloop.config.data import LeakConfig as RowLeakConfig
from tuneloop.config.golden import LeakConfig
from tuneloop.curate.columns import Codes, Flags, Hashes
from tuneloop.curate.overlap import EXACT, NEAR, Matches, Overlap
from tuneloop.curate.rows import Dropped, Row, question_of
from tuneloop.curate.semantic import nearest
from tuneloop.curate.similar import SHINGLE, Corpus, normalise
from tuneloop.errors import LeakError

if TYPE_CHECKING:
    from tuneloop.runtime.encoder import Encoder

KINDS = ("", "exact", "near", "contained", "semantic", "reference", "source")
"""How a row repeats a golden prompt; the code of a kind is its place here."""
SEMANTIC, REFERENCE, SOURCE = 4, 5, 6
MARK = "golden"
"""Tag of an interaction that is part of an evaluation and must never be trained on."""
MIN_REFERENCE_WORDS = 20
CANNED = 5
"""A reference given to this many different questions is a canned reply, and gives none away."""
MIN_SEMANTIC_ROWS = 20
MAX_LISTED = 10


def held_statuses(config: LeakConfig) -> tuple[Status, ...]:
    """Return which golden prompts training is kept from."""
    return ("active", "candidate") if config.hold_out_candidates else ("active",)


class Guard:
    """Finds what repeats a golden prompt, batch by batch. May be pickled.

    Args:
        golden: What training is kept from (`held_statuses`), redacted as the rows are.
        config: Thresholds.
        encoder: What compares meanings; None: nothing does.
    """

    def __init__(
        self, golden: Sequence[GoldenPrompt], config: LeakConfig, encoder: Encoder | None = None
    ) -> None:
        self.ids = [prompt.id for prompt in golden]
        self.config = config
        self.encoder = encoder if config.semantic != "off" else None
        self._texts = [question_of(prompt.messages) for prompt in golden]
        self._questions = Overlap(
            self._texts, near=config.near_threshold, contained=config.contained_threshold
        )
        self._telling = _telling(golden, config.near_threshold) if config.references else []
        self._references = Overlap(
            [golden[i].reference or "" for i in self._telling],
            near=config.near_threshold, contained=config.contained_threshold,
        )  # fmt: skip
        sources = {id: i for i, p in enumerate(golden) for id in p.source.interaction_ids}
        self._source_ids = pa.array(list(sources), type=pa.large_string())
        self._source_of = np.array(list(sources.values()), dtype=np.int32)

    def check(
        self,
        questions: pa.Array,
        turns: pa.ListArray | None = None,
        answers: Sequence[pa.Array] = (),
        ids: pa.Array | None = None,
    ) -> Matches:
        """Return how each of n rows repeats a golden prompt, meaning aside; codes of KINDS.

        Args:
            questions: The question of each row.
            turns: What else was said to the model in each row: user turns, system prompts.
                Turns of under five words are passed over.
            answers: Columns of texts that could be trained on: answers, corrections, edits.
            ids: Ids of the interactions; those a golden prompt was made from are its SOURCE.
        """
        found = self._questions.match(questions)
        if turns is not None:
            flat, owner = turns.flatten(), _owners(turns)
            long = np.flatnonzero(
                pc.fill_null(pc.count_substring(flat, " "), 0).to_numpy(zero_copy_only=False)
                >= SHINGLE - 1
            )
            said = self._questions.match(flat.take(pa.array(long)))
            _merge(found, said, owner[long])
        for column in answers if self._telling else ():
            given = self._references.match(column)
            at = np.flatnonzero((given.kind == EXACT) | (given.kind == NEAR))
            index = np.array(self._telling, dtype=np.int64)[given.index[at]]
            found.offer(at, REFERENCE, index, given.similarity[at])
        if ids is not None and len(self._source_ids):
            place = pc.index_in(ids.cast(pa.large_string()), value_set=self._source_ids)
            at = np.flatnonzero(place.is_valid().to_numpy(zero_copy_only=False))
            found.kind[at] = SOURCE
            found.index[at] = self._source_of[place.drop_null().to_numpy()]
            found.similarity[at] = 1
        return found

    def check_meaning(self, questions: pa.Array) -> Matches:
        """Return which of n questions are golden ones in other words; none without an encoder.

        Encodes every different question: see `most_alike` for choosing those worth it.
        """
        found = Matches.none(len(questions))
        if self.encoder is None or not self._texts or not len(questions):
            return found
        encoded = pc.fill_null(questions, "").dictionary_encode()
        vectors = self.encoder.encode(encoded.dictionary.to_pylist())
        index, similarity = nearest(vectors, self.encoder.encode(self._texts))
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        index, similarity = index[codes], similarity[codes]
        at = np.flatnonzero(similarity >= self.config.semantic_threshold)
        found.offer(at, SEMANTIC, index[at], similarity[at])
        return found

    def likeness(self, questions: pa.Array) -> np.ndarray:
        """Return how many of its rarer words each of n questions shares with a golden one, 0 … 1.

        Cheap, and only an order: the questions that come first are worth encoding first.
        """
        return self._questions.likeness(questions)


def refuse_marked(ids: pa.Array, tags: pa.ListArray) -> None:
    """Fail where a row is marked as golden itself.

    Raises:
        LeakError: naming the first of them.
    """
    marked = pc.equal(tags.flatten(), MARK).to_numpy(zero_copy_only=False)
    rows = np.unique(_owners(tags)[np.flatnonzero(marked)])
    if len(rows):
        named = ", ".join(ids.take(pa.array(rows[:MAX_LISTED])).to_pylist())
        raise LeakError(
            f"{len(rows)} interactions are tagged {MARK!r} and would be trained on: {named}",
            where="curate.leak",
            hint="evaluation traffic does not belong in the lake: keep it out at its source",
        )


@dataclass
class LeakReport:
    """What the guard came to.

    Attributes:
        drop: Which rows may not be trained on.
        summary: For `summary.json`.
    """

    drop: Flags
    summary: dict[str, object]


def settle(guard: Guard, found: Matches, questions: Hashes, ids: pa.Array) -> LeakReport:
    """Decide which rows are dropped, from what was found in all batches together.

    A reference given to many different questions is a canned reply and no leak. Where golden
    set and traffic are so alike that more than `semantic_max_share` of the rows come near by
    meaning alone, the nearest go and the rest stays: in a narrow domain the same questions come
    back in other words for ever, and are what is to be learned.

    Args:
        guard: Which compared them.
        found: Of all n rows, in order; `found.kind` is changed where a match does not count.
        questions: Hashes of the rows' questions.
        ids: Ids of the rows, for messages.

    Raises:
        LeakError: if more than `max_share` of the rows leak, or any does and `on_leak` is `fail`.
    """
    config, n = guard.config, len(found.kind)
    canned = _canned(found, questions)
    found.kind[(found.kind == REFERENCE) & np.isin(found.index, canned)] = 0
    cut = _semantic_cut(found, config, n)
    near = found.kind == SEMANTIC
    n_above = int(near.sum())
    found.kind[near & (found.similarity < cut)] = 0
    drop = found.kind > 0
    leaked = drop & (found.kind != SOURCE)
    share = float(leaked.sum()) / max(n, 1)
    if leaked.any() and (config.on_leak == "fail" or share > config.max_share):
        raise _too_many(guard, found, ids, leaked)
    counts = np.bincount(found.kind, minlength=len(KINDS))
    return LeakReport(
        drop=drop,
        summary={
            "by_kind": {name: int(counts[code]) for code, name in enumerate(KINDS) if code},
            "n_golden_prompts": len(set(found.index[leaked].tolist())),
            "share": round(share, 6),
            "canned_references": [guard.ids[i] for i in canned.tolist()],
            "semantic": {
                "checked": guard.encoder is not None,
                "threshold": config.semantic_threshold,
                "threshold_in_force": round(cut, 4),
                "n_above_threshold": n_above,
            },
        },
    )


def detail(guard: Guard, found: Matches, row: int) -> str:
    """Return what `dropped.parquet` says of a row: kind, golden id, similarity."""
    return f"{KINDS[found.kind[row]]}:{guard.ids[found.index[row]]}:{found.similarity[row]:.2f}"


def across_split(cluster: Codes, question: Hashes, validation: Flags) -> Flags:
    """Return the training rows whose question, or cluster of questions, is in validation too.

    Clusters hold near-equal questions, and equal meanings where semantic duplicates are on. The
    training row goes: validation stays as it was.
    """
    held_clusters = cluster[validation & (cluster >= 0)]
    twice = np.isin(question, question[validation]) | np.isin(cluster, held_clusters)
    leaks: Flags = twice & ~validation
    return leaks


def _telling(golden: Sequence[GoldenPrompt], near: float) -> list[int]:
    """Return the prompts whose reference would give them away: long, and nobody else's."""
    texts = [prompt.reference or "" for prompt in golden]
    corpus = Corpus.of(normalise(texts))
    long = np.flatnonzero(corpus.n_words >= MIN_REFERENCE_WORDS)
    shingles = corpus.by_shingle[long]
    shared = (shingles @ shingles.T).toarray()
    sizes = np.diff(shingles.indptr)
    alike = shared / (sizes[:, None] + sizes[None, :] - shared) >= near
    return [int(i) for i in long[alike.sum(axis=1) == 1]]


def _owners(lists: pa.ListArray) -> np.ndarray:
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return np.repeat(np.arange(len(lists)), lengths)


def _merge(found: Matches, more: Matches, owner: np.ndarray) -> None:
    """Give each row the strongest kind among its own match and those of its texts."""
    has = more.kind > 0
    kind, row = more.kind[has], owner[has]
    index, similarity = more.index[has].astype(np.int64), more.similarity[has]
    order = np.lexsort((index, -similarity, kind, row))
    first = order[np.flatnonzero(np.diff(row[order], prepend=-1))]
    at = row[first]
    mine = found.kind[at]
    better = (mine == 0) | (kind[first] < mine) | (
        (kind[first] == mine) & (similarity[first] > found.similarity[at])
    )  # fmt: skip
    at, first = at[better], first[better]
    found.kind[at], found.index[at] = kind[first], index[first]
    found.similarity[at] = similarity[first]


def _canned(found: Matches, questions: Hashes) -> np.ndarray:
    given = found.kind == REFERENCE
    if not given.any():
        return np.zeros(0, dtype=np.int64)
    pairs = np.unique(np.stack([found.index[given].astype(np.uint64), questions[given]]), axis=1)
    index, n_questions = np.unique(pairs[0], return_counts=True)
    return index[n_questions >= CANNED].astype(np.int64)


def _semantic_cut(found: Matches, config: LeakConfig, n: int) -> float:
    """Return the cosine from which rows go, so that about the configured share does."""
    similarity = np.sort(found.similarity[found.kind == SEMANTIC])[::-1]
    most = max(int(config.semantic_max_share * n), MIN_SEMANTIC_ROWS)
    if len(similarity) <= most:
        return config.semantic_threshold
    return float(similarity[most - 1])  # equal ones go together


def _too_many(guard: Guard, found: Matches, ids: pa.Array, leaked: Flags) -> LeakError:
    rows = np.flatnonzero(leaked)
    listed = "\n".join(
        f"  {guard.ids[found.index[i]]} ↔ {ids[int(i)].as_py()} "
        f"({KINDS[found.kind[i]]}, similarity {found.similarity[i]:.2f})"
        for i in rows[:MAX_LISTED]
    )
    more = f"\n  and {len(rows) - MAX_LISTED} more" if len(rows) > MAX_LISTED else ""
    share = len(rows) / len(leaked)
    return LeakError(
        f"{len(rows)} interactions ({share:.1%}) repeat golden prompts (golden ↔ interaction):\n"
        f"{listed}{more}",
        where="curate.leak",
        hint="take those prompts out of the golden set, or allow more: curate.leak.on_leak drop "
        "and max_share",
    )


# -- on rows, until curation works on columns -----------------------------------------------
GOLDEN_AT_ONCE = 64


@dataclass(frozen=True)
class Leak:
    """One interaction that repeats one golden prompt."""

    golden_id: str
    interaction_id: str
    similarity: float


def guard(
    rows: list[Row], golden: list[GoldenPrompt], config: RowLeakConfig, dropped: Dropped
) -> tuple[list[Row], list[Leak]]:
    """Return the rows that repeat no golden prompt, and the leaks that were found.

    Validation rows are guarded too: early stopping learns from them.

    Raises:
        LeakError: naming the first pairs, where there are any and `on_leak` is `fail`.
    """
    leaks = find_leaks(rows, golden, config.near_threshold)
    if leaks and config.on_leak == "fail":
        listed = "\n".join(
            f"  {leak.golden_id} ↔ {leak.interaction_id} (similarity {leak.similarity:.2f})"
            for leak in leaks[:MAX_LISTED]
        )
        more = f"\n  and {len(leaks) - MAX_LISTED} more" if len(leaks) > MAX_LISTED else ""
        raise LeakError(
            f"{len(leaks)} interactions repeat golden prompts (golden ↔ interaction):\n"
            f"{listed}{more}",
            where="curate.leak",
            hint="take those prompts out of the golden set, or set curate.leak.on_leak: drop",
        )
    by_row = {leak.interaction_id: leak for leak in leaks}
    for row in rows:
        if row.id in by_row:
            dropped.interaction(row, "golden_leak", f"repeats {by_row[row.id].golden_id}")
    return [row for row in rows if row.id not in by_row], leaks


def find_leaks(rows: list[Row], golden: list[GoldenPrompt], threshold: float) -> list[Leak]:
    """Return each interaction that repeats a golden prompt, with the most similar one."""
    questions = [question_of(prompt.messages) for prompt in golden]
    texts, owners = [], []
    for i, row in enumerate(rows):
        said = _texts(row)
        texts += said
        owners += [i] * len(said)
    if not texts or not questions:
        return []
    corpus = Corpus.of(normalise(questions + texts))
    best: dict[int, tuple[float, int]] = {}
    for g, t, similarity in _similar_pairs(corpus, len(golden), threshold):
        owner = owners[t]
        if similarity > best.get(owner, (0.0, -1))[0]:
            best[owner] = (similarity, g)
    return [
        Leak(golden[g].id, rows[i].id, round(similarity, 4))
        for i, (similarity, g) in sorted(best.items())
    ]


def _texts(row: Row) -> list[str]:
    """Return what of a prompt may repeat a golden one: its question and each longer turn."""
    turns = [m["content"] for m in row.messages if m["role"] == "user"]
    longer = [turn for turn in turns[:-1] if len(turn.split()) >= SHINGLE]
    return list(dict.fromkeys([row.question, *turns[-1:], *longer]))


def _similar_pairs(
    corpus: Corpus, n_golden: int, threshold: float
) -> Iterator[tuple[int, int, float]]:
    """Yield (golden, text, similarity) of every near pair; the golden come first in the corpus.

    A sparse product counts the shared shingles of all pairs at once: nothing is sampled.
    """
    short = corpus.n_words < SHINGLE
    golden, texts = np.arange(n_golden), np.arange(n_golden, len(short))
    comparisons = [
        (corpus.by_shingle, golden[~short[golden]], texts[~short[texts]]),
        (corpus.by_word, golden[short[golden]], texts),
        (corpus.by_word, golden[~short[golden]], texts[short[texts]]),
    ]
    for matrix, left, right in comparisons:
        sizes = np.diff(matrix.indptr)
        columns = matrix[right].T.tocsr()
        for start in range(0, len(left), GOLDEN_AT_ONCE):
            block = left[start : start + GOLDEN_AT_ONCE]
            shared = (matrix[block] @ columns).tocoo()
            g, t = block[shared.row], right[shared.col]
            similarity = shared.data / (sizes[g] + sizes[t] - shared.data)
            near = similarity >= threshold
            found = (g[near].tolist(), (t[near] - n_golden).tolist(), similarity[near].tolist())
            yield from zip(*found, strict=True)
