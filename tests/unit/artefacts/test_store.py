"""The store: what is committed is whole, what is not does not exist."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tuneloop.artefacts.manifest import FileRef, Manifest, contents_digest
from tuneloop.artefacts.store import Store
from tuneloop.errors import StoreError


def draft(key: str, kind: str = "curate", **fields) -> Manifest:
    now = datetime.now(UTC)
    return Manifest(kind=kind, key=key, digest="", files={}, started_at=now, **fields)


def commit(store: Store, folder: Path, key: str = "k1", text: str = "hello", **fields):
    path = folder / f"{key}.txt"
    path.write_text(text)
    return store.commit(draft(key, **fields), {"sub/a.txt": path})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def test_round_trip(store: Store, tmp_path: Path):
    artefact = commit(store, tmp_path)
    found = store.find("curate", "k1")
    assert found is not None
    assert found.manifest == artefact.manifest
    assert found.path("sub/a.txt").read_text() == "hello"
    assert found.digest == contents_digest("curate", found.manifest.files)


def test_digest_is_over_contents_not_over_keys_or_times(store: Store, tmp_path: Path):
    one, two = commit(store, tmp_path, "k1"), commit(store, tmp_path, "k2")
    other = commit(store, tmp_path, "k3", text="else")
    assert one.digest == two.digest != other.digest
    assert {a.manifest.key for a in store.by_digest(one.digest[:10])} == {"k1", "k2"}


def test_first_writer_of_a_key_wins(store: Store, tmp_path: Path):
    first = commit(store, tmp_path, "k1", text="first")
    second = commit(store, tmp_path, "k1", text="second")
    assert second.digest == first.digest
    assert second.path("sub/a.txt").read_text() == "first"


def test_many_threads_one_manifest(store: Store, tmp_path: Path):
    digests: list[str] = []
    folders = [tmp_path / str(i) for i in range(8)]
    for folder in folders:
        folder.mkdir()
    threads = [
        threading.Thread(
            target=lambda f=f: digests.append(commit(store, f, "k", text=f.name).digest)
        )
        for f in folders
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(digests)) == 1


def test_blobs_without_manifest_do_not_exist(store: Store, tmp_path: Path):
    artefact = commit(store, tmp_path)
    store.objects.delete("manifests/curate/k1.json")
    assert store.find("curate", "k1") is None
    with pytest.raises(StoreError, match="no artefact"):
        store.by_digest(artefact.digest)


def test_damaged_blob_is_never_read(store: Store, tmp_path: Path):
    artefact = commit(store, tmp_path)
    blob = artefact.manifest.files["sub/a.txt"].digest
    (tmp_path / "store/blobs" / blob).write_text("tampered")
    with pytest.raises(StoreError, match="do not fit their digest"):
        artefact.path("sub/a.txt")
    assert not list((tmp_path / "store/work/checkouts").glob("[!.]*"))


def test_unknown_file_names_what_there_is(store: Store, tmp_path: Path):
    with pytest.raises(StoreError, match=r"sub/a\.txt"):
        commit(store, tmp_path).path("b.txt")


KILLED = """
import os, sys
from pathlib import Path
from datetime import UTC, datetime
from tuneloop.artefacts.manifest import Manifest
from tuneloop.artefacts.store import Store
store = Store(sys.argv[1])
real = store.put_if_absent
def put_if_absent(path, data):
    if path.startswith("manifests/"):
        os.kill(os.getpid(), 9)
    return real(path, data)
store.put_if_absent = put_if_absent
file = Path(sys.argv[2], "x.txt"); file.write_text("x")
draft = Manifest(kind="build", key="k", digest="", files={}, started_at=datetime.now(UTC))
store.commit(draft, {"x.txt": file})
"""


def test_kill_before_the_manifest_leaves_nothing_readable(store: Store, tmp_path: Path):
    run = subprocess.run([sys.executable, "-c", KILLED, store.root, tmp_path], check=False)
    assert run.returncode == -9
    assert store.find("build", "k") is None
    assert commit(store, tmp_path, "k", kind="build").path("sub/a.txt").read_text() == "hello"


def test_a_later_generation_is_in_force_and_the_earlier_one_is_never_mistaken(store, tmp_path):
    old = commit(store, tmp_path, text="old")
    new = commit(store, tmp_path, text="new", generation=2)
    assert store.find("curate", "k1").digest == new.digest != old.digest
    for one, text in ((old, "old"), (new, "new")):
        (found,) = store.by_digest(one.digest)
        assert found.manifest == one.manifest
        assert found.path("sub/a.txt").read_text() == text
        assert store.find("curate", "k1", digest=one.digest).manifest == one.manifest
    assert store.find("curate", "k1", digest="0" * 64) is None
    assert [a.digest for a in store.list_artefacts("curate")] == [old.digest, new.digest]


def test_one_writer_of_a_generation_wins(store, tmp_path):
    commit(store, tmp_path, text="old")
    commit(store, tmp_path, text="new", generation=2)
    assert commit(store, tmp_path, text="late", generation=2).path("sub/a.txt").read_text() == "new"


def test_reading_makes_no_folder(store, tmp_path):
    assert store.find("curate", "k1") is None
    assert list(store.list_paths("runs")) == []
    with pytest.raises(StoreError, match="no artefact"):
        store.by_digest("abc")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("digest", ["../../etc", "", "digests"])
def test_what_is_no_digest_is_no_artefact(store, digest):
    with pytest.raises(StoreError, match="no artefact"):
        store.by_digest(digest)


@pytest.mark.parametrize("name", ["../a", "/etc/a", "a/../../b", "a/./b", ".", "", "a//b", "..\\a"])
def test_no_manifest_names_a_file_outside_its_folder(store, tmp_path, name):
    ref = FileRef(digest="0" * 64, n_bytes=1)
    with pytest.raises(ValueError, match="no relative file name"):
        Manifest(kind="a", key="k", digest="", files={name: ref}, started_at=datetime.now(UTC))
    good = commit(store, tmp_path).manifest.model_dump_json()
    evil = good.replace('"sub/a.txt"', json.dumps(name))
    store.put("manifests/curate/evil.json", evil.encode())
    with pytest.raises(StoreError, match="no usable manifest"):
        store.find("curate", "evil")


@pytest.mark.parametrize("field", ["digest", "key", "kind"])
def test_no_manifest_leads_a_checkout_elsewhere(store, tmp_path, field):
    manifest = commit(store, tmp_path).manifest
    with pytest.raises(ValueError, match="pattern"):
        Manifest.model_validate(manifest.model_dump() | {field: "../../elsewhere"})


def test_files_of_an_artefact_are_read_only(store, tmp_path):
    path = commit(store, tmp_path).path("sub/a.txt")
    assert path.stat().st_mode & 0o777 == 0o444
