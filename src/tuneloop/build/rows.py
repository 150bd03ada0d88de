"""Curated rows as the rules see them: whole prompts at a time, as columns."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tuneloop.artefacts.tables import CURATED, SIGNALS
from tuneloop.build.prompts import Prompts
from tuneloop.config.sets import BuildConfig
from tuneloop.runtime.ahead import ahead

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

ROWS_AT_ONCE = 8_192
SPLITS = ("train", "validation")
COLUMNS = (
    "interaction_id", "subject_key", "cluster_id", "split", "system", "event_ts", "segment",
    "intent", "source", "output_terms", "consent_basis", "prompt", "tools", "answer",
    "answer_tool_calls", "answer_reasoning", "correction", "score", "weight", "signals",
)  # fmt: skip


@dataclass
class Signals:
    """m pieces of feedback about n rows, in the order of the rows.

    Attributes:
        row: The row each is about.
        id: Feedback ids.
        signal: Names.
        actor: Kinds of who gave them.
        value: What they carry, as JSON.
        weight: What each counted for, 0 … 1; the row's weight where that is not recorded.
    """

    row: Ints
    id: pa.Array
    signal: pa.Array
    actor: pa.Array
    value: pa.Array
    weight: Floats


@dataclass
class Rows:
    """n curated rows that may be trained on: all rows of whole prompts.

    Attributes:
        table: Their columns (`artefacts.tables.CURATED`), prompts aside.
        prompts: Their prompts as training sees them.
        keys: What makes two prompts equal, once for each different prompt.
        prompt: Number of each row's prompt in `keys`.
        validates: Whether a row is held out.
        score: Evidence, −1 … 1.
        weight: Its weight, 0 … 1.
        signals: Their feedback.
    """

    table: pa.Table
    prompts: Prompts
    keys: pa.StringArray
    prompt: Ints
    validates: Flags
    score: Floats
    weight: Floats
    signals: Signals

    def __len__(self) -> int:
        n_rows: int = self.table.num_rows
        return n_rows

    @cached_property
    def key_digests(self) -> list[bytes]:
        """SHA-256 of each of `keys`."""
        texts = self.keys.cast(pa.binary()).to_pylist()
        return [hashlib.sha256(text).digest() for text in texts]

    @cached_property
    def prompt_chars(self) -> Ints:
        """Characters of each row's prompt."""
        return self.prompts.n_chars()

    def column(self, name: str) -> pa.Array:
        """Return one column."""
        return self.table.column(name)


def read_rows(path: Path, config: BuildConfig, dropped: Counter[str]) -> Iterator[Rows]:
    """Yield curated rows, all rows of a prompt together; count those that may not be trained on.

    Memory is that of one bucket: the file is in order of (bucket of the prompt, id), so a
    bucket ends where an id is below the one before it.
    """
    for table in ahead(_whole_buckets(path)):
        allowed = table.filter(_allowed(table, config, dropped))
        prompts = Prompts.of(allowed.column("prompt"), allowed.column("tools"))
        fits = prompts.cut(config.max_prompt_tokens, with_system=config.system_prompt == "keep")
        dropped["prompt_too_long"] += int((~fits).sum())
        if not fits.all():
            allowed, prompts = allowed.filter(pa.array(fits)), prompts.filter(fits)
        yield _as_rows(allowed, prompts)


def count_rows(path: Path) -> int:
    """Return how many rows a Parquet file holds."""
    n_rows: int = open_rows(path).metadata.num_rows
    return n_rows


def filled(column: pa.Array, value: float = 0.0) -> Floats:
    """Return a column of numbers, its nulls filled."""
    return np.asarray(pc.fill_null(pc.cast(column, pa.float64()), value).to_numpy())


def offsets_of(lengths: Ints) -> pa.Array:
    """Return the offsets of lists of these lengths."""
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())


