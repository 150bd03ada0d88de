"""The tiers keep their promises: a GPU test that is required never passes by being skipped."""

import os
import subprocess
import sys

TESTS = """
import pytest

@pytest.mark.gpu
def test_on_a_gpu():
    pytest.skip("whatever the reason")

def test_elsewhere():
    pytest.skip("may be skipped")
"""


def outcome(root, tmp_path, *options):
    path = tmp_path / "test_planted.py"
    path.write_text(TESTS, "utf-8")
    start = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*start, "-c", root / "pyproject.toml", *options, path],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_required_gpu_test_fails_where_it_would_skip(root, tmp_path):
    done = outcome(root, tmp_path, "--require-gpu")
    assert done.returncode == 1
    assert "--require-gpu, but skipped" in done.stdout
    assert "1 skipped" in done.stdout


def test_without_the_switch_it_is_skipped(root, tmp_path):
    done = outcome(root, tmp_path)
    assert done.returncode == 0
    assert "2 skipped" in done.stdout
