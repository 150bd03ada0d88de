"""Light commands stay light: nothing heavy is imported to help, validate or look."""

import json
import os
import subprocess
import sys
import time

import pytest

HEAVY = [
    "accelerate", "bitsandbytes", "daft", "datasets", "evaluate", "matplotlib", "peft", "scipy",
    "statsmodels", "torch", "transformers", "trl", "vllm", "wandb",
]  # fmt: skip
PROBE = """
import json, sys
try:
    {action}
except SystemExit as end:
    assert not end.code, f"exit code {{end.code}}"
print("\\n" + json.dumps(sorted(sys.modules)))
"""


def modules_after(action, root):
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(action=action)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1])), time.perf_counter() - start


def heavy(modules):
    return sorted({name.partition(".")[0] for name in modules} & set(HEAVY))


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["validate", "-c", "configs/smoke.yaml"]],
    ids=lambda arguments: arguments[0],
)
def test_light_commands_import_nothing_heavy(arguments, root, record_property):
    action = f"sys.argv = ['tuneloop', *{arguments!r}]; from tuneloop.cli import main; main()"
    modules, seconds = modules_after(action, root)
    record_property("seconds", round(seconds, 3))
    assert "tuneloop.cli" in modules
    assert heavy(modules) == []


def test_stage_modules_import_nothing_heavy(root):
    names = sorted(path.parent.name for path in (root / "src/tuneloop").glob("*/stage.py"))
    rooms = [name for name in names if name != "artefacts"]
    assert {"lake", "curate", "build", "evaluate", "decide", "report"} <= set(rooms)
    modules, _ = modules_after(
        "import " + ", ".join(f"tuneloop.{room}.stage" for room in rooms), root
    )
    assert heavy(modules) == []


def test_the_probe_would_notice(root):
    modules, _ = modules_after("import scipy", root)
    assert heavy(modules) == ["scipy"]
