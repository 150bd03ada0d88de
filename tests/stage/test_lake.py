"""The lake stage: idempotent, versioned, nothing lost in silence."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tuneloop.artefacts.stage import StageContext
from tuneloop.config.data import LakeConfig
from tuneloop.errors import DataError
from tuneloop.lake.stage import take_in


class Quiet:
    def start(self, description, *, total=None): ...
    def advance(self, n=1): ...
    def done(self, note=""): ...
    def say(self, text): ...


def interaction(id, **more):
    return {
        "id": id,
        "event_ts": "2025-03-01T10:00:00Z",
        "request": {"messages": [{"role": "user", "content": f"question {id}"}]},
        "response": {"content": "an answer"},
    } | more


def thumb(id, target, **more):
    return {
        "id": id,
        "event_ts": "2025-03-01T10:01:00Z",
        "target": {"kind": "interaction", "id": target},
        "signal": "thumb",
        "value": True,
    } | more


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def lake(tmp_path, events, uri="lake", **config):
    context = StageContext(work=tmp_path / "work", seed=1, progress=Quiet())
    out = take_in(LakeConfig(events=events, **config), uri=str(tmp_path / uri), context=context)
    return out, json.loads(out.files["lake.json"].read_text())


def test_counts_and_watermark(tmp_path):
    path = write(
        tmp_path / "e.jsonl",
        [interaction("a"), interaction("b", event_ts="2025-03-02T00:00:00+02:00"), thumb("f", "a")],
    )
    out, held = lake(tmp_path, [path])
    assert (held["n_interactions"], held["n_feedback"]) == (2, 1)
    assert held["watermark"] == "2025-03-01T22:00:00+00:00"
    assert out.counts.n_in == out.counts.n_out == 3
    assert out.details["version"] == 0


def test_taking_in_again_changes_nothing(tmp_path):
    path = write(tmp_path / "e.jsonl", [interaction("a"), {"id": "broken"}, thumb("f", "a")])
    first, held = lake(tmp_path, [path])
    letters = first.files["dead_letter.jsonl"].read_bytes()
    again, held_again = lake(tmp_path, [path])
    assert held == held_again
    assert again.details["version"] == first.details["version"]
    assert again.files["dead_letter.jsonl"].read_bytes() == letters
    assert again.counts == first.counts


def test_order_and_files_do_not_change_the_digest(tmp_path):
    rows = [interaction("a"), interaction("b"), thumb("f", "a"), thumb("g", "b")]
    _, held_one = lake(tmp_path, [write(tmp_path / "1.jsonl", rows)], uri="one")
    parts = [
        write(tmp_path / "2.jsonl", [rows[3], rows[0]]),
        write(tmp_path / "3.jsonl", [rows[2], rows[0], rows[1]]),
    ]
    two, held_two = lake(tmp_path, parts, uri="two")
    assert held_one == held_two
    assert two.counts.dropped == {"duplicate": 1}


def test_a_pinned_version_is_what_it_was(tmp_path):
    first = write(tmp_path / "1.jsonl", [interaction("a")])
    second = write(tmp_path / "2.jsonl", [interaction("b")])
    _, old = lake(tmp_path, [first])
    _, new = lake(tmp_path, [first, second])
    _, pinned = lake(tmp_path, [first, second], version=0)
    assert pinned == old != new
    with pytest.raises(DataError, match="version 99"):
        lake(tmp_path, [first], version=99)


def test_nothing_to_take_in_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"lake\.events"):
        lake(tmp_path, [])
    with pytest.raises(DataError, match="no interactions"):
        lake(tmp_path, [write(tmp_path / "e.jsonl", [thumb("f", "a")])])
    with pytest.raises(DataError, match="format is unknown"):
        lake(tmp_path, [write(tmp_path / "x.jsonl", [{"id": "x"}])])
    with pytest.raises(DataError, match="cannot be read"):
        lake(tmp_path, [str(tmp_path / "missing.jsonl")])


def test_readable_by_daft_at_its_version(tmp_path):
    daft = pytest.importorskip("daft")
    first = write(tmp_path / "1.jsonl", [interaction("a")])
    second = write(tmp_path / "2.jsonl", [interaction("b")])
    out, _ = lake(tmp_path, [first])
    lake(tmp_path, [first, second])
    rows = daft.read_deltalake(out.details["uri"], version=out.details["version"]).to_pydict()
    assert rows["id"] == ["a"]
    assert json.loads(rows["payload"][0])["request"]["messages"][0]["content"] == "question a"


def test_killed_before_the_ledger_adds_nothing_twice(tmp_path):
    path = write(tmp_path / "e.jsonl", [interaction(f"i{n}") for n in range(50)])
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from tuneloop.lake.reading import Intake
        from tests.stage.test_lake import Quiet
        from tuneloop.lake import ingest
        ingest._remember = lambda *a: os.kill(os.getpid(), signal.SIGKILL)
        out = Path(sys.argv[2])
        ingest.ingest_file(sys.argv[1], Intake(sys.argv[3], Quiet()), dead_letter=out)
        """
    )
    root = Path(__file__).parents[2]
    env = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'src'}"}
    args = [sys.executable, "-c", script, path, str(tmp_path / "dead"), str(tmp_path / "lake")]
    assert subprocess.run(args, env=env, check=False).returncode == -signal.SIGKILL
    out, held = lake(tmp_path, [path])
    assert held["n_interactions"] == 50
    assert out.counts.dropped == {"duplicate": 50}
    assert out.details["version"] == 0


