"""Runs a command and ends its whole process group when its owner is gone, however it went.

Started by file, with the standard library only: `python -P guard.py OWNER_PID COMMAND...`, as
leader of a session of its own. An owner killed by `kill -9` cleans nothing up, and a model
server's workers outlive their parent: so this process watches the owner and ends the group.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from types import FrameType

POLL_S = 0.5
GRACE_S = 5.0
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def main() -> None:
    """Run the command until it ends or the owner is gone, then end the group."""
    owner, command = int(sys.argv[1]), sys.argv[2:]
    # The guard leaves last. Handlers, not SIG_IGN: the command must not inherit deafness.
    signal.signal(signal.SIGTERM, _stay)
    signal.signal(signal.SIGINT, _stay)
    _adopt_orphans()
    child = subprocess.Popen(command)
    while os.getppid() == owner:
        try:
            status = child.wait(timeout=POLL_S)
        except subprocess.TimeoutExpired:
            continue
        print(f"the server ended with status {status}", flush=True)
        break
    end_group()


def end_group() -> None:
    """Ask the group to end, wait until every process of it has, kill what is left."""
    os.killpg(0, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    with contextlib.suppress(ChildProcessError):  # nobody is left
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.05)
    os.killpg(0, signal.SIGKILL)


def _adopt_orphans() -> None:
    """Make workers whose parent died ours, so that they can be waited for (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _stay(_signal: int, _frame: FrameType | None) -> None:
    """Outlive a signal meant for the group."""


if __name__ == "__main__":
    main()
