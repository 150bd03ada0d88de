"""A file as a stream of UTF-8 bytes: unpacked and recoded on the way, within bounds."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from pathlib import Path
from typing import IO, Any

from tuneloop.errors import DataError

MAX_UNPACKED_RATIO = 200
"""Logs pack 5 to 50 times; a file that unpacks further than this is a bomb or a mistake."""
ALWAYS_UNPACKED_BYTES = 256 * 1024 * 1024
"""Up to here no ratio is looked at: small files of equal lines pack very well."""

_BUFFER_BYTES = 256 * 1024
_PIECE_BYTES = 16 * 1024
"""So much is unpacked at once: where a packed file breaks off, what is lost is within a piece."""
_REFUSED = {
    b"PK\x03\x04": "a zip archive",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\x00": "an xz file",
    b"7z\xbc\xaf": "a 7z archive",
    b"Obj\x01": "an Avro file",
    b"ARROW1": "an Arrow file",
    b"\x89HDF": "an HDF5 file",
}
# UTF-32 first: its little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, ""),
)


class Stream:
    """What a file holds, as bytes that should be UTF-8 (nothing checks that here).

    Attributes:
        file: The unpacked bytes, without a byte-order mark.
        broken: After the end: why there is no more, where the file was cut off or damaged.
    """

    def __init__(self, path: Path) -> None:
        self._raw = path.open("rb")
        self._where = str(path)
        self._unpacking: _Unpacking | None = None
        self._recoding: _Recoding | None = None
        try:
            self.file = self._open()
        except BaseException:
            self._raw.close()
            raise

    def _open(self) -> IO[bytes]:
        head = self._raw.read(8)
        self._raw.seek(0)
        for magic, what in _REFUSED.items():
            if head.startswith(magic):
                raise DataError(
                    f"this is {what}",
                    where=self._where,
                    hint="unpack or export it as JSON lines, CSV or Parquet (gzip and zstd work)",
                )
        file: IO[bytes] = self._raw
        if inner := _unpacked(head, self._raw):
            self._unpacking = _Unpacking(inner, self._raw, self._where)
            file = io.BufferedReader(self._unpacking, _BUFFER_BYTES)
            _refuse_packed(_peek(file), self._where)
        head = _peek(file)
        for mark, encoding in _MARKS:
            if head.startswith(mark):
                file.read(len(mark))
                if encoding:
                    self._recoding = _Recoding(file, encoding)
                    return io.BufferedReader(self._recoding, _BUFFER_BYTES)
                return file
        if head.count(0) * 10 > len(head):
            raise DataError(
                "this is no text: it is full of zero bytes",
                where=self._where,
                hint="UTF-16 without a byte-order mark? Save it as UTF-8",
            )
        return file

    @property
    def position(self) -> int:
        """How many bytes of the file itself were taken."""
        return self._raw.tell()

    @property
    def broken(self) -> str | None:
        """Why the bytes ended before the file's content did, or None."""
        for part in (self._unpacking, self._recoding):
            if part and part.broken:
                return part.broken
        return None

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _unpacked(head: bytes, raw: IO[bytes]) -> Any:
    """Return a reader of what is packed, or None where nothing is."""
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=raw)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        import pyarrow as pa

        return pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
    return None


def _refuse_packed(head: bytes, where: str) -> None:
    """Raise DataError where what was unpacked is no text either."""
    packed = {b"\x1f\x8b": "packed twice", b"\x28\xb5\x2f\xfd": "packed twice",
              b"PAR1": "a packed Parquet file"}  # fmt: skip
    found = next((what for magic, what in packed.items() if head.startswith(magic)), None)
    if head[257:262] == b"ustar":
        found = "a packed tar archive"
    if found:
        raise DataError(f"this is {found}", where=where, hint="unpack it first")


def _peek(file: IO[bytes]) -> bytes:
    peek = file.peek(4096)  # type: ignore[attr-defined]
    return bytes(peek[:4096])


class _Unpacking(io.RawIOBase):
    """Unpacks piece by piece; ends where the packed stream is broken, and remembers why."""

    def __init__(self, inner: Any, raw: IO[bytes], where: str) -> None:
        self._inner, self._raw, self._where = inner, raw, where
        self._n_bytes = 0
        self.broken: str | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.broken:
            return 0
        try:
            # At most one read of what is packed: a longer one that fails loses what it had.
            piece = self._inner.read1(min(len(buffer), _PIECE_BYTES))
        except (EOFError, OSError, zlib.error) as error:
            self.broken = f"the packed file is cut off or damaged: {error}"
            return 0
        self._n_bytes += len(piece)
        if self._n_bytes > max(
            ALWAYS_UNPACKED_BYTES, MAX_UNPACKED_RATIO * max(self._raw.tell(), 1)
        ):
            raise DataError(
                f"it unpacks to more than {MAX_UNPACKED_RATIO} times its size",
                where=self._where,
                hint="if this is meant, unpack it first",
            )
        buffer[: len(piece)] = piece
        return len(piece)


class _Recoding(io.RawIOBase):
    """Turns UTF-16 and UTF-32 into UTF-8; what cannot be decoded ends the stream."""

    def __init__(self, inner: IO[bytes], encoding: str) -> None:
        # What is half of a sign passes, and is refused where its line is decoded.
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._inner = inner
        self._ready = b""
        self.broken: str | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and not self.broken:
            piece = self._inner.read(_BUFFER_BYTES // 4)
            try:
                text = self._decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                self.broken = f"the file is cut off or damaged: {error}"
                break
            self._ready = text.encode("utf-8", "surrogatepass")
            if not piece:
                break
        n = min(len(self._ready), len(buffer))
        buffer[:n] = self._ready[:n]
        self._ready = self._ready[n:]
        return n
