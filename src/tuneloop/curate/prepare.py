"""One batch of interactions: through the gates, redacted, measured, and onto the disk.

Everything that looks at a text by itself happens here, once, wherever Daft runs it; afterwards
curation works on numbers and reads texts only to write them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.artefacts.digest import canonical_json
from tuneloop.curate import parts
from tuneloop.curate.admit import CODED, Admitted, Rules, refusal
from tuneloop.curate.clean import WHOLE, Cleaned, Cleaner
from tuneloop.curate.columns import Hashes, Ints
from tuneloop.curate.decode import decode_interaction
from tuneloop.curate.near import Sets
from tuneloop.curate.privacy.report import RedactionReport
from tuneloop.curate.said import part_number
from tuneloop.curate.similar import Corpus, fingerprints, hash_texts, normalise
from tuneloop.curate.spoken import Spoken, turn_keys, whole_keys

COLUMNS = ["id", "event_ts", "session_id", "episode_id", "subject_key", "payload"]
STORED = ["event_ts", "source", "output_terms", "consent_basis", *WHOLE]
"""What goes to the disk with the texts."""

Refused = tuple[int, str, str, int]
"""Place in the batch, reason, detail, turn."""


@dataclass(frozen=True)
class Prepare:
    """Prepares a batch of interactions as parts of `folder`.

    A part is four files: `.head` (a row each interaction, the admitted first, in order of
    question hash and id), `.text` (the admitted in the same order, by ranges of the hash),
    `.spoken` (their redacted corrections, edits and comments, by the same ranges) and `.found`
    (what redaction counted).

    Attributes:
        spoken: File of the texts in force that feedback brings, see `spoken.py`.
    """

    folder: Path
    rules: Rules
    cleaner: Cleaner
    spoken: Path

    def __call__(self, batch: pa.RecordBatch) -> int:
        """Return the number of the part."""
        keys = hash_texts(batch["id"])
        number = part_number(keys, np.zeros(len(keys), np.uint64))
        path = self.folder / f"{number:016x}.head"
        if not path.exists():  # written last
            self._write(batch, keys, path)
        return number

    def _write(self, batch: pa.RecordBatch, keys: Hashes, path: Path) -> None:
        admitted, refused = admit(batch, self.rules)
        mine = batch.drop_columns(["payload"]).take(pa.array(admitted.row, pa.int64()))
        given = admitted.columns()
        numbers = np.array(admitted.numbers, dtype=np.float64).reshape(-1, 4)
        turns = turn_keys(mine["session_id"], pa.array(numbers[:, 0].astype(np.int32)))
        whole = whole_keys(mine["session_id"], mine["episode_id"])
        spoken = Spoken(self.spoken).of([keys[admitted.row], *whole, turns])
        texts = {name: given[name] for name in WHOLE}
        reasons = given.pop("finish_reason")
        cleaned = self.cleaner(texts, mine["id"], mine["session_id"], spoken, finish_reason=reasons)
        table = self._columns(given, mine, cleaned)
        table = _with_numbers(table, numbers, admitted)
        table = table.append_column("key", pa.array(keys[admitted.row]))
        question = table["question_hash"].to_numpy()
        order = np.lexsort((_ranks(mine["id"]), question))
        _write_said(path.with_suffix(".spoken"), cleaned.spoken, table["key"].to_numpy(), question)
        table = table.take(pa.array(order))
        texts = table.select(["id", *STORED])
        parts.write_ranges(path.with_suffix(".text"), texts, parts.range_of(question[order]))
        _write_report(path.with_suffix(".found"), cleaned.report)
        refusals = _refused(batch, keys, refused)
        both = pa.concat_tables([table.drop(STORED), refusals], promote_options="default")
        parts.write(path, both.combine_chunks().to_batches(), both.schema)

    def _columns(
        self, given: dict[str, pa.Array], mine: pa.RecordBatch, cleaned: Cleaned
    ) -> pa.Table:
        """Return every column of the admitted rows, in their order in the batch."""
        normal = normalise(cleaned.asked)
        threshold = self.rules.config.dedupe.near_threshold
        shingles, words = fingerprints(Corpus.of(normal, stable=True), threshold)
        answer = cleaned.columns["answer"]
        columns = {name: mine[name] for name in ("id", "session_id", "episode_id", "subject_key")}
        columns |= cleaned.columns
        for name, column in given.items():
            if name not in columns:
                columns[name] = column.dictionary_encode() if name in CODED else column
        columns |= {
            "ts": _seconds(mine["event_ts"]),
            "question_hash": hash_texts(normal),
            "answer_hash": hash_texts(pc.utf8_trim_whitespace(answer)),
            "n_answer_words": cleaned.n_words,
            "n_answer_chars": pc.cast(pc.fill_null(pc.utf8_length(answer), 0), pa.int32()),
            "shingles": _lists(shingles),
            "words": _lists(words),
        }
        return pa.table(columns | cleaned.flags)


def admit(batch: pa.RecordBatch, rules: Rules) -> tuple[Admitted, list[Refused]]:
    """Return the interactions that may be learned from, and the rest."""
    admitted, refused = Admitted(), []
    for row, text in enumerate(batch["payload"].cast(pa.large_binary()).to_pylist()):
        event = decode_interaction(text)
        why = refusal(event, rules)
        if why is None and not admitted.add(row, event):
            why = ("no_question", "")
        if why:
            refused.append((row, *why, -1 if event.turn is None else event.turn))
    return admitted, refused


def _with_numbers(table: pa.Table, numbers: np.ndarray, admitted: Admitted) -> pa.Table:
    columns = {
        "turn": numbers[:, 0].astype(np.int32),
        "propensity": numbers[:, 1],
        "p_asked": numbers[:, 2],
        "asked": numbers[:, 3].astype(np.int8),
        "golden": pa.array(admitted.golden, pa.bool_()),
        "documents": _documents(admitted.documents),
    }
    for name, column in columns.items():
        table = table.append_column(name, pa.array(column))
    return table


def _documents(names: list[list[str]]) -> pa.Array:
    flat = pa.array([name for some in names for name in some], pa.string())
    sizes = np.array([len(some) for some in names], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(hash_texts(flat)))


def _write_report(path: Path, report: RedactionReport) -> None:
    data = {
        name: [[*key, n] for key, n in sorted(counter.items())]
        for name, counter in (("found", report.found), ("replaced", report.replaced))
    }
    path.write_text(canonical_json({**data, "samples": report.samples}), "utf-8")


def _write_said(path: Path, said: pa.Table, keys: Hashes, question: Hashes) -> None:
    """Write the texts of feedback in the ranges of the rows they are about."""
    row = said["row"].to_numpy()
    said = said.append_column("key", pa.array(keys[row]))
    order = np.lexsort((said["piece"].to_numpy(), question[row]))
    ranges = parts.range_of(question[row][order])
    parts.write_ranges(path, said.drop(["row"]).take(pa.array(order)), ranges)


def _refused(batch: pa.RecordBatch, keys: Hashes, refused: list[Refused]) -> pa.Table:
    rows = [row for row, *_ in refused]
    gone = batch.take(pa.array(rows, pa.int64()))
    known = {name: gone[name] for name in ("id", "session_id", "episode_id", "subject_key")}
    known |= {
        "ts": _seconds(gone["event_ts"]),
        "turn": pa.array([turn for *_, turn in refused], pa.int32()),
        "key": keys[rows],
        "reason": pa.array([reason for _, reason, *_ in refused], pa.string()),
        "detail": pa.array([detail for _, _, detail, _ in refused], pa.string()),
    }
    return pa.table(known)


def _seconds(stamps: pa.Array) -> Any:
    return stamps.cast(pa.timestamp("us")).cast(pa.int64()).to_numpy() / 1e6


def _lists(sets: Sets) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(sets.offsets.astype(np.int32)), pa.array(sets.codes))


def _ranks(ids: pa.Array) -> Ints:
    """Return the place of each id in their order."""
    ranks = np.empty(len(ids), dtype=np.int64)
    ranks[pc.sort_indices(ids).to_numpy()] = np.arange(len(ids))
    return ranks
