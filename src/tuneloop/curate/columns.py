"""Curation's working memory: interactions and feedback as columns, texts on disk.

A million interactions fit because no text stays in memory: what the gates compare are numbers,
codes and hashes. `Texts` reads the texts again, batch by batch, for those who need them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Codes = NDArray[np.int32]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Hashes = NDArray[np.uint64]

SIGNALS = (
    "thumb", "stars", "score", "correction", "comment", "preference",
    "copy", "dwell", "reformulation", "regenerate", "abandonment", "edit",
)  # fmt: skip
"""A signal's code is its place here."""
ACTORS = ("user", "reviewer", "judge", "rule")
"""An actor kind's code is its place here; what curation derives itself is a `rule`."""


def signal_code(name: str) -> int:
    """Return the code of a signal."""
    return SIGNALS.index(name)


@dataclass
class Interactions:
    """n interactions; a row number names one. Codes are -1 where nothing is stated.

    Attributes:
        id: Ids, ascending within a bucket.
        ts: When, in seconds since 1970.
        codes: By name (session, episode, subject, system, segment, intent, template, task, env):
            the number of each row's value.
        names: By the same names: the values, in order of their numbers.
        turn: Turn within the session, -1 where unknown.
        question: Hash of the normalised question (the last user message; see `question_of`).
        answer: Hash of the stripped answer.
        n_answer_words: Words of the answer.
        n_answer_chars: Characters of the answer.
        cluster: Number of the row's cluster of near-equal questions; -1 before clustering.
        propensity: Logged probability of the arm that served it, NaN where not logged.
        p_asked: Logged probability that feedback was asked for, NaN where not logged.
        asked: 1 asked, 0 not asked, -1 not stated.
    """

    id: pa.Array
    ts: Floats
    codes: dict[str, Codes]
    names: dict[str, pa.Array]
    turn: Codes
    question: Hashes
    answer: Hashes
    n_answer_words: Codes
    n_answer_chars: Codes
    cluster: Codes
    propensity: Floats
    p_asked: Floats
    asked: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.ts)


@dataclass
class Feedback:
    """m pieces of feedback in force about rows of `Interactions`, in order of (ts, id).

    Comparisons of two answers are in `Preferences`, not here.

    Attributes:
        id: Ids; derived signals get one of their own (`derived:<signal>:<interaction id>`).
        ts: When, in seconds since 1970.
        row: The interaction it is about.
        account: Number of who gave it (users: the named actor, else the interaction's person,
            session, or the piece itself), -1 never.
        account_names: Names of the accounts.
        actor: Code of the actor's kind.
        signal: Code of the signal.
        dimension: Number in `dimensions`; -1 none.
        value: The number it carries: thumb ±1, stars 1–5, score 0–1, dwell seconds, a flag 0 or
            1; NaN for texts. For `correction` and `edit`: 1 − normalised edit distance to the
            answer.
        text: Hash of the normalised text of a correction, edit or comment; 0 without.
        opinion: What it says of the answer, −1 … 1; NaN where nothing.
        trust: Multiplier of its weight, 1 from the start; gates lower it, 0 drops it.
        derived: Whether curation derived it from behaviour.
    """

    id: pa.Array
    ts: Floats
    row: Codes
    account: Codes
    account_names: pa.Array
    actor: NDArray[np.int8]
    signal: NDArray[np.int8]
    dimension: Codes
    dimensions: list[str]
    value: Floats
    text: Hashes
    opinion: Floats
    trust: Floats
    derived: Flags

    def __len__(self) -> int:
        return len(self.ts)


@dataclass
class Preferences:
    """p comparisons of two rows of `Interactions`, one a person and pair, in order of (ts, id).

    Attributes:
        outcome: 1 the first is better, -1 the second, 0 a tie, 2 both bad.
        n_answers: How many answers it was on, from the two rows' own to the end.
    """

    id: pa.Array
    ts: Floats
    first: Codes
    second: Codes
    account: Codes
    actor: NDArray[np.int8]
    outcome: NDArray[np.int8]
    dimension: Codes
    trust: Floats
    n_answers: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ts)


class Texts(Protocol):
    """Texts on disk, read in batches; redacted ones once redaction has run."""

    def prompts(
        self, columns: list[str], rows: Flags | None = None
    ) -> Iterator[tuple[Ints, pa.RecordBatch]]:
        """Yield (row numbers, batch) over interactions, ascending.

        Columns: `question`, `answer`, `prompt` (artefacts.tables.MESSAGES), `system_prompt`,
        `tools`, `answer_tool_calls`, `answer_reasoning`.
        """

    def feedback(self, rows: Flags | None = None) -> Iterator[tuple[Ints, pa.Array]]:
        """Yield (numbers of pieces of `Feedback`, their texts): corrections, edits, comments."""


@dataclass
class Findings:
    """What a gate found, for the summary, the card and the report."""

    name: str
    counts: dict[str, int] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
