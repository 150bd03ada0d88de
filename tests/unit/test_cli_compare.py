"""The verbs `compare` and `power` as they are typed."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from judged import single
from typer.testing import CliRunner

from tuneloop.cli import app

RUN = CliRunner()
ORDERS = ("first", "second")
HEAVY = {"torch", "transformers", "daft", "pandas", "statsmodels", "pyarrow", "scipy.stats"}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_compare_prints_json_with_every_key(tmp_path):
    path = write(tmp_path / "j.jsonl", single([1] * 70 + [0] * 30))
    done = RUN.invoke(app, ["compare", "--judgments", path, "--json"])
    found = json.loads(done.stdout)
    assert done.exit_code == 0
    assert {
        "win_rate", "standard_error", "ci_low", "ci_high", "confidence", "method", "n_prompts",
        "n_rows", "n_missing", "length_controlled", "position", "agreement", "corrected",
        "slices", "verdict", "reasons",
    } <= set(found)  # fmt: skip
    assert found["verdict"] == "PROMOTE"
    again = RUN.invoke(app, ["compare", "--judgments", path, "--json"])
    assert again.stdout == done.stdout


def test_compare_speaks_to_people(tmp_path):
    path = write(tmp_path / "j.jsonl", single([1] * 54 + [0] * 46))
    done = RUN.invoke(app, ["compare", "--judgments", path, "--exit-code"])
    assert done.exit_code == 10
    assert done.stdout.startswith("HOLD\n  Not proven better")
    assert "win rate" in done.stdout


def test_the_gate_is_configured_by_a_file_and_by_set(tmp_path):
    path = write(tmp_path / "j.jsonl", single([1] * 70 + [0] * 30))
    config = tmp_path / "decide.yaml"
    config.write_text("min_improvement: 0.15\nn_bootstrap: 500\n")
    call = ["compare", "--judgments", path, "--config", str(config), "--json"]
    assert json.loads(RUN.invoke(app, call).stdout)["verdict"] == "HOLD"
    call += ["--set", "min_improvement=0.05"]
    assert json.loads(RUN.invoke(app, call).stdout)["verdict"] == "PROMOTE"
    config.write_text("min_improvment: 0.15\nalpha: 2\nprotected_slices: [de]\n")
    done = RUN.invoke(app, call[:5])
    problems = "\n".join(done.exception.problems)
    assert "min_improvment" in problems
    assert "min_improvement" in problems
    assert "alpha" in problems


def test_compare_starts_light_and_takes_a_hundred_thousand_rows(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        {"prompt_id": i // 2, "preference": float(p), "candidate_position": ORDERS[i % 2],
         "candidate_chars": int(c), "champion_chars": 900, "slice": {"kind": i // 2 % 10},
         "cluster": i // 4}
        for i, (p, c) in enumerate(zip(rng.beta(2, 1.8, 100_000).round(6),
                                       rng.integers(100, 3000, 50_000).repeat(2), strict=True))
    ]  # fmt: skip
    path = write(tmp_path / "many.jsonl", rows)
    code = (
        "import sys; from tuneloop.cli import app\n"
        f"app(['compare', '--judgments', {path!r}, '--json'], standalone_mode=False)\n"
        f"print(sorted(set({sorted(HEAVY)!r}) & set(sys.modules)))"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    body, _, heavy = done.stdout.rstrip().rpartition("\n")
    assert heavy == "[]"
    assert json.loads(body)["n_rows"] == 100_000
    assert seconds < 30  # under 10 on a free machine; see docs/experiments.md


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (["--n", "200"], "mde_points", 6.8),
        (["--n", "1600"], "mde_points", 2.4),
        (["--effect", "2"], "n_needed", 2319),
        (["--n", "200", "--icc", "1", "--cluster-size", "4"], "mde_points", 13.6),
        (["--effect", "5", "--margin", "3"], "n_needed", 2319),
    ],
)
def test_power_answers_both_ways(words, key, value):
    done = RUN.invoke(app, ["power", *words, "--json"])
    assert json.loads(done.stdout)[key] == value
    assert RUN.invoke(app, ["power", *words]).exit_code == 0


def test_power_with_labels_and_what_cannot_be():
    words = ["power", "--n", "1000", "--labels", "200", "--correlation", "0.7", "--effect", "5"]
    found = json.loads(RUN.invoke(app, [*words, "--json"]).stdout)["with_labels"]
    assert found["effective_labels"] == pytest.approx(200 / (1 - 0.49 * 0.8), abs=0.1)
    assert found["labels_needed"] < 606
    assert "labels" in RUN.invoke(app, words).stdout
    done = RUN.invoke(app, ["power", "--discordance", "2", "--icc", "-1"])
    assert "--discordance" in str(done.exception)
    assert "--icc" in str(done.exception)
    assert "give --effect" in str(done.exception)


def test_a_plan_says_what_the_golden_set_can_show(tmp_path):
    from tuneloop.sizing import golden_resolution, resolution_line

    message = [{"role": "user", "content": "q"}]
    rows = [
        {"id": f"p{i}", "messages": message, "reference": "a", "family": f"f{i // 2}"}
        for i in range(400)
    ]
    path = tmp_path / "golden.jsonl"
    write(path, rows)
    found = golden_resolution(path, alpha=0.05, at_most=None)
    assert resolution_line(found).startswith("with these 200 golden prompts you can see 6.8 points")
    assert golden_resolution(path, alpha=0.05, at_most=100)["mde_points"] == 9.6
    assert "note" in golden_resolution(tmp_path / "none.jsonl", alpha=0.05, at_most=None)
