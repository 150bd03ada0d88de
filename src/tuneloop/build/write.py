"""The example set's files: Parquet in TRL's conversational formats."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tuneloop.artefacts.tables import MESSAGES
from tuneloop.build.made import Links, Made
from tuneloop.build.rows import Flags, Ints, as_array, offsets_of, open_rows
from tuneloop.build.rules import Sources
from tuneloop.config.sets import BuildConfig

ROWS_PER_GROUP = 8_192
ANSWERS = pa.list_(pa.struct([*MESSAGES.value_type, ("reasoning", pa.string())]))
_BEHIND = [
    ("tools", pa.string()),
    ("loss_on", pa.string()),
    ("reasoning", pa.string()),
    ("row_id", pa.string()),
    ("interaction_id", pa.string()),
    ("rule", pa.string()),
    ("weight", pa.float64()),
    ("interaction_ids", pa.list_(pa.string())),
    ("feedback_ids", pa.list_(pa.string())),
]
SCHEMAS = {
    "sft": pa.schema([("prompt", MESSAGES), ("completion", ANSWERS), *_BEHIND]),
    "preference": pa.schema(
        [("prompt", MESSAGES), ("chosen", ANSWERS), ("rejected", ANSWERS), *_BEHIND]
    ),
    "kto": pa.schema(
        [("prompt", MESSAGES), ("completion", ANSWERS), ("label", pa.bool_()), *_BEHIND]
    ),
}
_REPEATED = [
    "rule",
    "loss_on",
    "reasoning",
    "prompt.list.element.role",
    "prompt.list.element.name",
    *(f"{side}.list.element.role" for side in ("completion", "chosen", "rejected")),
]
ANSWER_NAMES = {"sft": ("completion",), "preference": ("chosen", "rejected"),
                "kto": ("completion",)}  # fmt: skip


class SetWriter:
    """One file of one kind, in row groups of `ROWS_PER_GROUP`.

    Without rows there is no row group either: `datasets` streams such a file (its cache holds
    no empty split) and fails on an empty row group.
    """

    def __init__(self, kind: str, path: Path) -> None:
        encoded = [name for name in _REPEATED if name.split(".")[0] in SCHEMAS[kind].names]
        self.path = path
        self._writer = pq.ParquetWriter(
            path, SCHEMAS[kind], compression="zstd", use_dictionary=encoded
        )
        self._held: list[pa.Table] = []
        self._n_held = 0

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        if table.num_rows:
            self._held.append(table)
            self._n_held += table.num_rows
        if self._n_held >= ROWS_PER_GROUP:
            whole = pa.concat_tables(self._held)
            end = self._n_held - self._n_held % ROWS_PER_GROUP
            self._writer.write_table(whole.slice(0, end), row_group_size=ROWS_PER_GROUP)
            rest = whole.slice(end)
            self._held, self._n_held = ([rest] if rest.num_rows else []), rest.num_rows

    def __enter__(self) -> SetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if kind is None and self._held:
            self._writer.write_table(pa.concat_tables(self._held))
        self._writer.close()


def as_table(kind: str, examples: Made, sources: Sources, config: BuildConfig) -> pa.Table:
    """Return settled examples as rows of their file."""
    rows, n = sources.rows, len(examples)
    numbers = dict(zip(ANSWER_NAMES[kind], (examples.good, examples.bad), strict=False))
    of_row = pa.array(examples.row)
    ids = as_array(rows.column("interaction_id"))
    feedback = pa.concat_arrays([rows.signals.id, sources.comparisons.feedback_id])
    names = pa.array(list(config.rules))
    columns: dict[str, Any] = {
        "prompt": rows.prompts.column().take(of_row),
        **{name: _answers(sources, chosen, config) for name, chosen in numbers.items()},
        "label": pa.array(examples.label == 1),
        "tools": rows.prompts.tools.take(of_row),
        "loss_on": pa.repeat(config.loss_on, n),
        "reasoning": pa.repeat(config.reasoning, n),
        "row_id": _row_ids(kind, examples, sources),
        "interaction_id": ids.take(of_row),
        "rule": names.take(pa.array(examples.rule)),
        "weight": pa.array(np.round(examples.weight, 6)),
        "interaction_ids": _lists(examples.rows, ids, n),
        "feedback_ids": _lists(examples.feedback, feedback, n),
    }
    return pa.table({name: columns[name] for name in SCHEMAS[kind].names}, schema=SCHEMAS[kind])


def _answers(sources: Sources, numbers: Ints, config: BuildConfig) -> pa.ListArray:
    """Return one assistant's message for each text."""
    texts, n, at = sources.texts, len(numbers), pa.array(numbers)
    nothing = pa.nulls(n, pa.string())
    reasoning = nothing if config.reasoning == "strip" else texts.reasoning.take(at)
    calls = texts.tool_calls.take(at)
    message = pa.StructArray.from_arrays(
        [pa.repeat("assistant", n), texts.text.take(at), nothing, calls, nothing, reasoning],
        fields=list(ANSWERS.value_type),
    )
    offsets = pa.array(np.arange(n + 1), pa.int32())
    return pa.ListArray.from_arrays(offsets, message, type=ANSWERS)


