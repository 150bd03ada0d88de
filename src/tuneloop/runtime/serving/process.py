"""A server process: started in a session of its own, waited for, ended with all it started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tuneloop.errors import ServingError

GUARD = Path(__file__).with_name("guard.py")
STOP_GRACE_S = 10.0
TAIL_LINES = 30


class PortTakenError(ServingError):
    """Somebody else took the port between choosing and binding it."""


def free_port() -> int:
    """Return a port nobody listens on now; another process may take it before it is used."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServerProcess:
    """A command and everything it starts, under a guard that outlives us just long enough.

    Args:
        command: The server's command line; no secrets.
        env: Its whole environment.
        log: Where its output goes.
    """

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], log: Path) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._guard = subprocess.Popen(
                [sys.executable, "-P", str(GUARD), str(os.getpid()), *command],
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def group(self) -> int:
        """The process group, which is the guard's id."""
        return self._guard.pid

    def alive(self) -> bool:
        """Whether the command still runs."""
        return self._guard.poll() is None

    def tail(self) -> str:
        """Return the last lines of the log."""
        lines = self.log.read_text("utf-8", errors="replace").splitlines()
        return "\n".join(lines[-TAIL_LINES:])

    def wait_healthy(self, url: str, *, key: str, timeout_s: float) -> None:
        """Return once the server at `url` is healthy and takes our key.

        Raises:
            PortTakenError: if another process holds the port.
            ServingError: if the server ended or took too long; with the end of its log.
        """
        import httpx

        deadline = time.monotonic() + timeout_s
        with httpx.Client(trust_env=False, timeout=5) as client:
            while time.monotonic() < deadline:
                if not self.alive():
                    raise self._ended()
                with contextlib.suppress(httpx.HTTPError):
                    if client.get(f"{url}/health").status_code == 200:
                        headers = {"Authorization": f"Bearer {key}"}
                        if client.get(f"{url}/v1/models", headers=headers).status_code == 200:
                            return
                        raise PortTakenError("another server answers at our port", where=url)
                time.sleep(0.25)
        raise ServingError(
            f"the server was not ready after {timeout_s:.0f} s; its log ends:\n{self.tail()}",
            where=str(self.log),
            hint="raise engine.start_timeout_s if it only needs longer",
        )

    def _ended(self) -> ServingError:
        tail = self.tail()
        if "address already in use" in tail.lower():
            return PortTakenError("the port was taken", where=str(self.log))
        return ServingError(
            f"the server ended while starting; its log ends:\n{tail}", where=str(self.log)
        )

    def stop(self) -> None:
        """End the whole group: politely, then for good."""
        self._signal(signal.SIGTERM)
        self._wait(STOP_GRACE_S)
        self._signal(signal.SIGKILL)
        self._wait(STOP_GRACE_S)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.group, number)

    def _wait(self, timeout_s: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guard.wait(timeout=timeout_s)
