"""A golden file that people edit and git compares: unchanged lines stay as they are."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from tuneloop.artefacts.digest import digest_file
from tuneloop.artefacts.golden import GoldenPrompt, golden_lines, parse_prompt
from tuneloop.artefacts.manifest import FileRef, contents_digest
from tuneloop.artefacts.store import Store
from tuneloop.errors import DataError


class GoldenFile:
    """The prompts of one golden file, in its order.

    Args:
        path: The file; one that does not exist is an empty set, and made by `save`.

    Raises:
        DataError: naming the line, where one is malformed or an id is repeated.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = digest_file(path) if path.exists() else None
        found = golden_lines(path) if self._read else []
        self._lines = {prompt.id: line for line, prompt in found}
        self._prompts = {prompt.id: prompt for _, prompt in found}

    @property
    def prompts(self) -> list[GoldenPrompt]:
        """Every prompt, of whatever status."""
        return list(self._prompts.values())

    def get(self, id: str) -> GoldenPrompt:
        """Return one prompt.

        Raises:
            DataError: if there is none of that id.
        """
        if id not in self._prompts:
            raise DataError(f"no golden prompt {id!r}", where=str(self.path))
        return self._prompts[id]

    def put(self, prompt: GoldenPrompt) -> None:
        """Add a prompt at the end, or replace the one of its id where it stands."""
        self._prompts[prompt.id] = prompt
        self._lines[prompt.id] = line_of(prompt)

    def save(self) -> None:
        """Write the file, whole or not at all.

        Raises:
            DataError: if somebody else changed it since it was read.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _alone_in(self.path.parent):
            now = digest_file(self.path) if self.path.exists() else None
            if now != self._read:
                raise DataError(
                    "the file was changed by somebody else meanwhile; nothing was written",
                    where=str(self.path),
                    hint="run the command again",
                )
            self._write()
            self._read = digest_file(self.path)

    def _write(self) -> None:
        partial = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}")
        try:
            with partial.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{line}\n" for line in self._lines.values())
                file.flush()
                os.fsync(file.fileno())
            if self.path.exists():
                partial.chmod(self.path.stat().st_mode & 0o777)
            partial.replace(self.path)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other commands from writing in a folder; leaves no lock file among the data."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def line_of(prompt: GoldenPrompt) -> str:
    """Return a prompt as one line of JSON, without what is at its default."""
    return json.dumps(prompt.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False)


def read_prompts(path: Path) -> list[GoldenPrompt]:
    """Return the prompts of a JSON file: one object, a list of them, or a line each.

    Raises:
        DataError: naming the prompt that is malformed.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read: {error}", where=str(path)) from error
    try:
        value = json.loads(text)
    except ValueError:
        return [prompt for _, prompt in golden_lines(path)]
    rows = value if isinstance(value, list) else [value]
    return [
        parse_prompt(json.dumps(row), where=f"{path}, prompt {number}")
        for number, row in enumerate(rows, 1)
    ]


def golden_digest(path: Path) -> str:
    """Return the digest a golden file has in the store, once a run has used it."""
    ref = FileRef(digest=digest_file(path), n_bytes=path.stat().st_size)
    return contents_digest("golden", {"golden.jsonl": ref})


def open_version(what: str, store: Store) -> list[GoldenPrompt]:
    """Return the prompts of a golden file, or of a digest (or its beginning) in the store.

    Raises:
        DataError: if the digest is of something else.
        StoreError: if there is neither.
    """
    path = Path(what)
    if not path.is_file():
        found = [artefact for artefact in store.by_digest(what) if artefact.kind == "golden"]
        if not found:
            raise DataError(f"{what!r} is no golden set", where=store.root)
        path = found[0].path("golden.jsonl")
    return [prompt for _, prompt in golden_lines(path)]
