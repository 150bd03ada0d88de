"""What a batch of texts goes through: redaction, quality, the golden guard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.config.curate import CurateConfig
from tuneloop.curate.columns import SIGNALS, Ints
from tuneloop.curate.leak import Guard
from tuneloop.curate.overlap import Matches
from tuneloop.curate.privacy.redact import Redactor, mask_texts, redact_batch
from tuneloop.curate.privacy.report import RedactionReport
from tuneloop.curate.quality.repetition import split_words
from tuneloop.curate.quality.texts import quality_flags, text_flags
from tuneloop.curate.signals.edits import similarity
from tuneloop.curate.similar import hash_texts, normalise

SPOKEN = ("correction", "edit", "comment")
WHOLE = ("prompt", "question", "answer", "answer_reasoning", "answer_tool_calls", "tools",
         "system_prompt")  # fmt: skip


@dataclass
class Cleaned:
    """A batch after cleaning, n rows.

    Attributes:
        columns: The columns of `WHOLE`, redacted.
        asked: The questions as they are compared: every personal value as its kind.
        spoken: (row, piece, text, text_hash, kept, flags) of each text of feedback; `kept` is
            1 − normalised edit distance to the answer, NaN for comments.
        n_words: Words of each answer.
        flags: Columns of findings, one value a row.
        report: What redaction found.
    """

    columns: dict[str, pa.Array]
    asked: pa.Array
    spoken: pa.Table
    n_words: pa.Array
    flags: dict[str, Any]
    report: RedactionReport


@dataclass
class Cleaner:
    """Cleans batches of admitted interactions."""

    config: CurateConfig
    redactor: Redactor
    guard: Guard

    def __call__(
        self, columns: dict[str, pa.Array], ids: pa.Array, sessions: pa.Array, spoken: pa.Table,
        *, finish_reason: pa.Array | None = None,
    ) -> Cleaned:  # fmt: skip
        """Return the batch with its texts cleaned and its findings.

        Args:
            columns: The columns of `WHOLE`.
            ids: Ids of the interactions.
            sessions: Their sessions, null for none.
            spoken: (row, piece, signal, text) of each text of feedback.
            finish_reason: Why each answer ended, where logged.
        """
        conversations = pc.coalesce(sessions, ids)
        layers = _layers(spoken)
        first = _aligned(spoken, layers[0] if layers else {}, len(ids))
        # The question is part of the prompt, and what is found in it must not count twice.
        question = {"question": columns["question"]}
        alone = redact_batch(question, conversations, self.redactor, masked=question)
        asked = alone.masked["question"]
        rest = {name: column for name, column in columns.items() if name != "question"}
        done = redact_batch({**rest, **first}, conversations, self.redactor)
        new = {name: (done if name in rest else alone).columns[name] for name in columns}
        said = self._spoken(spoken, layers, conversations, done.columns, done.report)
        found = self._compare(asked, new, [done.columns[n] for n in first if n != "comment"], ids)
        left_out = np.any([done.left_out[name] for name in rest], axis=0)
        words = split_words(pc.fill_null(new["answer"], ""))
        mask = quality_flags(new["question"], new["answer"], self.config.quality, words=words,
                             finish_reason=finish_reason)  # fmt: skip
        flags = {
            "flag:left_out": left_out, "flag:quality": mask,
            "flag:leak_kind": found.kind, "flag:leak_index": found.index,
            "flag:leak_similarity": found.similarity,
        }  # fmt: skip
        n_words = pc.cast(pc.list_value_length(words), pa.int32())
        return Cleaned(new, asked, said, n_words, flags, done.report)

    def _spoken(
        self, spoken: pa.Table, layers: list[dict[str, Ints]], conversations: pa.Array,
        first: dict[str, pa.Array], report: RedactionReport,
    ) -> pa.Table:  # fmt: skip
        """Return the texts of feedback, redacted: the first of each kind came with its row."""
        texts = np.empty(len(spoken), dtype=object)
        rows = spoken["row"].to_numpy()
        for depth, layer in enumerate(layers):
            for name, places in layer.items():
                if depth == 0:
                    new = first[name].take(pa.array(rows[places]))
                else:
                    given = spoken["text"].take(pa.array(places)).combine_chunks()
                    whose = conversations.take(pa.array(rows[places]))
                    done = redact_batch({name: given}, whose, self.redactor)
                    report.merge(done.report)
                    new = done.columns[name]
                texts[places] = new.to_pylist()
        column = pa.array(texts, pa.string())
        table = spoken.select(["row", "piece"])
        table = table.append_column("text", column)
        table = table.append_column("text_hash", pa.array(hash_texts(normalise(column))))
        table = table.append_column("flags", pa.array(text_flags(column, self.config.quality)))
        return table.append_column("kept", pa.array(_kept(spoken, first["answer"], column)))

    def _compare(
        self, asked: pa.Array, new: dict[str, pa.Array], given: Sequence[pa.Array], ids: pa.Array
    ) -> Matches:
        if not self.config.leak.enabled:
            return Matches.none(len(ids))
        return self.guard.check(asked, _turns(new["prompt"]), [new["answer"], *given], ids)


def masked_golden(golden: Sequence[GoldenPrompt], redactor: Redactor) -> list[GoldenPrompt]:
    """Return the prompts as questions are compared: every personal value as its kind."""
    contents = [m.get("content", "") for prompt in golden for m in prompt.messages]
    masked = iter(mask_texts(contents, redactor).to_pylist())
    references = iter(mask_texts([p.reference or "" for p in golden], redactor).to_pylist())
    return [
        prompt.model_copy(update={
            "messages": [{**m, "content": next(masked)} for m in prompt.messages],
            "reference": next(references) or None,
        })
        for prompt in golden
    ]  # fmt: skip


def _layers(spoken: pa.Table) -> list[dict[str, Ints]]:
    """Return the places of texts by kind, at most one a row in each layer."""
    rows, signals = spoken["row"].to_numpy(), spoken["signal"].to_numpy()
    layers: list[dict[str, Ints]] = []
    for name in SPOKEN:
        places = np.flatnonzero(signals == SIGNALS.index(name))
        places = places[np.lexsort((spoken["piece"].to_numpy()[places], rows[places]))]
        starts = np.flatnonzero(np.diff(rows[places], prepend=-1))
        sizes = np.diff(np.append(starts, len(places)))
        depth = np.arange(len(places)) - np.repeat(starts, sizes)
        for number in range(int(depth.max(initial=-1)) + 1):
            if number == len(layers):
                layers.append({})
            layers[number][name] = places[depth == number]
    return layers


def _aligned(spoken: pa.Table, layer: dict[str, Ints], n: int) -> dict[str, pa.Array]:
    """Return the texts of one layer as columns of n rows."""
    columns = {}
    for name, places in layer.items():
        place = np.full(n, -1, dtype=np.int64)
        place[spoken["row"].to_numpy()[places]] = places
        columns[name] = spoken["text"].combine_chunks().take(pa.array(place, mask=place < 0))
    return columns


def _kept(spoken: pa.Table, answers: pa.Array, texts: pa.Array) -> np.ndarray:
    """Return how much of the answer each correction or edit keeps."""
    kept = np.full(len(spoken), np.nan)
    changes = (spoken["signal"].to_numpy() != SIGNALS.index("comment")) & texts.is_valid().to_numpy(
        zero_copy_only=False
    )
    places = np.flatnonzero(changes)
    given = answers.take(spoken["row"].take(pa.array(places)).combine_chunks())
    kept[places] = similarity(
        pc.fill_null(given, "").to_pylist(), texts.take(pa.array(places)).to_pylist()
    )
    return kept


def _turns(prompts: pa.ListArray) -> pa.ListArray:
    """Return what else was said to the model in each row: system prompts and earlier turns."""
    flat = prompts.flatten()
    roles, contents = pc.struct_field(flat, "role"), pc.struct_field(flat, "content")
    wanted = pc.is_in(roles, value_set=pa.array(["user", "system"])).to_numpy(zero_copy_only=False)
    owner = pc.list_parent_indices(prompts).to_numpy(zero_copy_only=False)
    last = np.append(owner[1:] != owner[:-1], np.ones(min(len(owner), 1), bool))
    wanted &= ~last
    sizes = np.bincount(owner[wanted], minlength=len(prompts))
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), contents.filter(pa.array(wanted)))
