import json
import random

import pytest

from tuneloop.artefacts.golden import read_golden
from tuneloop.cli_simulate import simulate

WORDS = [
    "refund",
    "card",
    "limit",
    "app",
    "fee",
    "rate",
    "travel",
    "cash",
    "top",
    "up",
    "blocked",
    "new",
    "old",
]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "t.jsonl"
    rng = random.Random(0)
    rows = [{"5": " ".join(rng.choices(WORDS, k=12)), "yes": f"l{i % 3}"} for i in range(120)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_column_names_are_texts_whatever_they_look_like(table, tmp_path, capsys):
    simulate(tmp_path / "out", labels=str(table), text_column="5", label_column="yes", n=30)
    said = capsys.readouterr().out
    assert {p.reference for p in read_golden(tmp_path / "out" / "golden.jsonl")} == {
        "l0",
        "l1",
        "l2",
    }
    assert "table: 120 read, " in said
    assert " unused" in said
    assert ": 0 " not in said
    assert ", 0 " not in said
    assert "table." not in said
