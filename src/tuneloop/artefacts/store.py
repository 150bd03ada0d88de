"""The artefact store: immutable, content-addressed, over any object store.

Layout below the root (a folder, or an s3://, gs:// or az:// address):

    blobs/<sha256>                                   bytes of one file
    digests/<digest>/<kind>/<key>                    empty; finds a manifest by its digest
    manifests/<kind>/<key>.json                      the commit, put only if absent
    aliases/<tenant>/<task>/<env>/<name>/<n>.json    generations of an alias (see aliases.py)
    runs/<run>/...                                   what was run with which config

No rename is needed. A crash before the manifest leaves blobs nobody refers to.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneloop.artefacts.digest import digest_file
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
        self.objects = _open_objects(root)

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
        try:
            return bytes(self.objects.get(path).bytes())
        except FileNotFoundError:
            return None

    def list_paths(self, prefix: str) -> Iterator[str]:
        """Yield the paths below `prefix`, sorted."""
        paths = [meta["path"] for batch in self.objects.list(prefix) for meta in batch]
        yield from sorted(paths)

    # -- artefacts -------------------------------------------------------------------
    def find(self, kind: str, key: str) -> Artefact | None:
        """Return the artefact of one execution, or None if it never committed."""
        data = self.get(f"manifests/{kind}/{key}.json")
        return Artefact(Manifest.model_validate_json(data), self) if data else None

    def by_digest(self, digest: str) -> list[Artefact]:
        """Return every execution that left these contents; `digest` may be a prefix.

        Raises:
            StoreError: if none did, or the prefix fits several contents.
        """
        hits = list(self.list_paths(f"digests/{digest}" if len(digest) == 64 else "digests"))
        split = [hit.split("/") for hit in hits]
        split = [parts for parts in split if parts[1].startswith(digest)]
        if len({parts[1] for parts in split}) > 1:
            raise StoreError(f"{digest!r} fits several artefacts", hint="give more digits")
        found = [self.find(parts[2], parts[3]) for parts in split]
        artefacts = [artefact for artefact in found if artefact]
        if not artefacts:
            raise StoreError(f"no artefact {digest!r}", where=self.root)
        return artefacts

    def commit(self, draft: Manifest, files: Mapping[str, Path]) -> Artefact:
        """Store `files`, then the manifest; the first writer of a key wins.

        Args:
            draft: The manifest with `files` and `digest` left empty.
            files: Name inside the artefact → local file.
        """
        refs: dict[str, FileRef] = {}
        for name, path in sorted(files.items()):
            refs[name] = self._put_blob(path)
        digest = contents_digest(draft.kind, refs)
        manifest = draft.model_copy(update={"files": refs, "digest": digest})
        self.put(f"digests/{digest}/{draft.kind}/{draft.key}", b"")
        body = manifest.model_dump_json(indent=1).encode()
        self.put_if_absent(f"manifests/{draft.kind}/{draft.key}.json", body)
        stored = self.find(draft.kind, draft.key)
        if stored is None:
            raise StoreError("the manifest just written cannot be read", where=self.root)
        return stored

    def replace(self, manifest: Manifest) -> None:
        """Forget one execution's manifest, so that it can be run again (`--force`)."""
        self.objects.delete(f"manifests/{manifest.kind}/{manifest.key}.json")

    def checkout(self, manifest: Manifest) -> Path:
        """Return a local folder with the artefact's files, made once per digest.

        Raises:
            StoreError: if a blob is missing or its bytes do not fit its digest.
        """
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


def _open_objects(root: str) -> ObjectStore:
    import obstore.store

    if "://" in root:
        return obstore.store.from_url(root)
    Path(root).mkdir(parents=True, exist_ok=True)
    return obstore.store.LocalStore(root)
