"""A reviewer at a real terminal is asked about each candidate; every answer is kept at once."""

import os
import pty
import subprocess
import sys

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.golden_set.edit import add
from tuneloop.golden_set.file import GoldenFile

PROGRAM = "from tuneloop.cli_golden import golden_app; golden_app()"


def test_one_after_another(tmp_path):
    path = tmp_path / "golden.jsonl"
    texts = ["Do you sell lamps?", "Where is \x1b[31mmy parcel now?", "Is the shop open?", "Why?"]
    add(
        GoldenFile(path),
        [GoldenPrompt(id=f"c-{i}", messages=[{"role": "user", "content": text}], status="candidate")
         for i, text in enumerate(texts)],
        by="ann",
    )  # fmt: skip
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "review", str(path), "--by", "bo"],
        stdin=child, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    os.write(parent, b"a\nr\ntoo short\ns\nq\n")
    output = process.communicate(timeout=60)[0].decode()
    os.close(parent)
    os.close(child)
    assert process.returncode == 0, output
    assert "\x1b[31m" not in output  # nothing in a prompt steers the terminal
    found = {prompt.id: prompt for prompt in GoldenFile(path).prompts}
    assert [found[f"c-{i}"].status for i in range(4)] == [
        "active", "retired", "candidate", "candidate",
    ]  # fmt: skip
    assert found["c-1"].retired_reason == "rejected: too short"
    assert found["c-0"].reviewed_by == "bo"
    assert "accepted: c-0" in output
