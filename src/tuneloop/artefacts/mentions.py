"""Whether a file mentions any of some ids or texts: what erasure looks for, and looks for again."""

from __future__ import annotations

import gzip
import html
import json
import re
import shutil
import zipfile
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK = 16 * 1024 * 1024
MIN_WORD = 8

_ID_FIELD = r"(?:\w*_)?ids?"
# A full stop belongs to an id where letters or digits go on behind it: `i-1.2` is another one.
_BEFORE, _AFTER = r"(?:^|[^\w.-]|(?:^|\W)\.)", r"(?:$|[^\w.-]|\.(?:$|\W))"
_ID_NAME = re.compile(rf"{_ID_FIELD}|subject_key|actor|detail")


@dataclass(frozen=True)
class Needles:
    """Ids and texts of one person.

    Long ids stand alone: `user-111` is not found in `user-1112` or `user-111.2`. Short ones, and
    ordinary words, count only as the whole value of a field that holds ids: "17" is many things,
    and so is "user".

    Attributes:
        held: RE2 pattern of short ids, for columns that hold ids, alone or between colons.
        pattern: RE2 pattern of everything, for whatever can be read as text.
        longest: Bytes of the longest.
        tenant: In tables that say whose a row is, only rows of this one count; None: any.
    """

    LEAST_CHARS: ClassVar[int] = 24
    MOST_CHARS: ClassVar[int] = 64

    held: str
    pattern: str
    longest: int
    tenant: str | None = None

    @classmethod
    def of(
        cls,
        ids: Iterable[str],
        texts: Iterable[str] = (),
        *,
        tenant: str | None = None,
    ) -> Needles:
        """Return what is looked for; texts below `LEAST_CHARS` characters may be anybody's."""
        words = frozenset(ids)
        told = {text for text in texts if len(text) >= cls.LEAST_CHARS}
        alone = sorted({form for word in words if distinct(word) for form in _forms(word)})
        held = sorted({form for word in words if not distinct(word) for form in _forms(word)})
        forms = sorted({form for text in told for form in _forms(text)})
        parts = []
        if alone:
            parts.append(f"{_BEFORE}(?:{_any(alone)}){_AFTER}")
        if held:
            mark = r'\\*"'  # within JSON within JSON, too
            begin = rf"(?:\[(?:\s*{mark}[^\"]*{mark}\s*,)*\s*)?"
            parts.append(rf"{mark}{_ID_FIELD}{mark}\s*:\s*{begin}{mark}(?:{_any(held)}){mark}")
        if forms:
            parts.append(_any(forms))
        longest = max((len(form.encode()) for form in (*alone, *held, *forms)), default=1)
        whole = f"(?:^|:)(?:{_any(held)})(?:$|:)" if held else ""
        return cls(whole, "|".join(parts), longest + 64, tenant)

    def hits(self, column: Any, *, ids: bool = False) -> Any:
        """Return, one a row of a string or binary column, whether it mentions one of them.

        Args:
            column: An Arrow array.
            ids: Its values are ids: a short one is a mention, too.
        """
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        found = np.zeros(len(column), dtype=bool)
        if self.pattern:
            match = pc.match_substring_regex(column, self.pattern).fill_null(False)
            found |= match.to_numpy(zero_copy_only=False)
        if ids and self.held and not pa.types.is_binary(column.type):
            match = pc.match_substring_regex(column, self.held).fill_null(False)
            found |= match.to_numpy(zero_copy_only=False)
        return found

    def found_in(self, data: bytes) -> bool:
        """Return whether these bytes mention one."""
        import pyarrow as pa

        return bool(self.hits(pa.array([data], pa.large_binary()))[0])

    def hit(self, value: Any, key: str = "") -> bool:
        """Return whether a JSON value, held under this key, is, holds or quotes one."""
        told = json.dumps({key: value} if key else value, ensure_ascii=False)
        return self.found_in(told.encode("utf-8", "replace"))


def distinct(word: str) -> bool:
    """Return whether a word says who is meant wherever it stands."""
    return len(word) >= MIN_WORD and not word.isalpha()


def tell_apart(texts: Iterable[str], others: Collection[str]) -> set[str]:
    """Return the shortest beginnings of texts that begin no other's; a text all share is left out.

    Args:
        texts: What one person wrote.
        others: What everybody else did.
    """
    known = sorted(others)
    found = set()
    for text in texts:
        for most in (Needles.MOST_CHARS, 4 * Needles.MOST_CHARS, 32 * Needles.MOST_CHARS):
            begin = text[:most]
            next_one = bisect_left(known, begin)
            if next_one == len(known) or not known[next_one].startswith(begin):
                found.add(begin)
                break
    return found


def _any(forms: list[str]) -> str:
    return "|".join(_escaped(form) for form in forms)


