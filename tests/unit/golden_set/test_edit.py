"""The golden file: what people do to it is checked, and leaves every other line as it was."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tuneloop.artefacts.golden import GoldenPrompt, read_golden
from tuneloop.artefacts.manifest import Manifest
from tuneloop.artefacts.store import Store
from tuneloop.errors import DataError, StoreError
from tuneloop.golden_set.edit import add, diff, retire, review
from tuneloop.golden_set.file import GoldenFile, golden_digest, open_version, read_prompts

OLD = (
    '{"slices":["refunds"], "id": "g-1",'
    ' "messages": [{"role": "user", "content": "How long do refunds take to arrive?"}]}\n'
    "\n"
    '{"id": "g-2", "messages": [{"role": "user", "content": "caf\\u00e9 in \u2028 the shop?"}]}\n'
)


def prompt(id, text, **fields):
    return GoldenPrompt(id=id, messages=[{"role": "user", "content": text}], **fields)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "golden.jsonl"
    path.write_text(OLD, encoding="utf-8")
    return path


def lines(path):
    return [line for line in path.read_text("utf-8").split("\n") if line]


def test_adding_leaves_the_other_lines_as_they_were(path):
    added = add(GoldenFile(path), [prompt("g-3", "Do you repair old clocks?")], by="ann")
    assert added == {"added": ["g-3"], "changed": []}
    assert lines(path)[:2] == [line for line in OLD.split("\n") if line]
    new = GoldenFile(path).get("g-3")
    assert (new.added_by, new.reviewed_by, new.version, new.status) == ("ann", "ann", 1, "active")
    assert new.added_at is not None
    assert not list(path.parent.glob(".*"))


def test_a_file_that_does_not_exist_is_made(tmp_path):
    path = tmp_path / "new" / "golden.jsonl"
    add(GoldenFile(path), [prompt("g-1", "Anything?", slices=["any"])], by="ann")
    assert [p.id for p in read_golden(path)] == ["g-1"]


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ([prompt("g-1", "Something quite new?")], "ids are taken: g-1"),
        ([prompt("g-3", "how long do REFUNDS take to arrive")], "'g-3' nearly repeats 'g-1'"),
        (
            [prompt("g-3", "One two three?"), prompt("g-4", "One, two, three")],
            "'g-4' nearly.*'g-3'",
        ),
        ([prompt("g-3", "A new one?"), prompt("g-3", "Another new thing?")], "given twice: g-3"),
        ([prompt("g-3", "A new one?", slices=["refund"])], "slices: refund"),
        (
            [prompt("g-3", "A?", checks=[{"name": "x", "kind": "regex", "value": "("}])],
            "no pattern",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(path, new, said):
    with pytest.raises(DataError, match=said):
        add(GoldenFile(path), new, by="ann")
    assert path.read_text("utf-8") == OLD


def test_an_update_is_the_next_version(path):
    report = add(
        GoldenFile(path), [prompt("g-1", "How long do refunds take to come?")], by="bo", update=True
    )
    assert report == {"added": [], "changed": ["g-1"]}
    assert GoldenFile(path).get("g-1").version == 2
    assert json.loads(lines(path)[0])["id"] == "g-1"  # where it stood


def test_only_accepted_candidates_count(path):
    waiting = [
        prompt(f"c-{i}", f"Candidate number {i} of some?", status="candidate") for i in (1, 2)
    ]
    add(GoldenFile(path), waiting, by="ann")
    assert [p.id for p in read_golden(path)] == ["g-1", "g-2"]
    review(GoldenFile(path), accept=["c-1"], reject=["c-2"], by="bo", why="too vague")
    assert [p.id for p in read_golden(path)] == ["g-1", "g-2", "c-1"]
    rejected = GoldenFile(path).get("c-2")
    assert (rejected.status, rejected.retired_reason) == ("retired", "rejected: too vague")
    assert GoldenFile(path).get("c-1").reviewed_by == "bo"
    with pytest.raises(DataError, match="is active, no candidate"):
        review(GoldenFile(path), accept=["c-1"], reject=[], by="bo")
    with pytest.raises(DataError, match="needs a reason"):
        review(GoldenFile(path), accept=[], reject=["c-1"], by="bo")


def test_a_retired_prompt_keeps_its_line(path):
    retire(GoldenFile(path), ["g-1"], by="bo", why="we no longer sell these")
    assert [p.id for p in read_golden(path)] == ["g-2"]
    assert "we no longer sell these" in lines(path)[0]
    with pytest.raises(DataError, match="retired already"):
        retire(GoldenFile(path), ["g-1"], by="bo", why="again")
    retire(GoldenFile(path), ["g-2"], by="bo", why="too")
    with pytest.raises(DataError, match="no active prompts"):
        read_golden(path)


def test_a_change_by_somebody_else_is_not_overwritten(path):
    file = GoldenFile(path)
    path.write_text(OLD + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="changed by somebody else"):
        retire(file, ["g-1"], by="bo", why="x")


def test_of_many_writers_at_once_whoever_is_told_so_has_written(path, monkeypatch):
    """Between one's look at the file and its replacement nobody else gets in."""
    n = 6
    files = [GoldenFile(path) for _ in range(n)]
    slow, write = threading.Barrier(n), GoldenFile._write
    monkeypatch.setattr(GoldenFile, "_write", lambda file: (time.sleep(0.05), write(file)))

    def one(number):
        slow.wait()
        try:
            add(files[number], [prompt(f"w-{number}", "x" * (number + 9))], by="ann")
        except DataError:
            return set()
        return {f"w-{number}"}

    with ThreadPoolExecutor(n) as pool:
        told = set().union(*pool.map(one, range(n)))
    assert told == {p.id for p in read_golden(path)} - {"g-1", "g-2"}
    assert len(told) == 1


