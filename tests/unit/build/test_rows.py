"""Curated rows come in whole prompts, and without what may not be trained on."""

from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuneloop.build import rows as reading
from tuneloop.build.rows import is_forbidden, read_rows
from tuneloop.config.sets import BuildConfig


def curated(path, buckets, row_group_size=7, **more):
    """Write rows whose prompt is the number of their bucket; ids ascend within each."""
    rows = [
        {
            "interaction_id": f"{id:04}",
            "split": "train",
            "prompt": [{"role": "user", "content": f"bucket {number}"}],
            "answer": "a",
            "score": 1.0,
            "weight": 1.0,
            "signals": [{"feedback_id": "f", "signal": "thumb", "value_json": "1"}],
        }
        | {name: values[id] for name, values in more.items()}
        for number, ids in enumerate(buckets)
        for id in ids
    ]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=row_group_size)
    return rows


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    owners=st.lists(st.integers(0, 9), min_size=1, max_size=60),
    group=st.integers(1, 20),
    at_once=st.integers(1, 30),
)
def test_no_bucket_is_torn_apart(owners, group, at_once, tmp_path, monkeypatch):
    buckets = [[i for i, owner in enumerate(owners) if owner == n] for n in range(10)]
    rows = curated(tmp_path / "c.parquet", buckets, row_group_size=group)
    monkeypatch.setattr(reading, "ROWS_AT_ONCE", at_once)
    chunks = list(read_rows(tmp_path / "c.parquet", BuildConfig(), Counter()))
    ids = [chunk.column("interaction_id").to_pylist() for chunk in chunks]
    assert [id for chunk in ids for id in chunk] == [row["interaction_id"] for row in rows]
    for bucket in buckets:
        wanted = {f"{id:04}" for id in bucket}
        assert sum(bool(wanted & set(chunk)) for chunk in ids) <= 1


def test_memory_is_that_of_some_buckets(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "ROWS_AT_ONCE", 10)
    curated(tmp_path / "c.parquet", [[i * 4 + j for i in range(4)] for j in range(4)] * 5)
    sizes = [len(chunk) for chunk in read_rows(tmp_path / "c.parquet", BuildConfig(), Counter())]
    assert sum(sizes) == 80
    assert max(sizes) <= 20


@pytest.mark.parametrize(
    ("terms", "forbidden"),
    [("No_Training", True), ("no training without asking", True), ("evaluation-only", True),
     ("CC-BY-4.0", False), ("training allowed", False), ("", False)],
)  # fmt: skip
def test_terms_are_read_case_and_spelling_aside(terms, forbidden):
    assert is_forbidden(terms, BuildConfig().forbidden_terms) is forbidden


def test_terms_and_consent_are_obeyed_and_counted(tmp_path):
    terms = ["no-training", "MIT", None, "no-training", None]
    bases = ["opt-in", "opt-in", None, "contract", "contract"]
    curated(tmp_path / "c.parquet", [range(5)], output_terms=terms, consent_basis=bases)

    def ids(**config):
        dropped = Counter()
        config = BuildConfig.model_validate(config)
        found = read_rows(tmp_path / "c.parquet", config, dropped)
        kept = [id for chunk in found for id in chunk.column("interaction_id").to_pylist()]
        return kept, {reason: n for reason, n in dropped.items() if n}

    assert ids() == (["0001", "0002", "0004"], {"output_terms": 2})
    agreed = ids(consent_bases=["opt-in"])
    assert agreed == (["0001"], {"output_terms": 2, "consent_basis": 2})
    assert ids(forbidden_terms=[])[1] == {}
