"""Progress on the terminal: bars with time left for people, plain lines for logs."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tuneloop.artefacts.printable import printable

LOG_EVERY_S = 15.0


class SilentProgress:
    """Shows nothing; for `--json`, tests and all ranks but the first."""

    def start(self, description: str, *, total: int | None = None) -> None:
        """Show nothing."""

    def advance(self, n: int = 1) -> None:
        """Show nothing."""

    def done(self, note: str = "") -> None:
        """Show nothing."""

    def say(self, text: str) -> None:
        """Show nothing."""


class TerminalProgress:
    """One bar at a time on stderr; where stderr is no terminal, a line every 15 s."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr, highlight=False)
        self._bars: Progress | None = None
        self._task: TaskID | None = None
        self._description = ""
        self._total: int | None = None
        self._count = 0
        self._started = self._last_line = 0.0

    def start(self, description: str, *, total: int | None = None) -> None:
        """Begin a step, ending the one before."""
        self._close()
        self._description, self._total, self._count = printable(description), total, 0
        self._started = self._last_line = time.monotonic()
        if self.console.is_terminal:
            self._bars = Progress(
                SpinnerColumn(),
                TextColumn("  {task.description}", markup=False),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self._bars.start()
            self._task = self._bars.add_task(self._description, total=total)

    def advance(self, n: int = 1) -> None:
        """Count units done."""
        self._count += n
        if self._bars and self._task is not None:
            self._bars.advance(self._task, n)
        elif time.monotonic() - self._last_line >= LOG_EVERY_S:
            self._last_line = time.monotonic()
            self.console.print(f"    {self._description}: {self._status()}", markup=False)

    def done(self, note: str = "") -> None:
        """End the step and leave one line behind."""
        if self._description:
            seconds = time.monotonic() - self._started
            self._close()
            text = f"    {self._description}{': ' + printable(note) if note else ''}"
            self.console.print(f"{text} ({seconds:.0f} s)", markup=False)
        self._description = ""

    def say(self, text: str) -> None:
        """Print one line above the bar."""
        self.console.print(f"    {printable(text, keep=chr(10))}", markup=False)

    def __enter__(self) -> TerminalProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._bars:
            self._bars.stop()
        self._bars = self._task = None

    def _status(self) -> str:
        seconds = time.monotonic() - self._started
        if not self._total:
            return f"{self._count} done in {seconds:.0f} s"
        left = seconds / max(self._count, 1) * (self._total - self._count)
        return f"{self._count}/{self._total}, about {left:.0f} s left"
