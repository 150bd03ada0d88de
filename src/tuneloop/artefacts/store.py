"""The artefact store: immutable, content-addressed, over any object store.

Layout below the root (a folder, or an s3://, gs:// or az:// address):

    blobs/<sha256>                                   bytes of one file
    digests/<digest>/<kind>/<key>                    empty; finds a manifest by its digest
    manifests/<kind>/<key>.json                      the commit, put only if absent
    manifests/<kind>/<key>/<n>.json                  the same execution again (`--force`), n from 2
    aliases/<tenant>/<task>/<env>/<name>/<n>.json    generations of an alias (see aliases.py)
    runs/<run>/...                                   what was run with which config
    erased/<digest>.json, erasures/...               what is gone, and why (see erasures.py)

No rename is needed. A crash before the manifest leaves blobs nobody refers to. No manifest is
ever replaced or deleted, blobs only by an erasure: the newest generation of a key is in force,
older ones stay findable by their digest. A local folder is made at the first write; reading
makes nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tuneloop.artefacts.digest import digest_file
from tuneloop.artefacts.erasures import tombstone
from tuneloop.artefacts.manifest import FileRef, Manifest, contents_digest
from tuneloop.errors import StoreError

if TYPE_CHECKING:
    from obstore.store import ObjectStore


@dataclass(frozen=True)
class Artefact:
    """A handle on one committed artefact; its files are read-only."""

    manifest: Manifest
    store: Store

    @property
    def kind(self) -> str:
        """Which stage's artefact this is."""
        return self.manifest.kind

    @property
    def digest(self) -> str:
        """SHA-256 over the contents."""
        return self.manifest.digest

    def folder(self) -> Path:
        """Return a local folder that holds every file under its name."""
        return self.store.checkout(self.manifest)

    def path(self, name: str) -> Path:
        """Return the local path of one file.

        Raises:
            StoreError: if the artefact has no such file.
        """
        if name not in self.manifest.files:
            held = ", ".join(sorted(self.manifest.files))
            raise StoreError(f"no file {name!r}; it holds {held}", where=f"{self.kind} artefact")
        return self.folder() / name

    def json(self, name: str) -> Any:
        """Return one JSON file, parsed."""
        return json.loads(self.path(name).read_text(encoding="utf-8"))


