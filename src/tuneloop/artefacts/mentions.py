"""Whether a file mentions any of some ids or texts: what erasure looks for, and looks for again."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

CHUNK = 16 * 1024 * 1024
MIN_WORD = 8


@dataclass(frozen=True)
class Needles:
    """Ids and texts of one person.

    Attributes:
        words: Ids; they stand alone: `user-111` is not found in `user-1112`. Short ones count
            only as a whole value, or in quotes: "17" is many things.
        sieve: RE2 pattern of all of them, for the first look.
        pattern: The same with the bounds of words, for the second.
        longest: Bytes of the longest.
    """

    LEAST_CHARS: ClassVar[int] = 24
    MOST_CHARS: ClassVar[int] = 64

    words: frozenset[str]
    sieve: str
    pattern: re.Pattern[bytes]
    longest: int

    @classmethod
    def of(cls, keys: Iterable[str], ids: Iterable[str] = (), texts: Iterable[str] = ()) -> Needles:
        """Return what is looked for.

        Texts below `LEAST_CHARS` characters may be anybody's; of longer ones the beginning, up to
        `MOST_CHARS`, is looked for.
        """
        words = frozenset([*keys, *ids])
        begun = {text[: cls.MOST_CHARS] for text in texts if len(text) >= cls.LEAST_CHARS}
        forms = sorted({form for text in begun for form in _forms(text)})
        parts = [_bounded(word) for word in sorted(words)]
        parts += [re.escape(form.encode()) for form in forms]
        longest = max((len(form.encode()) for form in [*words, *forms]), default=1)
        sieve = "|".join(re.escape(form) for form in [*sorted(words), *forms])
        return cls(words, sieve, re.compile(b"|".join(parts) or rb"(?!)"), longest + 2)

    def hits(self, column: Any) -> Any:
        """Return, one a row of a string or binary column, whether it mentions one of them."""
        import numpy as np
        import pyarrow.compute as pc

        if not self.sieve:
            return np.zeros(len(column), dtype=bool)
        found = pc.match_substring_regex(column, self.sieve).fill_null(False)
        found = found.to_numpy(zero_copy_only=False).copy()
        for i in np.flatnonzero(found).tolist():
            value = column[i].as_py()
            if value in self.words:
                continue
            data = value if isinstance(value, bytes) else value.encode("utf-8", "replace")
            found[i] = self.pattern.search(data) is not None
        return found

    def found_in(self, data: bytes) -> bool:
        """Return whether these bytes mention one."""
        import pyarrow as pa

        return bool(self.hits(pa.array([data], pa.large_binary()))[0])

    def hit(self, value: Any) -> bool:
        """Return whether a JSON value is, holds or quotes one."""
        return self.found_in(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def _bounded(word: str) -> bytes:
    escaped = re.escape(word.encode())
    if len(word) < MIN_WORD:
        return rb'"' + escaped + rb'"'
    return rb"(?<![\w-])" + escaped + rb"(?![\w-])"


def _forms(text: str) -> Iterator[str]:
    """Yield a text as it lies in plain files, JSON and HTML."""
    yield text
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield json.dumps(text)[1:-1]
    yield html.escape(text)


def mentions(path: Path, needles: Needles) -> bool:
    """Return whether a file mentions one of them; tables are read column by column."""
    if path.suffix == ".parquet" or _starts_with(path, b"PAR1"):
        return any(_table_mentions(batch, needles) for batch in _table(path))
    tail = b""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            if needles.found_in(tail + chunk):
                return True
            tail = (tail + chunk)[-needles.longest :]
    return False


def _starts_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _table(path: Path) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=8_192)


def _table_mentions(batch: Any, needles: Needles) -> bool:
    return any(rows_that_mention(column, needles).any() for column in batch.columns)


def rows_that_mention(column: Any, needles: Needles) -> Any:
    """Return, one a row of an Arrow column of any type, whether it mentions one of them."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    n = len(column)
    if pa.types.is_struct(column.type):
        parts = [rows_that_mention(part, needles) for part in column.flatten()]
        return np.any(parts, axis=0) if parts else np.zeros(n, dtype=bool)
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        inner = rows_that_mention(column.flatten(), needles)
        hits = np.zeros(n, dtype=bool)
        hits[pc.list_parent_indices(column).to_numpy()[inner]] = True
        return hits
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return np.zeros(n, dtype=bool)
    return needles.hits(column)