def as_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return a column in one piece."""
    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return column


def open_rows(path: Path) -> pq.ParquetFile:
    """Return a Parquet file to be read batch by batch: unbuffered, or it all stays in memory."""
    return pq.ParquetFile(path, pre_buffer=False)


def _whole_buckets(path: Path) -> Iterator[pa.Table]:
    """Yield tables of at least `ROWS_AT_ONCE` rows (the last may be shorter) in whole buckets."""
    file = open_rows(path)
    known = [name for name in COLUMNS if name in file.schema_arrow.names]
    held: list[pa.Table] = []
    for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=known):
        table = pa.Table.from_batches([batch])
        ends = _bucket_ends(held[-1] if held else None, table)
        n_held = sum(part.num_rows for part in held)
        enough = ends[ends + n_held >= ROWS_AT_ONCE]
        if len(enough):
            yield _complete([*held, table.slice(0, int(enough[-1]))])
            held, table = [], table.slice(int(enough[-1]))
        if table.num_rows:
            held.append(table)
    if held:
        yield _complete(held)


def _bucket_ends(before: pa.Table | None, table: pa.Table) -> Ints:
    """Return the places in `table` where a bucket begins: its id is below the one before."""
    ids = as_array(table.column("interaction_id"))
    starts = np.asarray(pc.less(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False))
    ends: Ints = np.flatnonzero(starts).astype(np.int64) + 1
    if before is not None and table.num_rows:
        last = before.column("interaction_id")[-1].as_py()
        if ids[0].as_py() < last:
            ends = np.concatenate([[0], ends])
    return ends


def _complete(parts: list[pa.Table]) -> pa.Table:
    """Return one table with every column that is used; those it lacks are null."""
    table = pa.concat_tables(parts)
    arrays = {}
    for name in COLUMNS:
        wanted = CURATED.field(name).type
        if name not in table.column_names or pa.types.is_null(table.schema.field(name).type):
            arrays[name] = pa.nulls(table.num_rows, wanted)
        else:
            arrays[name] = as_array(table.column(name))
    return pa.table(arrays)


def _allowed(table: pa.Table, config: BuildConfig, dropped: Counter[str]) -> pa.Array:
    """Return which rows the terms of the answer and the basis of consent let be trained on."""
    terms = pc.dictionary_encode(as_array(table.column("output_terms")))
    forbidden = [t for t in terms.dictionary.to_pylist() if is_forbidden(t, config.forbidden_terms)]
    bad = pc.is_in(terms.cast(pa.string()), pa.array(forbidden, pa.string()))
    dropped["output_terms"] += pc.sum(bad).as_py() or 0
    if config.consent_bases is None:
        return pc.invert(bad)
    basis = as_array(table.column("consent_basis"))
    agreed = pc.is_in(basis, pa.array(config.consent_bases, pa.string()))
    dropped["consent_basis"] += pc.sum(pc.and_not(pc.invert(agreed), bad)).as_py() or 0
    return pc.and_not(agreed, bad)


def is_forbidden(terms: str, patterns: list[str]) -> bool:
    """Return whether an answer under these terms may not be trained on."""
    plain = "-".join(terms.lower().replace("_", " ").replace("-", " ").split())
    return any(fnmatchcase(plain, pattern.lower()) for pattern in patterns)


def _as_rows(table: pa.Table, prompts: Prompts) -> Rows:
    weight = filled(as_array(table.column("weight")))
    keys = pc.dictionary_encode(prompts.keys())
    validates = pc.equal(as_array(table.column("split")), "validation")
    return Rows(
        table=table.drop_columns(["prompt"]),
        prompts=prompts,
        keys=keys.dictionary,
        prompt=keys.indices.to_numpy(zero_copy_only=False).astype(np.int64),
        validates=np.asarray(pc.fill_null(validates, False).to_numpy(zero_copy_only=False)),
        score=filled(as_array(table.column("score"))),
        weight=weight,
        signals=_signals(as_array(table.column("signals")), weight),
    )


def _signals(lists: pa.ListArray, weight: Floats) -> Signals:
    flat = lists.flatten()
    row = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    known = {flat.type.field(i).name for i in range(flat.type.num_fields)}

    def field(name: str) -> pa.Array:
        wanted = SIGNALS.value_type.field(name).type
        return pc.struct_field(flat, name) if name in known else pa.nulls(len(flat), wanted)

    said = filled(field("weight"), np.nan)
    actor = pc.extract_regex(field("actor"), pattern="^(?P<kind>[^:]*)")
    return Signals(
        row=row,
        id=field("feedback_id"),
        signal=field("signal"),
        actor=pc.struct_field(actor, "kind"),
        value=field("value_json"),
        weight=np.where(np.isnan(said), weight[row], said),
    )