class Store:
    """Artefacts by key and by digest.

    Args:
        root: Folder or object-store address.
        work: Local folder for checkouts, locks and checkpoints; with a folder as `root` the
            default is `work` inside it.
    """

    def __init__(self, root: str, *, work: Path | None = None) -> None:
        self.root = root
        remote = "://" in root
        self.work = (
            work or (Path.home() / ".cache/tuneloop/work" if remote else Path(root) / "work")
        ).resolve()
        self.local_root = None if remote else Path(root).resolve()

    @cached_property
    def objects(self) -> ObjectStore:
        """The object store; a local folder is made here."""
        return _open_objects(self.root)

    @property
    def _empty(self) -> bool:
        return self.local_root is not None and not self.local_root.is_dir()

    # -- plain objects ---------------------------------------------------------------
    def put(self, path: str, data: bytes) -> None:
        """Put an object, replacing what was there."""
        self.objects.put(path, data)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Put an object only where there is none; return whether it was put."""
        from obstore.exceptions import AlreadyExistsError

        try:
            self.objects.put(path, data, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def get(self, path: str) -> bytes | None:
        """Return an object's bytes, or None where there is none."""
        if self._empty:
            return None
        try:
            return bytes(self.objects.get(path).bytes())
        except FileNotFoundError:
            return None

    def delete(self, path: str) -> None:
        """Delete an object, if it is there."""
        with suppress(FileNotFoundError):
            self.objects.delete(path)

    def list_paths(self, prefix: str) -> Iterator[str]:
        """Yield the paths below `prefix`, sorted."""
        if self._empty:
            return
        paths = [meta["path"] for batch in self.objects.list(prefix) for meta in batch]
        yield from sorted(paths)

    # -- artefacts -------------------------------------------------------------------
    def find(
        self, kind: str, key: str, *, digest: str | None = None, erased: bool = False
    ) -> Artefact | None:
        """Return the newest artefact of one execution, or None if it never committed.

        Args:
            kind: Which stage's.
            key: Which execution.
            digest: Only a generation with these contents, though they may be erased.
            erased: Whether one whose contents were erased counts where no digest is asked for.
        """
        for path in reversed(self._generations(kind, key)):
            found = self._read(path)
            if found is None or digest not in (None, found.digest):
                continue
            if erased or digest or tombstone(self, found.digest) is None:
                return found
        return None

    def list_artefacts(self, kind: str) -> Iterator[Artefact]:
        """Yield every artefact of a kind, generations of a key included."""
        for path in self.list_paths(f"manifests/{kind}"):
            found = self._read(path)
            if found:
                yield found

    def by_digest(self, digest: str) -> list[Artefact]:
        """Return every execution that left these contents; `digest` may be a prefix.

        Raises:
            StoreError: if none did, or the prefix fits several contents.
        """
        if not re.fullmatch("[0-9a-f]{1,64}", digest):
            raise StoreError(f"no artefact {digest!r}", where=self.root)
        hits = list(self.list_paths(f"digests/{digest}" if len(digest) == 64 else "digests"))
        split = [hit.split("/") for hit in hits]
        split = [parts for parts in split if len(parts) == 4 and parts[1].startswith(digest)]
        if len({parts[1] for parts in split}) > 1:
            raise StoreError(f"{digest!r} fits several artefacts", hint="give more digits")
        found = [self.find(kind, key, digest=whole) for _, whole, kind, key in split]
        artefacts = [artefact for artefact in found if artefact]
        if not artefacts:
            raise StoreError(f"no artefact {digest!r}", where=self.root)
        return artefacts

    def commit(self, draft: Manifest, files: Mapping[str, Path]) -> Artefact:
        """Store `files`, then the manifest; the first writer of a key's generation wins.

        Args:
            draft: The manifest with `files` and `digest` left empty.
            files: Name inside the artefact → local file.
        """
        refs: dict[str, FileRef] = {}
        for name, path in sorted(files.items()):
            refs[name] = self._put_blob(path)
        digest = contents_digest(draft.kind, refs)
        self.delete(f"erased/{digest}.json")  # made anew, from what is still there
        manifest = draft.model_copy(update={"files": refs, "digest": digest})
        self.put(f"digests/{digest}/{draft.kind}/{draft.key}", b"")
        folder = f"manifests/{draft.kind}/{draft.key}"
        again = f"/{draft.generation:08d}" if draft.generation > 1 else ""
        self.put_if_absent(f"{folder}{again}.json", manifest.model_dump_json(indent=1).encode())
        stored = self.find(draft.kind, draft.key)
        if stored is None:
            raise StoreError("the manifest just written cannot be read", where=self.root)
        return stored

    def checkout(self, manifest: Manifest) -> Path:
        """Return a local folder with the artefact's files, read-only, made once per digest.

        Raises:
            StoreError: if a blob is missing, was erased, or its bytes do not fit its digest.
        """
        stone = tombstone(self, manifest.digest)
        if stone is not None:
            left = f"; what is left of it: {stone.rewritten_as[:12]}" if stone.rewritten_as else ""
            raise StoreError(
                f"unreplayable: erased on {stone.when:%Y-%m-%d %H:%M}Z ({stone.reason}){left}",
                where=f"{manifest.kind} {manifest.digest[:12]}",
                hint="run the pipeline again: it starts from the lake as it is now",
            )
        folder = self.work / "checkouts" / manifest.digest
        if folder.is_dir():
            return folder
        partial = folder.with_name(f".{manifest.digest}.{uuid.uuid4().hex}")
        for name, ref in manifest.files.items():
            target = partial / name
            target.parent.mkdir(parents=True, exist_ok=True)
            self._fetch_blob(ref, target, name)
        partial.mkdir(parents=True, exist_ok=True)
        try:
            partial.rename(folder)
        except OSError:  # somebody else was first
            shutil.rmtree(partial, ignore_errors=True)
        return folder

    def _read(self, path: str) -> Artefact | None:
        data = self.get(path)
        try:
            return Artefact(Manifest.model_validate_json(data), self) if data else None
        except ValidationError as error:
            raise StoreError(f"no usable manifest: {error}", where=path) from error

    def _generations(self, kind: str, key: str) -> list[str]:
        """Return where a key's manifests may lie, oldest first."""
        folder = f"manifests/{kind}/{key}"
        return [f"{folder}.json", *self.list_paths(folder)]

    def _put_blob(self, path: Path) -> FileRef:
        ref = FileRef(digest=digest_file(path), n_bytes=path.stat().st_size)
        known = self._head_size(f"blobs/{ref.digest}")
        if known != ref.n_bytes:
            with path.open("rb") as file:
                self.objects.put(f"blobs/{ref.digest}", file)
        return ref

    def _head_size(self, path: str) -> int | None:
        try:
            return int(self.objects.head(path)["size"])
        except FileNotFoundError:
            return None

    def _fetch_blob(self, ref: FileRef, target: Path, name: str) -> None:
        if self.local_root is not None:
            source = self.local_root / "blobs" / ref.digest
            if not source.is_file():
                raise StoreError(f"blob {ref.digest} of {name!r} is gone", where=self.root)
            try:
                os.link(source, target)
            except OSError:
                shutil.copyfile(source, target)
        else:
            with target.open("wb") as file:
                for chunk in self.objects.get(f"blobs/{ref.digest}").stream():
                    file.write(chunk)
        if digest_file(target) != ref.digest:
            raise StoreError(
                f"the bytes of {name!r} do not fit their digest {ref.digest}",
                where=self.root,
                hint="the store is damaged: delete that blob and run the stage with --force",
            )
        target.chmod(0o444)  # it may be the blob itself, by another name


def _open_objects(root: str) -> ObjectStore:
    import obstore.store

    if "://" in root:
        return obstore.store.from_url(root)
    Path(root).mkdir(parents=True, exist_ok=True)
    return obstore.store.LocalStore(root)
