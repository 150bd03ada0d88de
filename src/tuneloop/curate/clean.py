"""What a batch of texts goes through: redaction, quality, the golden guard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.config.data import CurateConfig
from tuneloop.curate.admit import Admitted
from tuneloop.curate.similar import hash_texts, normalise


@dataclass
class Cleaned:
    """A batch after cleaning.

    Attributes:
        contents: Contents of all messages, one after another.
        single: Columns that changed, one value a row.
        spoken: (row, piece, text, text_hash, kept) of each text of feedback; `kept` is
            1 − normalised edit distance to the answer, NaN for comments.
        flags: Columns of findings, one value a row.
    """

    contents: pa.Array
    single: dict[str, pa.Array]
    spoken: pa.Table
    flags: dict[str, Any]


class Cleaner:
    """Cleans batches of admitted interactions."""

    def __init__(self, config: CurateConfig, golden: tuple[GoldenPrompt, ...], *, seed: int) -> None:
        self.config = config

    def __call__(self, admitted: Admitted, rows: pa.RecordBatch, spoken: pa.Table) -> Cleaned:
        """Return the batch with its texts cleaned and its findings."""
        texts = spoken["text"].combine_chunks()
        said = pa.table({
            "row": spoken["row"], "piece": spoken["piece"], "text": texts,
            "text_hash": hash_texts(normalise(texts)),
            "kept": _kept(admitted, spoken),
        })  # fmt: skip
        contents = pa.array(admitted.messages["content"], pa.string())
        return Cleaned(contents, {}, said, {})


def _kept(admitted: Admitted, spoken: pa.Table) -> np.ndarray:
    """Return how much of the answer each correction or edit keeps."""
    from rapidfuzz.distance import Levenshtein

    from tuneloop.curate.columns import signal_code

    comment = signal_code("comment")
    answers = admitted.single["answer"]
    return np.array(
        [
            np.nan if signal == comment else Levenshtein.normalized_similarity(answers[row], text)
            for row, signal, text in zip(
                *(spoken[name].to_pylist() for name in ("row", "signal", "text")), strict=True
            )
        ],
        dtype=np.float64,
    )
