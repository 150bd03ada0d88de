"""Columns of the tables that pass between stages."""

from __future__ import annotations

import pyarrow as pa

MESSAGES = pa.list_(
    pa.struct(
        [
            ("role", pa.string()),
            ("content", pa.string()),
            ("name", pa.string()),
            ("tool_calls", pa.string()),  # JSON, as the OpenAI API has them
            ("tool_call_id", pa.string()),
        ]
    )
)
SIGNALS = pa.list_(
    pa.struct(
        [
            ("feedback_id", pa.string()),
            ("signal", pa.string()),
            ("dimension", pa.string()),
            ("value_json", pa.string()),
            ("actor", pa.string()),  # e.g. `user:u17`
            ("opinion", pa.float64()),  # −1 … 1; null where it says nothing of quality
            ("weight", pa.float64()),  # what it counted for, 0 … 1
            ("comment", pa.string()),  # what was said beside it; only to be read
        ]
    )
)
CURATED = pa.schema(
    [
        ("interaction_id", pa.string()),
        ("tenant", pa.string()),
        ("session_id", pa.string()),
        ("episode_id", pa.string()),
        ("turn", pa.int32()),
        ("subject_key", pa.string()),
        ("group_id", pa.string()),
        ("cluster_id", pa.string()),
        ("split", pa.string()),
        ("system", pa.string()),
        ("event_ts", pa.string()),
        ("segment", pa.string()),
        ("intent", pa.string()),
        ("template", pa.string()),  # name@version
        ("source", pa.string()),  # the format it was read from
        ("output_terms", pa.string()),
        ("consent_basis", pa.string()),
        ("asked", pa.bool_()),  # whether feedback was asked for; null: not stated
        ("p_asked", pa.float64()),  # how likely that was
        ("propensity", pa.float64()),  # how likely this system was to serve it
        ("prompt", MESSAGES),
        ("tools", pa.string()),  # JSON
        ("answer", pa.string()),
        ("answer_tool_calls", pa.string()),  # JSON
        ("answer_reasoning", pa.string()),
        ("correction", pa.string()),
        ("score", pa.float64()),
        ("weight", pa.float64()),
        ("signals", SIGNALS),
    ]
)
"""One row an interaction that passed every gate, in order of (`prompt_bucket`, id)."""

PREFERENCES = pa.schema(
    [
        ("winner_id", pa.string()),
        ("loser_id", pa.string()),
        ("feedback_id", pa.string()),  # the first; all of them in `feedback_ids`
        ("feedback_ids", pa.list_(pa.string())),
        ("outcome", pa.string()),  # better, tie or both_bad
        ("weight", pa.float64()),
        ("n_answers", pa.int32()),  # how many it was on; above 1: a conversation from there on
    ]
)
"""One row a compared pair of curated interactions; several annotators are one row."""

DROPPED = pa.schema([(name, pa.string()) for name in ("id", "kind", "reason", "detail")])
"""What did not pass and why; `kind` is interaction or feedback."""
