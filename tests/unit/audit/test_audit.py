"""An audit of an export and past judgments with known answers."""

import json
import os
import subprocess
import sys

import pytest

from tuneloop.audit.events import read_log
from tuneloop.audit.page import audit, audit_lines, audit_page
from tuneloop.audit.pairs import count_pairs
from tuneloop.audit.people import concentration
from tuneloop.compare.reading import parse_judgments
from tuneloop.config.compare import CompareConfig

AT = "2026-01-01T00:00:00Z"
QUICK = CompareConfig(n_bootstrap=500)


def interaction(id, question, answer, person=None, **more):
    return {
        "type": "interaction", "id": id, "event_ts": AT, "subject_key": person,
        "request": {"messages": [{"role": "user", "content": question}]},
        "response": {"content": answer}, **more,
    }  # fmt: skip


def feedback(id, target, signal, value, person=None, **more):
    return {
        "type": "feedback", "id": id, "event_ts": AT, "target": {"id": target}, "signal": signal,
        "value": value, "actor": {"kind": "user", "id": person}, **more,
    }  # fmt: skip


def logged(folder, events):
    path = folder / "export.jsonl"
    lines = [e if isinstance(e, str) else json.dumps(e) for e in events]
    path.write_text("\n".join(lines) + "\n")
    return path


def judgments(name, n, rate, *, copies=1):
    for p in range(n):
        won = float(p % 10 < 10 * rate)
        for sample in range(copies):
            yield {
                "comparison": name, "prompt_id": f"p{p}", "sample": sample, "preference": won,
                "slice": {"intent": "refund" if p % 4 else "other"},
            }  # fmt: skip


def parsed(*rows):
    lines = [json.dumps(row).encode() for part in rows for row in part]
    return parse_judgments(lines, source="rows")


def test_a_win_by_copied_rows_is_noise_and_a_real_one_is_proven(tmp_path):
    log = read_log(str(logged(tmp_path, [interaction("i", "q", "a")])))
    rows = parsed(judgments("copied", 40, 0.6, copies=10), judgments("real", 300, 0.7))
    wins = audit(log, rows, QUICK)["wins"]
    copied, real = wins["comparisons"]
    assert copied["looked_significant"]
    assert (copied["finding"], copied["naive"]["n"], copied["n_clusters"]) == ("noise", 400, 40)
    assert copied["ci_low"] < 0.5 < copied["ci_high"]
    assert (real["finding"], wins["n_claimed"], wins["n_noise"]) == ("proven", 2, 1)


def test_what_cannot_be_seen_shrinks_with_the_root_of_n(tmp_path):
    log = read_log(str(logged(tmp_path, [
        interaction(f"i{i}", "q", "a", intent="invoice" if i % 2 else "refund") for i in range(10)
    ])))  # fmt: skip
    golden = audit(log, parsed(judgments("one", 400, 0.5)), QUICK)["golden"]
    seen = {row["name"]: row for row in golden["rows"]}
    whole, part = seen["all prompts"], seen["intent=other"]
    assert whole["points"] == pytest.approx(100 * 2.486 * 0.5 / 20, rel=0.02)
    assert whole["points_low"] < whole["points"] < whole["points_high"]
    assert part["points"] == pytest.approx(2 * whole["points"], rel=0.05)
    assert [one["name"] for one in golden["unseen"]] == ["invoice"]


def test_how_few_people_speak(tmp_path):
    events = [interaction("i0", "q", "a", "owner")]
    events += [feedback(f"f{i}", "i0", "thumb", True, "busy") for i in range(50)]
    events += [feedback(f"g{i}", "i0", "thumb", True, f"person {i}") for i in range(50)]
    events += [feedback("h", "i0", "thumb", True), feedback("k", "gone", "thumb", True)]
    found = concentration(read_log(str(logged(tmp_path, events))))
    assert (found["n_feedback"], found["n_missing"], found["n_people"]) == (102, 1, 52)
    assert found["top_1_share"] == pytest.approx(50 / 101)
    assert found["effective_people"] == pytest.approx(1 / ((50 / 101) ** 2 + 51 / 101**2))
    assert found["gini_low"] <= found["gini"] <= found["gini_high"] + 1e-9
    assert found["half_from"] == 2


