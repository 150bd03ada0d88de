"""A full disk told from everything else that can go wrong while files are written."""

from __future__ import annotations

import contextlib
import errno
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from tuneloop.errors import TrainingError
from tuneloop.train import checkpoints

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Libraries written in other languages give the error as text only.
_SAYS_FULL = re.compile(
    r"no space left|os error (28|27|122)\b|file too large|disk quota|PytorchStreamWriter failed "
    r"writing|file write failed|unexpected pos",
    re.IGNORECASE,
)


@contextlib.contextmanager
def full_disk_said(folder: Path, *, where: str) -> Iterator[None]:
    """Turn a failed write for want of room into an error that says so, and free what is useless.

    Args:
        folder: The checkpoints; the one being written is deleted.
        where: Which stage.

    Raises:
        TrainingError: in place of the library's error.
    """
    try:
        yield
    except Exception as error:
        if not is_full(error):
            raise
        for path in folder.glob("checkpoint-*"):
            if not (path / checkpoints.MARK).is_file():
                shutil.rmtree(path, ignore_errors=True)
        whole = checkpoints.newest_whole(folder, clean=False)
        free = shutil.disk_usage(folder.parent).free / 1024**2
        raise TrainingError(
            f"the disk is full, or a file may not grow further ({free:,.0f} MiB free): {error}",
            where=f"{where}: {folder.parent}",
            hint="free some room and run the same command: it goes on from "
            + (whole.folder.name if whole else "the beginning"),
        ) from error


def is_full(error: BaseException) -> bool:
    """Return whether an error, or one that led to it, is about room on the disk."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FULL:
            return True
        if _SAYS_FULL.search(str(seen)):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
