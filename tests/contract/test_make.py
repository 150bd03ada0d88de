"""The Makefile says what it can do, and says it clearly where it cannot."""

import re
import subprocess


def make(root, *arguments):
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_lists_every_target(root):
    text = (root / "Makefile").read_text("utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, flags=re.M)
    listed = re.findall(r"^  make (\w+) ", make(root).stdout, flags=re.M)
    assert sorted(listed) == sorted(phony.split())


def test_without_a_fitting_python_the_message_says_what_to_do(root, tmp_path):
    done = make(root, "install", "PYTHON=", f"VENV={tmp_path / 'venv'}", "VARIANT=cpu")
    assert done.returncode != 0
    assert "needs Python 3.11" in done.stdout
    assert "PYTHON=" in done.stdout
    assert not (tmp_path / "venv").exists()


def test_an_unknown_variant_is_refused(root, tmp_path):
    done = make(root, "install", "VARIANT=tpu", f"VENV={tmp_path / 'venv'}")
    assert done.returncode != 0
    assert "cpu or cuda" in done.stdout


def test_the_ci_script_is_executable_and_runs_the_tests(root):
    script = root / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    text = script.read_text("utf-8")
    assert text.startswith("#!/usr/bin/env bash")
    assert "set -euo pipefail" in text
    assert text.rstrip().endswith("make --no-print-directory test")
