"""The smoke run through the real command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "configs/smoke.yaml"


def environment(store: Path) -> dict[str, str]:
    return os.environ | {"TUNELOOP_STORE": str(store), "HF_HUB_OFFLINE": "1"}


def tuneloop(store: Path, *args: str, check: bool = True) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tuneloop", *args]
    done = subprocess.run(
        command, env=environment(store), capture_output=True, text=True, timeout=300, check=False
    )
    assert not check or done.returncode == 0, done.stderr[-4000:]
    return done