KILLED = """
    import os, signal, sys
    from tuneloop.lake import {module}
    from tuneloop.lake.ingest import ingest_file
    from tuneloop.lake.reading import Intake
    from tuneloop.runtime.progress import SilentProgress
    {module}.{name} = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
    from pathlib import Path
    ingest_file(sys.argv[1], Intake(sys.argv[2], SilentProgress()), dead_letter=Path(sys.argv[3]))
"""


@pytest.mark.parametrize(("module", "name"), [("spool", "_compared"), ("table", "append")])
def test_killed_before_the_commit_leaves_nothing(tmp_path, module, name):
    first = write(tmp_path / "1.jsonl", [interaction("a")])
    path = write(tmp_path / "2.jsonl", [interaction(f"i{n}") for n in range(50)])
    out, _ = lake(tmp_path, [first])
    script = textwrap.dedent(KILLED).format(module=module, name=name)
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    args = [sys.executable, "-c", script, path, str(tmp_path / "lake"), str(tmp_path / "dead")]
    assert subprocess.run(args, env=env, check=False).returncode == -signal.SIGKILL
    assert list(tmp_path.glob("lake.scratch-*"))  # what was on its way
    same, held = lake(tmp_path, [first])
    assert same.details["version"] == out.details["version"]
    assert held["n_interactions"] == 1
    _, held = lake(tmp_path, [path])
    assert held["n_interactions"] == 51
    assert not list(tmp_path.glob("lake.scratch-*"))


def test_files_of_several_formats(tmp_path):
    pair = {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"}
    events = [
        write(tmp_path / "own.jsonl", [interaction("a")]),
        {"path": write(tmp_path / "hh.jsonl", [pair, {"odd": 1}]), "format": "hh_rlhf"},
    ]
    out, held = lake(tmp_path, events)
    assert (held["n_interactions"], held["n_feedback"]) == (3, 1)
    assert [report["format"] for report in out.details["report"]] == ["native", "hh_rlhf"]
    letters = out.files["dead_letter.jsonl"].read_text().splitlines()
    assert [json.loads(letter)["source"] for letter in letters] == ["hh.jsonl"]
    with pytest.raises(DataError, match="format is unknown"):
        lake(tmp_path, [write(tmp_path / "odd.jsonl", [{"odd": 1}])])


def test_people_are_keyed_unless_they_are_given_so(tmp_path):
    from deltalake import DeltaTable

    path = write(tmp_path / "e.jsonl", [interaction("a", subject_key="ann"), thumb("f", "a")])
    digests = set()
    for uri, how in (("one", "keyed"), ("two", "keyed"), ("three", "as_given")):
        _, held = lake(tmp_path, [path], uri=uri, pseudonyms=how)
        digests.add(held["content_digest"])
        keys = DeltaTable(str(tmp_path / uri)).to_pyarrow_table()["subject_key"].to_pylist()
        assert ("ann" in keys) == (how == "as_given")
    assert len(digests) == 2


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path):
    """Peak memory of 10,000 and of 100,000 events, by the benchmark's own measure."""
    script = Path(__file__).parents[2] / "scripts" / "bench" / "ingest.py"
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    args = [sys.executable, str(script), "10000", "100000"]
    out = subprocess.run(args, env=env, check=True, capture_output=True, text=True).stdout
    small, small_again, large, large_again = map(json.loads, out.splitlines())
    assert (small["added"], large["added"]) == (10_000, 100_000)
    assert small_again["added"] == large_again["added"] == 0
    for few, many in ((small, large), (small_again, large_again)):
        assert many["peak_mib_with_summary"] - few["peak_mib_with_summary"] < 100