def _row_ids(kind: str, examples: Made, sources: Sources) -> pa.Array:
    """Return a name for each row: equal for the same kind, prompt and texts, in every set."""
    sides = (examples.good, examples.bad)[: len(ANSWER_NAMES[kind])]
    prompts = sources.rows.key_digests
    parts = [[prompts[i] for i in sources.rows.prompt[examples.row].tolist()]]
    parts += [_digests(sources.texts.said, chosen) for chosen in sides]
    head = f"{kind}\x00".encode()
    ids = [
        hashlib.sha256(head + b"".join(row)).hexdigest()[:16] for row in zip(*parts, strict=True)
    ]
    return pa.array(ids, pa.string())


def _digests(texts: pa.Array, chosen: Ints) -> list[bytes]:
    """Return the SHA-256 of each chosen text; one that is chosen twice is hashed once."""
    numbers, inverse = np.unique(chosen, return_inverse=True)
    held = texts.take(pa.array(numbers)).cast(pa.binary()).to_pylist()
    digests = [hashlib.sha256(text).digest() for text in held]
    return [digests[i] for i in inverse.ravel().tolist()]


def _lists(links: Links, things: pa.Array, n: int) -> pa.ListArray:
    order = np.argsort(links.owner, kind="stable")
    lengths = np.bincount(links.owner, minlength=n).astype(np.int64)
    return pa.ListArray.from_arrays(offsets_of(lengths), things.take(pa.array(links.thing[order])))


@dataclass
class Written:
    """What is known of the rows of one kind, in the order of their two files.

    Attributes:
        rule: Number of each row's rule.
        id: The row's id, as a number.
        cluster: A number for its cluster of questions.
        weight: Its weight.
        validates: Whether it lies in the validation file.
        prompt_chars: Length of its prompt.
        n_words: Words of completion or chosen.
        n_words_bad: Words of the rejected answer.
        answer_chars: Length of its answers, of both in a pair.
        label: KTO's label.
    """

    columns: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, **columns: Any) -> None:
        """Add the rows of a chunk."""
        for name, values in columns.items():
            self.columns.setdefault(name, []).append(values)

    def __getitem__(self, name: str) -> Any:
        parts = self.columns.get(name, [])
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def keep(self, kept: Flags) -> None:
        """Forget the rows that were taken out again."""
        self.columns = {name: [self[name][kept]] for name in list(self.columns)}


def rewrite(kind: str, path: Path, kept: Flags, weight: Any) -> None:
    """Write a file again with some of its rows and with these weights of all of them."""
    file = open_rows(path)
    new = path.with_suffix(".kept")
    begin = 0
    with SetWriter(kind, new) as writer:
        for batch in file.iter_batches(batch_size=ROWS_PER_GROUP):
            end = begin + batch.num_rows
            table = pa.Table.from_batches([batch])
            place = table.schema.get_field_index("weight")
            table = table.set_column(place, "weight", pa.array(np.round(weight[begin:end], 6)))
            writer.write(table.cast(SCHEMAS[kind]).filter(pa.array(kept[begin:end])))
            begin = end
    new.replace(path)
