"""Dead letters: what was refused, where it stood, why, and how it began."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from tuneloop.errors import DataError
from tuneloop.lake.format import UnfitError
from tuneloop.lake.parsing import Item
from tuneloop.lake.pseudonyms import named_in, without_names
from tuneloop.lake.rows import ERASED, Reader, mark
from tuneloop.lake.tabular import raw_of

RAW_CHARS = 2_000
"""How much of a refused record is kept."""
DIGEST_CHARS = 16


class Letters:
    """Writes one JSON line a refused record, without the names of people.

    Args:
        file: Where to.
        source: Name of the file that is read.
        digest: The beginning of its content's digest, which tells it from others of its name.
        reader: Tells how people are to be called.
    """

    def __init__(self, file: TextIO, source: str, digest: str, reader: Reader) -> None:
        self._file, self._reader = file, reader
        self._of = {"source": source} | ({"digest": digest} if digest else {})

    def refuse(self, item: Item, unfit: UnfitError, people: set[str]) -> None:
        """Write a record that was refused; `people`: names known to stand in it."""
        kept = b"" if unfit.reason == ERASED else raw_of(item)
        raw = kept.decode("utf-8", errors="backslashreplace")
        detail = unfit.detail
        names, tenant = people | named_in(raw), self._reader.tenant
        if pseudonyms := self._reader.pseudonyms:
            raw = without_names(raw, names, pseudonyms, tenant)
            detail = without_names(detail, names, pseudonyms, tenant)
            names = {pseudonyms(tenant, name) for name in names}
        if any(mark("person", tenant, name) in self._reader.erased for name in names):
            raw = detail = ""
        self.write(item.number, UnfitError(unfit.reason, detail), raw)

    def write(self, number: int, unfit: UnfitError, raw: str) -> None:
        """Write one letter; `raw` names nobody any more."""
        letter = self._of | {
            "line": number,
            "reason": unfit.reason,
            "detail": unfit.detail,
            "raw": raw[:RAW_CHARS].rstrip("\r\n"),
        }
        self._file.write(_line(letter))


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
            file.write(_line(letter | {"source": source}))


def default_letters(uri: str) -> Path:
    """Return where the dead letters of a lake lie if nobody says so: beside it, or here."""
    return Path("dead_letter.jsonl" if "://" in uri else f"{uri}.dead_letter.jsonl")


def check_letters(path: Path) -> None:
    """Raise DataError where a path cannot be a file of dead letters, or holds something else."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            with path.open("r+", encoding="utf-8", newline="\n") as file:
                first = file.readline(64 * RAW_CHARS)
            if first.strip() and not json.loads(first).keys() >= {"source", "line", "reason"}:
                raise ValueError
    except OSError as error:
        raise DataError(
            f"dead letters cannot be written: {error.strerror}", where=str(path)
        ) from error
    except (ValueError, AttributeError) as error:
        raise DataError(
            "the file exists and holds no dead letters",
            where=str(path),
            hint="it is not overwritten: name another with --dead-letter",
        ) from error


def merge_letters(path: Path, parts: Iterable[Path]) -> None:
    """Put the letters in `parts` behind those of other files, whole or not at all."""
    parts = list(parts)
    ours = {_whose(letter) for part in parts for letter in read_letters(part)}
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            for old in read_letters(path) if path.exists() else ():
                if _whose(old) not in ours:
                    file.write(_line(old))
            for part in parts:
                file.writelines(_line(letter) for letter in read_letters(part))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _whose(letter: dict[str, Any]) -> str:
    return str(letter.get("digest") or letter["source"])


def _line(letter: dict[str, Any]) -> str:
    return json.dumps(letter, ensure_ascii=False) + "\n"