def test_equal_people_are_as_many_as_they_are(tmp_path):
    events = [interaction("i", "q", "a")]
    events += [feedback(f"f{i}", "i", "thumb", True, f"p{i}") for i in range(20)]
    found = concentration(read_log(str(logged(tmp_path, events))))
    assert found["effective_people"] == pytest.approx(20)
    assert found["gini"] == pytest.approx(0)


def test_pairs_that_are_none_are_told_apart(tmp_path):
    events = [interaction(f"i{i}", "q", f"answer {i}") for i in range(4)]
    events += [interaction("same", "q", "answer 0"), interaction("else", "another", "x")]
    pairs = [("i0", "i1"), ("i0", "i1"), ("i2", "i3"), ("i3", "i2"), ("i0", "same"),
             ("i0", "gone"), ("i0", "else")]  # fmt: skip
    events += [
        feedback(f"p{n}", a, "preference", {"winner": a, "loser": b}, f"u{n}")
        for n, (a, b) in enumerate(pairs)
    ]
    events += [
        feedback("t", "i0", "preference", {"winner": "i0", "loser": "i1", "outcome": "tie"}, "u"),
        feedback("c", "else", "correction", "better x", "u"),
        feedback("r", "i1", "thumb", True, "u"),
        feedback("r", "i1", "thumb", True, "u", op="retract", revision=1),
    ]
    found = count_pairs(read_log(str(logged(tmp_path, events))))
    assert found["lost"] == {
        "a tie, or both bad": 1, "both answers are the same": 1, "contradicted by the opposite": 2,
        "said before": 1, "the answer is not in the export": 1, "two different prompts": 1,
    }  # fmt: skip
    assert (found["n_stated"], found["n_usable"], found["n_prompts"]) == (9, 2, 2)
    assert found["n_stated"] == found["n_usable"] + sum(found["lost"].values())


def test_broken_records_are_counted_and_markup_is_data(tmp_path):
    evil = "<script>alert(1)</script>"
    path = logged(tmp_path, [interaction("i", "q", "a"), "{", {"type": "feedback", "id": "x"}])
    log = read_log(str(path))
    assert (log.n_records, sum(log.rejected.values())) == (3, 2)
    rows = parsed(judgments(evil, 30, 0.6), judgments("b", 30, 0.6))
    found = audit(log, rows, QUICK)
    page = audit_page(found, title=evil)
    assert evil not in page
    assert "&lt;script&gt;" in page
    assert any("nobody" in line or "not known" in line for line in audit_lines(found))
    json.dumps(found, allow_nan=False)


def test_nothing_usable_is_said_and_is_no_crash(tmp_path):
    log = read_log(str(logged(tmp_path, [interaction("i", "q", "a")])))
    rows = parsed([{"prompt_id": "p", "preference": None}])
    found = audit(log, rows, QUICK)
    assert found["wins"]["comparisons"][0]["finding"] == "no win"
    assert "no usable judgment" in "\n".join(audit_lines(found))
    json.dumps(found, allow_nan=False)


def test_the_command_needs_no_torch(tmp_path, root):
    export = logged(tmp_path, [interaction("i", "q", "a")])
    rows = tmp_path / "judgments.jsonl"
    rows.write_text("".join(json.dumps(r) + "\n" for r in judgments("a", 30, 0.9)))
    code = (
        "import sys\nfor name in ('torch', 'daft', 'transformers', 'datasets'):\n"
        "    sys.modules[name] = None\nfrom tuneloop.cli import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "audit", str(export), str(rows), "--json",
         "--html", str(tmp_path / "page.html")],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(root / "src")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["wins"]["n_proven"] == 1
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
