"""What a stage ran on and with: versions for the key, machine facts for the record."""

from __future__ import annotations

import getpass
import os
import platform
import resource
from collections.abc import Iterable
from importlib import metadata
from typing import Any


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Return the installed version of each distribution; those not installed are left out.

    Local parts (`+cpu`) are dropped: they name a build, and the results are pinned by kind.
    """
    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            continue
    return found


def snapshot(distributions: Iterable[str]) -> dict[str, Any]:
    """Return what to record about the machine; nothing here enters a key or a digest."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}",
        "n_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "versions": versions(distributions),
    }


def peak_memory_gib() -> float:
    """Return the largest resident memory of this process and its ended children, GiB."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return round(max(own, children) / 1024**2, 3)


def author() -> str:
    """Return who runs this: TUNELOOP_USER, or the name of the account."""
    return os.environ.get("TUNELOOP_USER") or getpass.getuser()
