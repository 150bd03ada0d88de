"""JSON values out of one long JSON text, one at a time, whatever lies between them.

A streaming JSON parser holds one value whole, however long, and gives up at the first mistake.
This looks at brackets and strings only: a value above the bound is passed over in little memory,
a broken one is refused by the parser that gets it, and the next one is found all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from pydantic_core import from_json

from tuneloop.artefacts.digest import canonical_json


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, n: int, /) -> bytes:
        """Return at most `n` bytes, none at the end."""


Piece = tuple[bytes, bool]
"""A value's bytes, and whether they are all of it."""

_CHUNK_BYTES = 256 * 1024
_TOKEN = re.compile(rb'"(?:[^"\\]*+(?:\\.[^"\\]*+)*+")?+|[\[\]{}]', re.S)
_STRING_END = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.S)
_QUOTE = ord('"')
_BETWEEN = b" \t\r\n,"


class JsonSplitter:
    """Iterates over the elements of an array, or over values that follow one another.

    Args:
        file: UTF-8 JSON; with `array`, from its opening bracket on.
        array: Whether an array is around the values.
        max_bytes: Longer values come cut, and not complete.
        head_bytes: How much of those is kept.
        ends_with_array: What follows the array belongs to an object around it: not looked at.
    """

    def __init__(
        self,
        file: Readable,
        *,
        array: bool,
        max_bytes: int,
        head_bytes: int,
        ends_with_array: bool = False,
    ) -> None:
        self._file, self._target = file, int(array)
        self._max, self._head = max_bytes, head_bytes
        self._ends = ends_with_array
        self._held, self._n_held = bytearray(), 0  # the piece so far, from chunks before
        self._depth = 0
        self._in_string = self._escaped = False
        self.closed = not array
        """Whether the array was closed (values on their own need no closing)."""

    def __iter__(self) -> Iterator[Piece]:
        """Yield every value; what is between two and no separator comes as values too."""
        while chunk := self._file.read(_CHUNK_BYTES):
            yield from self._scan(chunk)
            if self._ends and self.closed:
                return
        if self._depth > self._target:
            self.closed = False
        yield from self._flush(b"", between=self._depth <= self._target)

    def _scan(self, chunk: bytes) -> Iterator[Piece]:
        begin = 0
        for at, opens in self._brackets(chunk):
            if opens:
                if self._depth == self._target:
                    yield from self._flush(chunk[begin:at], between=True)
                    begin = at
                self._depth += 1
                if self._depth == self._target:  # the array itself
                    self._held.clear()
                    begin, self._n_held = at + 1, 0
            elif self._depth > self._target:
                self._depth -= 1
                if self._depth == self._target:
                    yield from self._flush(chunk[begin : at + 1], between=False)
                    begin = at + 1
            elif self._depth:  # the array closes; what follows is its own
                yield from self._flush(chunk[begin:at], between=True)
                begin, self.closed = at + 1, True
                self._depth = self._target = 0
                if self._ends:
                    return
        self._hold(chunk[begin:])

    def _brackets(self, chunk: bytes) -> Iterator[tuple[int, bool]]:
        """Yield the place of every bracket outside texts, and whether it opens."""
        position = 0
        while True:
            if self._in_string:
                position = self._leave_string(chunk, position)
            found = None if self._in_string else _TOKEN.search(chunk, position)
            if found is None:
                return
            at, position = found.span()
            if chunk[at] != _QUOTE:
                yield at, chunk[at] in b"[{"
            elif position - at == 1:  # its end is not in this chunk
                self._in_string = True

    def _leave_string(self, chunk: bytes, position: int) -> int:
        """Return where the string ends, or stay in it to the end of the chunk."""
        position += self._escaped
        self._escaped = False
        if end := _STRING_END.match(chunk, position):
            self._in_string = False
            return end.end()
        rest = chunk[position:]
        self._escaped = (len(rest) - len(rest.rstrip(b"\\"))) % 2 == 1
        return len(chunk)

    def _hold(self, piece: bytes) -> None:
        self._n_held += len(piece)
        self._held += piece
        if self._n_held > self._max:
            del self._held[self._head :]

    def _flush(self, piece: bytes, *, between: bool) -> Iterator[Piece]:
        self._hold(piece)
        whole, complete = bytes(self._held), self._n_held <= self._max
        self._held.clear()
        self._n_held = 0
        whole = whole.strip(_BETWEEN) if between else whole
        if not whole:
            return
        try:
            several = from_json(b"[" + whole + b"]") if between and complete else None
        except ValueError:
            several = None
        if several is None:
            yield whole, complete
        else:  # numbers, texts, nulls: no records, each refused by itself
            yield from ((canonical_json(value).encode(), True) for value in several)


def list_offset(head: bytes, key: str) -> int | None:
    """Return where the list under a top-level key of an object begins, if that is in `head`."""
    depth, last = 0, b""
    for found in _TOKEN.finditer(head):
        token = found[0]
        if token[:1] == b'"':
            if len(token) == 1:
                return None  # a text that goes on after the head
            last = token if depth == 1 else last
        elif token in b"[{":
            if token == b"[" and depth == 1 and from_json(last or b'""') == key:
                return found.start()
            depth += 1
        else:
            depth -= 1
    return None
