"""Dead letters: what was refused, where it stood, why, and how it began."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from tuneloop.lake.format import UnfitError
from tuneloop.lake.parsing import Item
from tuneloop.lake.pseudonyms import named_in, without_names
from tuneloop.lake.rows import ERASED, Reader
from tuneloop.lake.tabular import raw_of

RAW_CHARS = 2_000
"""How much of a refused record is kept."""


class Letters:
    """Writes one JSON line a refused record, without the names of people.

    Args:
        file: Where to.
        source: Name of the file that is read.
        reader: Tells how people are to be called.
    """

    def __init__(self, file: TextIO, source: str, reader: Reader) -> None:
        self._file, self._source, self._reader = file, source, reader

    def refuse(self, item: Item, unfit: UnfitError, people: set[str]) -> None:
        """Write a record that was refused; `people`: names known to stand in it."""
        kept = b"" if unfit.reason == ERASED else raw_of(item)
        raw = kept.decode("utf-8", errors="backslashreplace")
        detail = unfit.detail
        if pseudonyms := self._reader.pseudonyms:
            names, tenant = people | named_in(raw), self._reader.tenant
            raw = without_names(raw, names, pseudonyms, tenant)
            detail = without_names(detail, names, pseudonyms, tenant)
        self.write(item.number, UnfitError(unfit.reason, detail), raw)

    def write(self, number: int, unfit: UnfitError, raw: str) -> None:
        """Write one letter; `raw` names nobody any more."""
        letter = {
            "source": self._source,
            "line": number,
            "reason": unfit.reason,
            "detail": unfit.detail,
            "raw": raw[:RAW_CHARS].rstrip("\r\n"),
        }
        self._file.write(json.dumps(letter, ensure_ascii=False) + "\n")


def read_letters(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the letters of a file."""
    # On "\n" alone: JSON may hold U+2028 and other line ends as they are.
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield json.loads(line)


def write_letters(path: Path, letters: Iterable[dict[str, Any]], *, source: str) -> None:
    """Write letters under the name the file has now."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for letter in letters:
            file.write(json.dumps(letter | {"source": source}, ensure_ascii=False) + "\n")
