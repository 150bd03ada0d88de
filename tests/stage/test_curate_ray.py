"""The same log on this machine and on a Ray cluster of two workers: the same bytes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("daft")
pytest.importorskip("ray")
HERE = Path(__file__).resolve().parent
TEXT = "the router drops its line every evening and the app shows an old invoice"


def events(n=400):
    words = TEXT.split()
    for k in range(n):
        text = " ".join(words[(k * 7 + i * (1 + k % 5)) % len(words)] for i in range(6 + k % 9))
        yield {
            "id": f"i{k}", "event_ts": f"2026-01-{1 + k % 28:02}T10:{k % 60:02}:00Z",
            "session_id": f"s{k // 2}", "subject_key": f"u{k % 50}", "system": f"m@{k % 2}",
            "request": {"messages": [{"role": "user", "content": f"{text} a{k}@example.com"}]},
            "response": {"content": f"Answer {k % 40} of the manual."},
        }  # fmt: skip
        yield {
            "id": f"f{k}", "event_ts": "2026-02-01T00:00:00Z", "signal": "thumb",
            "value": k % 3 > 0, "target": {"id": f"i{k}"}, "actor": {"id": f"u{k % 50}"},
        }  # fmt: skip
        if k % 10 == 0:
            yield {"id": f"c{k}", "event_ts": "2026-02-02T00:00:00Z", "signal": "correction",
                   "value": f"Write to a{k}@example.com.", "target": {"id": f"i{k}"}}  # fmt: skip


@pytest.mark.slow
def test_both_runners_give_the_same_bytes(tmp_path):
    from tuneloop.artefacts.stage import StageContext
    from tuneloop.config.data import LakeConfig
    from tuneloop.lake.stage import take_in
    from tuneloop.runtime.progress import SilentProgress

    path = tmp_path / "events.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events()), "utf-8")
    prompt = {"id": "g", "messages": [{"role": "user", "content": "what nobody here would ask"}]}
    (tmp_path / "golden.jsonl").write_text(json.dumps(prompt) + "\n", "utf-8")
    context = StageContext(tmp_path / "in", 17, SilentProgress())
    config = LakeConfig(events=[str(path)], pseudonyms="as_given")
    taken = take_in(config, uri=str(tmp_path / "lake"), context=context)
    (tmp_path / "lake.json").write_bytes(taken.files["lake.json"].read_bytes())
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(HERE.parents[1] / "src"), os.environ.get("PYTHONPATH", "")]
    )
    for runner in ("native", "ray"):
        script = HERE.parent / "support" / "curate_once.py"
        done = subprocess.run(
            [sys.executable, str(script), str(tmp_path), runner],
            check=False, env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
    names = ("curated.parquet", "preferences.parquet", "dropped.parquet", "summary.json",
             "counts.json")  # fmt: skip
    for name in names:
        assert (tmp_path / "native" / name).read_bytes() == (tmp_path / "ray" / name).read_bytes()
