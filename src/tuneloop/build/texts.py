"""The texts a chunk's rows can be made of: answers, corrections, edits, sampled answers."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.build.prompts import BYTES_PER_TOKEN
from tuneloop.build.rows import Flags, Floats, Ints, Rows, as_array, filled

NONE = -1
_SPACES = pa.array([b" ", b"\t", b"\n", b"\r", b"\x0b", b"\x0c"])


@dataclass
class Texts:
    """Texts by number: first the n answers of n rows, then what else there is.

    Attributes:
        text: The texts.
        tool_calls: The calls of each, as JSON.
        reasoning: What was thought before it.
        system: What wrote it; null for people.
        said: Each without spacing at its ends, and its calls.
        key: Equal for texts that are equal, spacing at the ends aside.
        usable: Whether it says something and is short enough.
        correction: By row, the number of its correction in force, `NONE` without.
        corrected_by: By row, numbers of the feedback (`Rows.signals`) that say this correction.
        edit: By row, the number of the edit that counts most.
        edited_by: The feedback behind it.
        samples: Sampled answers: (row, number, score, margin), by row.
    """

    text: pa.Array
    tool_calls: pa.Array
    reasoning: pa.Array
    system: pa.Array
    said: pa.Array
    key: Ints
    usable: Flags
    correction: Ints
    corrected_by: dict[int, list[int]]
    edit: Ints
    edited_by: dict[int, int]
    samples: tuple[Ints, Ints, Floats, Floats]


def gather(rows: Rows, samples: pa.Table | None, *, max_tokens: int | None) -> Texts:
    """Return the texts of a chunk; `samples` are those about any row."""
    n = len(rows)
    corrections = as_array(rows.column("correction"))
    corrected = np.flatnonzero(np.asarray(corrections.is_valid()))
    edits = _edits(rows)
    sampled, of_row = (
        _of_rows(samples, rows) if samples is not None else (None, np.empty(0, np.int64))
    )
    begin = np.cumsum([n, len(corrected), len(edits)])
    text = pa.concat_arrays(
        [
            pc.fill_null(as_array(rows.column("answer")), ""),
            corrections.take(pa.array(corrected)),
            pa.array([text for text, _ in edits.values()], pa.string()),
            *([as_array(sampled.column("answer"))] if sampled is not None else []),
        ]
    )
    by_people = pa.nulls(len(corrected) + len(edits), pa.string())
    no_calls = pa.nulls(len(text) - n, pa.string())
    calls = pa.concat_arrays([as_array(rows.column("answer_tool_calls")), no_calls])
    systems = [as_array(rows.column("system")), by_people]
    systems += [as_array(sampled.column("system"))] if sampled is not None else []
    trimmed = _trimmed(text)
    said = pc.binary_join_element_wise(trimmed, pc.fill_null(calls, ""), "\x1f")
    correction, edit = np.full(n, NONE), np.full(n, NONE)
    correction[corrected] = begin[0] + np.arange(len(corrected))
    edit[list(edits)] = begin[1] + np.arange(len(edits))
    return Texts(
        text=text,
        tool_calls=calls,
        reasoning=pa.concat_arrays([as_array(rows.column("answer_reasoning")), no_calls]),
        system=pa.concat_arrays(systems),
        said=said,
        key=pc.dictionary_encode(said).indices.to_numpy(zero_copy_only=False).astype(np.int64),
        usable=_usable(said, max_tokens),
        correction=correction,
        corrected_by=_corrected_by(rows, corrections, corrected),
        edit=edit,
        edited_by={row: number for row, (_, number) in edits.items()},
        samples=(of_row, begin[2] + np.arange(len(of_row)), *_scores(sampled)),
    )


def read_samples(table: pa.Table) -> pa.Table:
    """Return a table of sampled answers with the columns the rules read."""
    columns = {"interaction_id": pa.string(), "answer": pa.string(), "score": pa.float64(),
               "margin": pa.float64(), "system": pa.string()}  # fmt: skip
    held = {
        name: as_array(table.column(name)).cast(type_)
        if name in table.column_names
        else pa.nulls(table.num_rows, type_)
        for name, type_ in columns.items()
    }
    found = pa.table(held)
    if "origin" in table.column_names:  # the recorded answers lie there for their scores alone
        found = found.filter(pc.not_equal(as_array(table.column("origin")), "recorded"))
    return found.filter(found.column("answer").is_valid()).sort_by(
        [("interaction_id", "ascending"), ("score", "descending"), ("answer", "ascending")]
    )


def _trimmed(texts: pa.Array) -> pa.Array:
    """Return texts without ASCII white space at their ends; most have none."""
    edges = texts.cast(pa.binary())
    first, last = pc.binary_slice(edges, 0, 1), pc.binary_slice(edges, -1)
    odd = pc.or_(pc.is_in(first, _SPACES), pc.is_in(last, _SPACES))
    plain = pc.ascii_trim_whitespace(texts.filter(odd))
    return pc.replace_with_mask(texts, odd, plain)


def _usable(said: pa.Array, max_tokens: int | None) -> Flags:
    n_bytes = pc.binary_length(said).to_numpy(zero_copy_only=False) - 1
    most = np.inf if max_tokens is None else max_tokens * BYTES_PER_TOKEN
    return np.asarray((n_bytes > 0) & (n_bytes <= most))


def _of_rows(samples: pa.Table, rows: Rows) -> tuple[pa.Table, Ints]:
    ids = as_array(rows.column("interaction_id"))
    place = pc.index_in(as_array(samples.column("interaction_id")), ids)
    found = samples.filter(place.is_valid())
    return found, place.drop_null().to_numpy().astype(np.int64)


def _scores(sampled: pa.Table | None) -> tuple[Floats, Floats]:
    if sampled is None:
        return np.empty(0), np.empty(0)
    score, margin = (filled(as_array(sampled.column(c)), np.nan) for c in ("score", "margin"))
    return score, margin


def _edits(rows: Rows) -> dict[int, tuple[str, int]]:
    """Return row → (edited text, feedback): the heaviest edit of each row, the latest of equals."""
    signals = rows.signals
    found: dict[int, tuple[str, int]] = {}
    numbers = np.flatnonzero(np.asarray(pc.fill_null(pc.equal(signals.signal, "edit"), False)))
    for number in numbers.tolist():
        text, row = json.loads(signals.value[number].as_py() or "null"), int(signals.row[number])
        before = found.get(row)
        heavier = before is None or signals.weight[number] >= signals.weight[before[1]]
        if isinstance(text, str) and text.strip() and heavier:
            found[row] = (text, number)
    answers = as_array(rows.column("answer"))
    return {
        row: said
        for row, said in sorted(found.items())
        if said[0].strip() != (answers[row].as_py() or "").strip()
    }


def _corrected_by(rows: Rows, corrections: pa.Array, corrected: Ints) -> dict[int, list[int]]:
    """Return row → the feedback that says the correction in force.

    Of several people who corrected one answer only those who say this text stand behind it;
    where none can be told apart (its text was changed since), all do.
    """
    signals = rows.signals
    said: dict[int, list[int]] = {row: [] for row in corrected.tolist()}
    is_one = np.asarray(pc.fill_null(pc.equal(signals.signal, "correction"), False))
    for number in np.flatnonzero(is_one).tolist():
        row = int(signals.row[number])
        if row in said:
            said[row].append(number)
    for row, numbers in said.items():
        if len(numbers) > 1:
            text = corrections[row].as_py().strip()
            same = [n for n in numbers if _text(signals.value[n].as_py()) == text]
            said[row] = same or numbers
    return said


def _text(value: str | None) -> str | None:
    said = json.loads(value or "null")
    return said.strip() if isinstance(said, str) else None