def _escaped(form: str) -> str:
    """Return a text for RE2, which knows fewer escapes than `re.escape` makes."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", form)


def _forms(text: str) -> set[str]:
    """Return a text as it lies in plain files, JSON, JSON within JSON, and HTML."""
    plain = json.dumps(text, ensure_ascii=False)[1:-1]
    return {
        text, plain, json.dumps(text)[1:-1], json.dumps(plain, ensure_ascii=False)[1:-1],
        html.escape(text), html.escape(text, quote=False),
    }  # fmt: skip


def mentions(path: Path, needles: Needles) -> bool:
    """Return whether a file mentions one of them.

    Tables are read column by column; archives, such as a decision's bundle, part by part.
    """
    with path.open("rb") as file:
        begin = file.read(8)
    if begin.startswith(b"PK\x03\x04") and zipfile.is_zipfile(path):
        return _in_archive(path, needles)
    if path.suffix == ".parquet" or begin.startswith(b"PAR1"):
        return any(rows_of_theirs(batch, needles).any() for batch in _table(path))
    if path.suffix == ".arrow" and (batches := _stream(path)) is not None:
        return any(rows_of_theirs(batch, needles).any() for batch in batches)
    with _opened(path, begin) as data:
        return _in_stream(data, needles)


def _in_stream(data: IO[bytes] | Any, needles: Needles) -> bool:
    tail = b""
    while chunk := data.read(CHUNK):
        if needles.found_in(tail + chunk):
            return True
        tail = (tail + chunk)[-needles.longest :]
    return False


_LAID_OUT = frozenset({".parquet", ".arrow", ".gz", ".zst", ".zip"})
"""Parts of an archive that must lie in a file to be read."""


def _in_archive(path: Path, needles: Needles) -> bool:
    with zipfile.ZipFile(path) as archive, TemporaryDirectory(prefix="tuneloop-look-") as folder:
        for number, part in enumerate(archive.infolist()):
            if needles.found_in(part.filename.encode("utf-8", "replace")):
                return True
            if part.is_dir() or part.flag_bits & 1:  # locked: nobody can read it here
                continue
            kind = Path(part.filename).suffix
            with archive.open(part) as source:
                if kind not in _LAID_OUT:
                    if _in_stream(source, needles):
                        return True
                    continue
                laid = Path(folder) / f"{number}{kind}"
                with laid.open("wb") as target:
                    shutil.copyfileobj(source, target)
            if mentions(laid, needles):
                return True
            laid.unlink()
    return False


def _opened(path: Path, begin: bytes) -> IO[bytes] | Any:
    """Open a file for its contents, also a packed one."""
    import pyarrow as pa

    if begin.startswith(b"\x1f\x8b"):
        return gzip.open(path)
    if begin.startswith(b"\x28\xb5\x2f\xfd"):
        return pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
    return path.open("rb")


def _table(path: Path) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False) as file:
        yield from file.iter_batches(batch_size=8_192)


def _stream(path: Path) -> list[pa.RecordBatch] | None:
    """Return the batches of an Arrow stream, None where it is none or was cut off."""
    import pyarrow as pa

    try:
        with pa.OSFile(str(path)) as file:
            return list(pa.ipc.open_stream(file))
    except pa.ArrowInvalid:
        return None


def rows_of_theirs(table: Any, needles: Needles) -> Any:
    """Return, one a row of an Arrow table or batch, whether it mentions one of them."""
    import numpy as np
    import pyarrow.compute as pc

    hits = np.zeros(table.num_rows, dtype=bool)
    for name in table.schema.names:
        hits |= rows_that_mention(table[name], needles, name)
    if needles.tenant is not None and "tenant" in table.schema.names:
        same = pc.equal(table["tenant"], needles.tenant).fill_null(True)
        hits &= same.to_numpy(zero_copy_only=False) if hasattr(same, "type") else same.to_numpy()
    return hits


def rows_that_mention(column: Any, needles: Needles, name: str = "") -> Any:
    """Return, one a row of an Arrow column of any type, whether it mentions one of them."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    kind, n = column.type, len(column)
    if pa.types.is_dictionary(kind):
        return rows_that_mention(column.dictionary_decode(), needles, name)
    if pa.types.is_struct(kind):
        parts = [
            rows_that_mention(part, needles, inner.name)
            for part, inner in zip(column.flatten(), kind, strict=True)
        ]
        return np.any(parts, axis=0) if parts else np.zeros(n, dtype=bool)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        if pa.types.is_map(kind):
            column = column.cast(pa.list_(pa.struct([kind.key_field, kind.item_field])))
        inner = rows_that_mention(column.flatten(), needles, name)
        hits = np.zeros(n, dtype=bool)
        hits[pc.list_parent_indices(column).to_numpy()[inner]] = True
        return hits
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return rows_that_mention(column.cast(pa.large_string()), needles, name)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return needles.hits(column, ids=_ID_NAME.fullmatch(name) is not None)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return needles.hits(column)
    return np.zeros(n, dtype=bool)
