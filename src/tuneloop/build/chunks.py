"""From curated rows to the set's files, a few prompts at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tuneloop.artefacts.stage import CuratedSet, SampledSet, StageContext
from tuneloop.build.comparisons import Pending
from tuneloop.build.made import NONE, Made
from tuneloop.build.rows import SPLITS, Flags, as_array, count_rows, read_rows
from tuneloop.build.rules import KINDS, Sources, make_examples
from tuneloop.build.settle import settle
from tuneloop.build.tally import Tally
from tuneloop.build.texts import gather, read_samples
from tuneloop.build.write import SetWriter, Written, as_table
from tuneloop.config.sets import BuildConfig
from tuneloop.runtime.ahead import ahead

_SPACES = np.isin(np.arange(256), list(b" \t\n\r\x0b\x0c"))


@dataclass
class Sets:
    """The files of a set before what is decided over the whole of it.

    Attributes:
        files: By (kind, split).
        written: By kind, what is known of the rows in both of its files, in their order.
        tally: What was counted.
    """

    files: dict[tuple[str, str], Path]
    written: dict[str, Written] = field(default_factory=lambda: {k: Written() for k in KINDS})
    tally: Tally = field(default_factory=Tally)

    @property
    def n_rows_made(self) -> int:
        """Rows of all kinds."""
        return sum(len(written["weight"]) for written in self.written.values())


Chunk = tuple[Sources, dict[str, tuple[Made, Flags]]]


def make_sets(
    curated: CuratedSet,
    config: BuildConfig,
    context: StageContext,
    *,
    samples: SampledSet | None = None,
) -> Sets:
    """Write every row that the rules make and that stands; memory is that of some prompts."""
    names = [(kind, split) for kind in KINDS for split in SPLITS]
    sets = Sets({(k, s): context.work / f"{k}_{s}.parquet" for k, s in names})
    sampled = read_samples(pq.read_table(samples.path("samples.parquet"))) if samples else None
    context.progress.start("build: examples", total=count_rows(curated.path("curated.parquet")))
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(SetWriter(name[0], path)) for name, path in sets.files.items()
        }
        behind = stack.enter_context(ThreadPoolExecutor(1))  # closed first: it uses the writers
        writing: list[Future[None]] = []
        for sources, settled in ahead(chunks(curated, config, sets.tally, sampled)):
            sets.tally.add(sources, {kind: made for kind, (made, _) in settled.items()})
            tables = {k: as_table(k, made, sources, config) for k, (made, _) in settled.items()}
            for kind, (made, validates) in settled.items():
                ids = as_array(tables[kind].column("row_id"))
                _note(sets.written[kind], made, validates, ids, sources)
            for written in writing:  # no more than one chunk waits to be written
                written.result()
            writing = [
                behind.submit(writers[kind, split].write, tables[kind].filter(pa.array(wanted)))
                for kind, (_, validates) in settled.items()
                for split, wanted in zip(SPLITS, (~validates, validates), strict=True)
            ]
            context.progress.advance(len(sources.rows))
        for written in writing:
            written.result()
    sets.tally.skipped.update(sets.tally.unmatched)
    return sets


def chunks(
    curated: CuratedSet, config: BuildConfig, tally: Tally, sampled: pa.Table | None
) -> Iterator[Chunk]:
    """Yield what rows are made of, and the examples by kind with which of them validate."""
    path = curated.path("curated.parquet")
    tally.n_in = count_rows(path)
    pending = Pending(curated.path("preferences.parquet"))
    for rows in ahead(read_rows(path, config, tally.dropped)):
        texts = gather(rows, sampled, max_tokens=config.max_answer_tokens)
        sources = Sources(rows, texts, pending.of(rows))
        yield sources, settle(make_examples(sources, config), sources, config)
    tally.unmatched = pending.left()


def _note(written: Written, made: Made, validates: Flags, ids: pa.Array, sources: Sources) -> None:
    """Keep the numbers of a chunk's rows that the limits and the card need."""
    texts, rows = sources.texts, sources.rows
    good, bad = (texts.text.take(pa.array(chosen)) for chosen in (made.good, made.bad.clip(0)))
    is_pair = made.bad != NONE
    clusters = as_array(rows.column("cluster_id")).take(pa.array(made.row))
    written.add(
        rule=made.rule.astype(np.int16),
        id=_numbers(ids),
        cluster=_hashes(pc.coalesce(clusters, ids)),
        weight=np.round(made.weight, 6),
        validates=validates,
        label=made.label.astype(np.int8),
        prompt_chars=rows.prompt_chars[made.row].astype(np.int32),
        n_words=_n_words(good, is_pair),
        n_words_bad=_n_words(bad, is_pair),
        answer_chars=_n_chars(good) + np.where(is_pair, _n_chars(bad), 0),
    )


def _numbers(ids: pa.Array) -> NDArray[np.uint64]:
    return np.array([int(row_id, 16) for row_id in ids.to_pylist()], dtype=np.uint64)


def _hashes(names: pa.Array) -> NDArray[np.uint64]:
    digests = [hashlib.blake2b(n.encode(), digest_size=8).digest() for n in names.to_pylist()]
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def _n_words(texts: pa.Array, wanted: Flags) -> NDArray[np.int32]:
    """Return the words of the wanted texts, 0 of the others: where no space follows a space."""
    counts = np.zeros(len(texts), dtype=np.int32)
    chosen = pc.binary_join_element_wise(texts.filter(pa.array(wanted)), "", "\n")
    if not len(chosen):
        return counts
    offsets = np.frombuffer(chosen.buffers()[1], dtype=np.int32)
    letters = ~_SPACES[np.frombuffer(chosen.buffers()[2], dtype=np.uint8)[: offsets[-1]]]
    ends = letters[:-1] & ~letters[1:]  # every text ends in a space
    sums = np.concatenate([[0], np.cumsum(ends), [0]])[offsets]
    sums[-1] = int(ends.sum())
    counts[wanted] = np.diff(sums)
    return counts


def _n_chars(texts: pa.Array) -> NDArray[np.int32]:
    return np.asarray(pc.utf8_length(texts).to_numpy(zero_copy_only=False))
