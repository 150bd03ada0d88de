"""One account that says two things of one answer."""

import numpy as np
import pyarrow as pa

from tuneloop.config.privacy import QualityConfig
from tuneloop.curate.columns import ACTORS, Feedback, signal_code
from tuneloop.curate.quality.contradiction import contradictions


def feedback(*pieces):
    """Build columns from (row, account, signal, dimension, value, opinion)."""
    n = len(pieces)
    row, account, signal, dimension, value, opinion = zip(*pieces, strict=True)
    return Feedback(
        id=pa.array([f"f{i}" for i in range(n)]),
        ts=np.arange(n, dtype=np.float64),
        row=np.array(row, np.int32),
        account=np.array(account, np.int32),
        account_names=pa.array(["a", "b", "c"]),
        actor=np.full(n, ACTORS.index("user"), np.int8),
        signal=np.array([signal_code(s) for s in signal], np.int8),
        dimension=np.array(dimension, np.int32),
        dimensions=["helpful", "kind"],
        value=np.array(value, np.float64),
        text=np.zeros(n, np.uint64),
        opinion=np.array(opinion, np.float64),
        trust=np.ones(n),
        derived=np.zeros(n, np.bool_),
    )


def test_up_and_down_of_one_account_about_one_answer():
    pieces = feedback(
        (0, 0, "thumb", -1, 1, 1.0),
        (0, 0, "stars", -1, 1, -1.0),  # contradicts
        (0, 1, "thumb", -1, -1, -1.0),  # somebody else
        (1, 0, "thumb", -1, -1, -1.0),  # another answer
        (2, 0, "score", 0, 0.9, 0.8),
        (2, 0, "score", 1, 0.1, -0.8),  # helpful but unkind
        (3, 2, "thumb", -1, 1, 1.0),
        (3, 2, "abandonment", -1, 1, -0.5),  # behaviour is no opinion
    )
    assert contradictions(pieces, QualityConfig()).tolist() == [True, True] + [False] * 6


def test_liking_what_one_rewrites():
    pieces = feedback(
        (0, 0, "thumb", -1, 1, 1.0),
        (0, 0, "correction", -1, 0.05, -1.0),  # nothing of the answer is left
        (1, 1, "thumb", -1, 1, 1.0),
        (1, 1, "correction", -1, 0.95, -1.0),  # a typo
        (2, 1, "thumb", -1, -1, -1.0),
        (2, 1, "correction", -1, 0.0, -1.0),
    )
    assert contradictions(pieces, QualityConfig()).tolist() == [True] + [False] * 5
    off = QualityConfig(contradiction="off")
    assert not contradictions(pieces, off).any()
