"""One batch of interactions: through the gates, redacted, measured, and onto the disk.

Everything that looks at a text by itself happens here, once, wherever Daft runs it; afterwards
curation works on numbers and reads texts only to write them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.curate import parts
from tuneloop.curate.admit import CODED, Admitted, Rules, refusal
from tuneloop.curate.clean import Cleaner
from tuneloop.curate.columns import Hashes, Ints
from tuneloop.curate.decode import decode_interaction
from tuneloop.curate.near import Sets
from tuneloop.curate.said import part_number
from tuneloop.curate.similar import Corpus, fingerprints, hash_texts, normalise
from tuneloop.curate.spoken import Spoken, turn_keys, whole_keys

COLUMNS = ["id", "event_ts", "session_id", "episode_id", "subject_key", "payload"]
TEXTS = ("event_ts", "source", "output_terms", "consent_basis", "answer", "question",
         "system_prompt", "tools", "answer_tool_calls", "answer_reasoning")  # fmt: skip


Refused = tuple[int, str, str, int]
"""Place in the batch, reason, detail, turn."""


@dataclass(frozen=True)
class Prepare:
    """Prepares a batch of interactions as parts of `folder`.

    A part is three files: `.head` (a row each interaction, the admitted first, in order of
    question hash and id), `.text` (the admitted in the same order, by ranges of the hash) and
    `.spoken` (their redacted corrections, edits and comments).

    Attributes:
        spoken: File of the texts in force that feedback brings, see `spoken.py`.
    """

    folder: Path
    rules: Rules
    golden: tuple[GoldenPrompt, ...]
    spoken: Path
    seed: int

    def __call__(self, batch: pa.RecordBatch) -> int:
        """Return the number of the part."""
        keys = hash_texts(batch["id"])
        number = part_number(keys, np.zeros(len(keys), np.uint64))
        path = self.folder / f"{number:016x}.head"
        if not path.exists():
            self._write(batch, keys, path)
        return number

    @cached_property
    def _cleaner(self) -> Cleaner:
        return Cleaner(self.rules.config, self.golden, seed=self.seed)

    @cached_property
    def _said(self) -> Spoken:
        return Spoken(self.spoken)

    def _write(self, batch: pa.RecordBatch, keys: Hashes, path: Path) -> None:
        admitted, refused = admit(batch, self.rules)
        taken = pa.array(admitted.row, pa.int64())
        mine = batch.drop_columns(["payload"]).take(taken)
        turns = turn_keys(mine["session_id"], pa.array(admitted.turn, pa.int32()))
        whole = whole_keys(mine["session_id"], mine["episode_id"])
        spoken = self._said.of([keys[admitted.row], *whole, turns])
        cleaned = self._cleaner(admitted, mine, spoken)
        table = self._columns(admitted, mine, cleaned)
        table = table.append_column("key", pa.array(keys[admitted.row]))
        question = table["question_hash"].to_numpy()
        order = np.lexsort((_ranks(mine["id"]), question))
        _write_said(path.with_suffix(".spoken"), cleaned.spoken, table["key"].to_numpy(), question)
        table = table.take(pa.array(order))
        texts = table.select(["id", *TEXTS, "prompt"])
        parts.write_ranges(path.with_suffix(".text"), texts, parts.range_of(question[order]))
        head = table.drop([*TEXTS, "prompt"])
        refusals = _refused(batch, keys, refused)
        both = pa.concat_tables([head, refusals], promote_options="default")
        parts.write(path, both.combine_chunks().to_batches(), both.schema)

    def _columns(self, admitted: Admitted, mine: pa.RecordBatch, cleaned: Any) -> pa.Table:
        """Return every column of the admitted rows, in their order in the batch."""
        single = {
            name: pa.array(values, pa.large_string() if name in TEXTS else pa.string())
            for name, values in admitted.single.items()
        } | cleaned.single
        normal = normalise(single["question"])
        shingles, words = fingerprints(
            Corpus.of(normal, stable=True), self.rules.config.dedupe.near_threshold
        )
        columns = {name: mine[name] for name in ("id", "session_id", "episode_id", "subject_key")}
        columns |= {name: single[name] for name in TEXTS}
        columns |= {name: single[name].dictionary_encode() for name in CODED}
        columns["prompt"] = admitted.prompt(cleaned.contents)
        columns |= {
            "ts": _seconds(mine["event_ts"]),
            "turn": pa.array(admitted.turn, pa.int32()),
            "question_hash": hash_texts(normal),
            "answer_hash": hash_texts(pc.utf8_trim_whitespace(single["answer"])),
            "n_answer_words": _n_words(single["answer"]),
            "n_answer_chars": pc.cast(pc.utf8_length(single["answer"]), pa.int32()),
            "golden": pa.array(admitted.golden),
            "shingles": _lists(shingles),
            "words": _lists(words),
        }
        numbers = np.array(admitted.numbers, dtype=np.float64).reshape(-1, 3)
        columns |= {"propensity": numbers[:, 0], "p_asked": numbers[:, 1],
                    "asked": numbers[:, 2].astype(np.int8)}  # fmt: skip
        flat = pa.array([name for names in admitted.documents for name in names], pa.string())
        sizes = np.array([len(names) for names in admitted.documents], dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
        columns["documents"] = pa.ListArray.from_arrays(
            pa.array(offsets), pa.array(hash_texts(flat))
        )
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


def _write_said(path: Path, said: pa.Table, keys: Hashes, question: Hashes) -> None:
    """Write the texts of feedback in the ranges of the rows they are about."""
    row = said["row"].to_numpy()
    said = said.append_column("key", pa.array(keys[row]))
    order = np.lexsort((said["piece"].to_numpy(), question[row]))
    ranges = parts.range_of(question[row][order])
    parts.write_ranges(path, said.drop(["row"]).take(pa.array(order)), ranges)


def _refused(
    batch: pa.RecordBatch, keys: Hashes, refused: list[Refused]
) -> pa.Table:
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


def _n_words(texts: pa.Array) -> pa.Array:
    words = pc.ascii_split_whitespace(pc.utf8_trim_whitespace(texts))
    return pc.cast(pc.list_value_length(words), pa.int32())


def _lists(sets: Sets) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(sets.offsets.astype(np.int32)), pa.array(sets.codes))


def _ranks(ids: pa.Array) -> Ints:
    """Return the place of each id in their order."""
    ranks = np.empty(len(ids), dtype=np.int64)
    ranks[pc.sort_indices(ids).to_numpy()] = np.arange(len(ids))
    return ranks
