"""Small logs as columns, made by hand."""

import numpy as np
import pyarrow as pa
import pytest

from tuneloop.curate.columns import (
    ACTORS,
    SIGNALS,
    Feedback,
    Interactions,
    Preferences,
)


def codes_of(values):
    names = sorted({v for v in values if v is not None})
    codes = [-1 if v is None else names.index(v) for v in values]
    return np.array(codes, dtype=np.int32), pa.array(names, pa.string())


class ByHand:
    """Makes interactions, feedback and comparisons from rows of dicts, and keeps their texts."""

    def interactions(self, rows):
        self.rows = rows
        n = len(rows)
        names, codes = {}, {}
        for name in ("session", "subject", "system", "segment", "intent", "template", "episode"):
            codes[name], names[name] = codes_of([r.get(name) for r in rows])

        def floats(name, missing):
            return np.array([r.get(name, missing) for r in rows], dtype=float)

        questions = [r.get("question", f"question {i}") for i, r in enumerate(rows)]
        return Interactions(
            id=pa.array([r.get("id", f"i{i:05d}") for i, r in enumerate(rows)]),
            ts=floats("ts", 0.0),
            codes=codes,
            names=names,
            turn=floats("turn", -1).astype(np.int32),
            question=np.array([hash(q) & 0xFFFFFFFF for q in questions], dtype=np.uint64),
            answer=np.arange(n, dtype=np.uint64),
            n_answer_words=floats("words", 40).astype(np.int32),
            n_answer_chars=(6 * floats("words", 40)).astype(np.int32),
            cluster=np.full(n, -1, dtype=np.int32),
            propensity=floats("propensity", np.nan),
            p_asked=floats("p_asked", np.nan),
            asked=floats("asked", -1).astype(np.int8),
        )

    def feedback(self, pieces):
        """Pieces are (row, signal, value) with a dict of the rest as a fourth part."""
        pieces = [(*p[:3], p[3] if len(p) > 3 else {}) for p in pieces]
        self.texts = [p[2] if isinstance(p[2], str) else None for p in pieces]
        account, names = codes_of([p[3].get("who", f"nobody{i:05d}") for i, p in enumerate(pieces)])
        dimensions = sorted({p[3]["dimension"] for p in pieces if "dimension" in p[3]})
        m = len(pieces)
        return Feedback(
            id=pa.array([f"f{i:05d}" for i in range(m)]),
            ts=np.array([p[3].get("ts", float(i)) for i, p in enumerate(pieces)]),
            row=np.array([p[0] for p in pieces], dtype=np.int32),
            account=account,
            account_names=names,
            actor=np.array([ACTORS.index(p[3].get("actor", "user")) for p in pieces], np.int8),
            signal=np.array([SIGNALS.index(p[1]) for p in pieces], np.int8),
            dimension=np.array(
                [
                    dimensions.index(p[3]["dimension"]) if "dimension" in p[3] else -1
                    for p in pieces
                ],
                np.int32,
            ),
            dimensions=dimensions,
            value=np.array([np.nan if isinstance(p[2], str) else p[2] for p in pieces], float),
            text=np.zeros(m, np.uint64),
            opinion=np.full(m, np.nan),
            trust=np.array([p[3].get("trust", 1.0) for p in pieces]),
            derived=np.zeros(m, bool),
        )

    def preferences(self, rows=(), n_accounts=0):
        """Rows are (first, second, account, outcome)."""
        p = len(rows)
        column = list(zip(*rows, strict=True)) if rows else [[], [], [], []]
        return Preferences(
            id=pa.array([f"p{i:05d}" for i in range(p)], pa.string()),
            ts=np.arange(p, dtype=float),
            first=np.array(column[0], np.int32),
            second=np.array(column[1], np.int32),
            account=np.array(column[2], np.int32),
            actor=np.full(p, ACTORS.index("reviewer"), np.int8),
            outcome=np.array(column[3], np.int8),
            dimension=np.full(p, -1, np.int32),
            trust=np.ones(p),
            n_answers=np.ones(p, np.int32),
        )

    def prompts(self, columns, rows=None):
        """As `Texts` has it, two rows at a time, to show that batches are put together."""
        wanted = [i for i in range(len(self.rows)) if rows is None or rows[i]]
        for at in range(0, len(wanted), 2):
            some = wanted[at : at + 2]
            texts = [self.rows[i].get("question", f"question {i}") for i in some]
            yield np.array(some), pa.record_batch({"question": pa.array(texts, pa.large_string())})

    def feedback_texts(self, rows=None):
        wanted = [i for i in range(len(self.texts)) if rows is None or rows[i]]
        yield np.array(wanted), pa.array([self.texts[i] for i in wanted], pa.string())


class TextsOf:
    def __init__(self, by_hand):
        self.prompts = by_hand.prompts
        self.feedback = by_hand.feedback_texts


@pytest.fixture
def hand():
    return ByHand()


@pytest.fixture
def texts(hand):
    return TextsOf(hand)