def test_line_ends_of_other_systems_stay(tmp_path):
    path = tmp_path / "golden.jsonl"
    path.write_bytes(OLD.replace("\n", "\r\n").encode())
    retire(GoldenFile(path), ["g-2"], by="bo", why="x")
    assert path.read_bytes().splitlines()[0] + b"\r\n" == path.read_bytes().splitlines(True)[0]
    assert [p.id for p in read_golden(path)] == ["g-1"]


def test_diff_says_what_counts(path):
    before = GoldenFile(path).prompts
    add(GoldenFile(path), [prompt("g-3", "New and shiny?", slices=["refunds"])], by="ann")
    retire(GoldenFile(path), ["g-2"], by="bo", why="x")
    found = diff(before, GoldenFile(path).prompts)
    assert found["added"] == ["g-3"]
    assert found["retired"] == ["g-2"]
    assert found["removed"] == []
    assert found["changed"] == {"g-2": ["retired_reason", "status"]}
    assert found["slices"] == {"refunds": [1, 2]}
    assert found["active"] == [2, 2]
    assert diff(GoldenFile(path).prompts, before)["removed"] == ["g-3"]


def test_a_version_is_found_by_its_digest(path, tmp_path):
    store = Store(str(tmp_path / "store"))
    draft = Manifest(kind="golden", key="k", digest="", files={}, started_at="2026-01-01T00:00:00Z")
    kept = store.commit(draft, {"golden.jsonl": path})
    assert kept.digest == golden_digest(path)
    assert [p.id for p in open_version(kept.digest[:10], store)] == ["g-1", "g-2"]
    with pytest.raises(StoreError):
        open_version("0" * 12, store)


@pytest.mark.parametrize("form", ["object", "list", "lines"])
def test_prompts_come_as_an_object_a_list_or_lines(tmp_path, form):
    row = {"id": "x", "messages": [{"role": "user", "content": "hi"}]}
    text = {"object": json.dumps(row, indent=1), "list": json.dumps([row]),
            "lines": json.dumps(row) + "\n" + json.dumps(row | {"id": "y"})}[form]  # fmt: skip
    path = tmp_path / "new.json"
    path.write_text(text, "utf-8")
    assert read_prompts(path)[0].id == "x"
    path.write_text(json.dumps([row, row | {"slices": 3}]), "utf-8")
    with pytest.raises(DataError, match="slices") as caught:
        read_prompts(path)
    assert caught.value.where.endswith("prompt 2")
