"""Text from outside made safe to show: nothing in it can steer a terminal or reorder a line."""

from __future__ import annotations

import re

# C0, DEL and C1 controls, line and paragraph separators, bidirectional controls, surrogates.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str, *, keep: str = "") -> str:
    r"""Return `text` with each control character as its escape, such as `\x1b` or `\u202e`.

    Args:
        text: What is shown to people.
        keep: Characters that stay, such as a newline in text of several lines.
    """
    return _UNPRINTABLE.sub(
        lambda m: m[0] if m[0] in keep else m[0].encode("unicode_escape").decode(), text
    )


def printable_json(text: str) -> str:
    r"""Return a JSON document with the same meaning and controls as `\u` escapes.

    Newlines stay: inside strings JSON has escaped them already.
    """
    return _UNPRINTABLE.sub(lambda m: m[0] if m[0] == "\n" else f"\\u{ord(m[0]):04x}", text)
