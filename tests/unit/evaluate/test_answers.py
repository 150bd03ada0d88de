import random

import pyarrow.parquet as pq

from tuneloop.artefacts.golden import Check, GoldenPrompt
from tuneloop.evaluate.answers import (
    answer_rows,
    check_prompts,
    metric_rows,
    pass_summary,
    sample,
    usage,
)
from tuneloop.evaluate.tables import write_table
from tuneloop.runtime.serving import ChatResult


def golden(i, *, checks=("yes",), reference="yes", required=True):
    return GoldenPrompt(
        id=f"p{i:02d}",
        messages=[{"role": "user", "content": f"q{i}"}],
        reference=reference,
        checks=[
            Check(name=f"c{j}", kind="exact", value=value, required=required)
            for j, value in enumerate(checks)
        ],
    )


def test_sample_is_seeded_ordered_and_independent_of_the_files_order():
    prompts = [golden(i) for i in range(30)]
    shuffled = random.Random(3).sample(prompts, 30)
    drawn = sample(prompts, 7, seed=5)
    assert drawn == sample(shuffled, 7, seed=5)
    assert drawn != sample(prompts, 7, seed=6)
    assert [p.id for p in drawn] == sorted(p.id for p in drawn)
    assert sample(shuffled, None, seed=1) == sample(shuffled, 99, seed=2) == prompts


def test_a_missing_answer_stays_missing_everywhere(tmp_path):
    prompts = [golden(0), golden(1), golden(2, checks=()), golden(3, required=False)]
    answers = {
        "p00": ChatResult(text="yes"),
        "p01": ChatResult.missing("timeout"),
        "p02": ChatResult(text="yes"),
        "p03": ChatResult(text="no"),
    }
    rows, passed = check_prompts(prompts, "champion", answers)
    assert [(r["prompt_id"], r["status"], r["passed"]) for r in rows] == [
        ("p00", "ok", True),
        ("p01", "missing", None),
        ("p03", "ok", False),
    ]
    assert passed == {"p00": True, "p01": None, "p02": None, "p03": None}
    assert pass_summary(prompts, answers, passed) == {
        "n": 2, "passed": 1, "failed": 0, "missing": 1, "unscored": 2, "unanswered": 1,
    }  # fmt: skip
    missing = answer_rows("champion", answers)[1]
    assert (missing["status"], missing["reason"], missing["text"]) == ("missing", "timeout", None)


def test_metrics_are_graded_offline_and_missing_ones_have_no_value(tmp_path):
    prompts = [golden(0, reference="the red house"), golden(1), golden(2, reference=None)]
    answers = {
        "p00": ChatResult(text="The house"),
        "p01": ChatResult.missing("transport"),
        "p02": ChatResult(text="x"),
    }
    rows = metric_rows("token_f1", prompts, "candidate", answers, work=tmp_path)
    assert [(r["prompt_id"], r["status"], r["value"]) for r in rows] == [
        ("p00", "ok", 0.8),
        ("p01", "missing", None),
    ]
    exact = metric_rows("exact_match", prompts, "candidate", answers, work=tmp_path)
    assert [r["value"] for r in exact] == [0.0, None]


def test_tables_do_not_depend_on_the_order_rows_came_in(tmp_path):
    answers = {f"p{i:02d}": ChatResult(text=str(i)) for i in range(9)}
    rows = answer_rows("champion", answers) + answer_rows("candidate", answers)
    (tmp_path / "again").mkdir()
    first = write_table("answers", rows, tmp_path).read_bytes()
    again = write_table("answers", random.Random(1).sample(rows, 18), tmp_path / "again")
    assert again.read_bytes() == first
    sides = pq.read_table(again).to_pydict()["side"][:3]
    assert sides == ["candidate", "champion", "candidate"]


def test_an_empty_table_keeps_its_columns(tmp_path):
    table = pq.read_table(write_table("judgments", [], tmp_path))
    assert table.num_rows == 0
    assert "off_label" in table.column_names


def test_usage_counts_answers_only():
    found = usage({"a": ChatResult(seconds=2.0, n_completion_tokens=5),
                   "b": ChatResult.missing("timeout")})  # fmt: skip
    assert found["n"] == 1
    assert found["latency_p95_s"] == 2.0
    assert usage({}) == {"n": 0, "n_from_earlier_runs": 0}
    earlier = usage({"a": ChatResult(seconds=None, n_completion_tokens=5)})
    assert earlier == {"n": 0, "n_from_earlier_runs": 1}
