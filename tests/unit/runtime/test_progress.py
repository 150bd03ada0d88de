"""Progress: what stages say cannot steer the terminal."""

import io

import pytest
from rich.console import Console

from tuneloop.runtime.progress import TerminalProgress


@pytest.mark.parametrize("terminal", [True, False])
def test_no_control_character_of_a_text_reaches_the_terminal(terminal):
    out = io.StringIO()
    progress = TerminalProgress(Console(file=out, force_terminal=terminal, width=200))
    progress.start("read [bold]a\x9b2J", total=2)
    progress.advance()
    progress.say("b\u202ec")
    progress.done("d\x9de")
    shown = out.getvalue()
    assert not set(shown) & {"\x9b", "\x9d", "\u202e"}
    assert "read [bold]a\\x9b2J" in shown
    assert "b\\u202ec" in shown
