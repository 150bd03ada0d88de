"""What is printed: nothing from outside steers the terminal, exports can be written over."""

import json

from pipelines import Loop, stub

from tuneloop.history import registry_lines
from tuneloop.present import export_results, print_json, show

EVIL = "x\x1b[2J\x9b2J\u202e\n"


def test_lines_and_json_hold_no_control_characters(capsys):
    row = {"number": 1, "system": {"name": EVIL}, "digest": "d" * 64, "at": "now", "actor": EVIL,
           "reason": EVIL}  # fmt: skip
    report = [{"tenant": "t", "task": "t", "env": "e", "name": "champion", "generations": [row]}]
    show(report, registry_lines, as_json=False)
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 2
    assert not set(out) & {"\x1b", "\x9b", "\u202e"}
    print_json(report)
    out = capsys.readouterr().out
    assert not set(out) & {"\x1b", "\x9b", "\u202e"}
    assert json.loads(out) == report


def test_exported_results_can_be_written_over(monkeypatch, tmp_path):
    monkeypatch.delenv("RANK", raising=False)
    loop = stub(monkeypatch, Loop(tmp_path))
    done = loop.pipeline().run()
    for _ in range(2):
        paths = export_results(loop.store, "demo", done)
        assert set(paths) == {"decide", "report"}
        for path in paths.values():
            assert path.stat().st_mode & 0o200
            path.write_text("edited")
    assert done["report"].path("report.html").read_text() == "demo"
