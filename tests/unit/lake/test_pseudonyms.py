"""People under keyed hashes: the same ones always, their names nowhere."""

import hashlib
import hmac
import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tuneloop.errors import DataError
from tuneloop.lake.ingest import ingest_file
from tuneloop.lake.pseudonyms import Pseudonyms
from tuneloop.lake.reading import Intake
from tuneloop.runtime.progress import SilentProgress

ANN = "ann.shirley@example.com"
KEY = b"a key of the tests"


def interaction(**more):
    return {
        "type": "interaction", "id": "i", "event_ts": "2025-03-01T10:00:00Z", "subject_key": ANN,
        "request": {"messages": [{"role": "user", "content": "hello", "name": ANN}],
                    "sampling": {"user": ANN}, "template": {"name": "t", "variables": {"u": ANN}}},
        "response": {"content": "hi", "raw_user": ANN}, "tags": [f"user:{ANN}"],
        "assignment": {"experiment": "e", "arm": "a", "unit": ANN}, "unknown": {ANN: [ANN]},
    } | more  # fmt: skip


def thumb(**more):
    return {
        "type": "feedback", "id": "f", "event_ts": "2025-03-01T10:00:00Z", "target": {"id": "i"},
        "signal": "thumb", "value": True, "actor": {"kind": "user", "id": ANN},
        "metadata": {"by": ANN, "note": f"from {ANN}, twice"},
    } | more  # fmt: skip


KEYED = Pseudonyms(KEY)


def take(folder, rows, pseudonyms=KEYED):
    path = folder / "e.jsonl"
    lines = (r if isinstance(r, str) else json.dumps(r) for r in rows)
    path.write_text("\n".join(lines), encoding="utf-8")
    intake = Intake(str(folder / "lake"), SilentProgress(), pseudonyms=pseudonyms)
    dead = folder / "dead.jsonl"
    return ingest_file(str(path), intake, dead_letter=dead, format="native"), dead.read_text()


def payloads(folder):
    from deltalake import DeltaTable

    rows = DeltaTable(str(folder / "lake")).to_pyarrow_table().sort_by("id").to_pylist()
    return rows, [json.loads(row["payload"]) for row in rows]


def test_it_is_hmac_sha256_of_tenant_and_name():
    message = f"4:acme:{ANN}".encode()
    told = hmac.new(KEY, message, hashlib.sha256).hexdigest()
    assert Pseudonyms(KEY)("acme", ANN) == f"u-{told[:24]}"


def test_keys_tenants_and_people_are_told_apart():
    one, other = Pseudonyms(KEY), Pseudonyms(b"another key of tests")
    made = {
        one("a", "x"),
        one("b", "x"),
        one("a", "y"),
        other("a", "x"),
        one("a:x", ""),
        one("", "a:x"),
    }
    assert len(made) == 6
    assert one.fingerprint != other.fingerprint
    assert KEY.hex() not in one.fingerprint


def test_names_are_nowhere_in_what_is_written(tmp_path):
    refused = [thumb(id="bad", value=7), interaction(id="late", event_ts="never"),
               f'{{"user_id": "{ANN}", "half": ', f'{{"id": "x", "subject_key": "{ANN}',
               '{"subject_key": 40122', interaction(id="q", request={"messages": []})]  # fmt: skip
    report, dead = take(tmp_path, [interaction(), thumb(), *refused])
    assert (report.accepted, report.rejected) == (2, 6)
    rows, (given, asked) = payloads(tmp_path)
    pseudonym = Pseudonyms(KEY)("default", ANN)
    assert rows[1]["subject_key"] == asked["subject_key"] == given["actor"]["id"] == pseudonym
    assert asked["extra"]["unknown"] == {pseudonym: [pseudonym]}
    assert asked["tags"] == [f"user:{pseudonym}"]
    assert given["metadata"] == {"by": pseudonym, "note": f"from {pseudonym}, twice"}
    assert all(
        pseudonym in letter
        for letter in dead.splitlines()
        if "40122" not in letter and '"line": 7' not in letter
    )
    assert dead.count(Pseudonyms(KEY)("default", "40122")) == 1
    for folder, _, names in os.walk(tmp_path):
        for name in names:
            if name != "e.jsonl":
                with open(os.path.join(folder, name), "rb") as file:
                    written = file.read()
                assert ANN.encode() not in written, name
                assert b"40122" not in written or name.endswith(".parquet"), name


def test_addresses_of_reviewers_do_not_stay(tmp_path):
    who = "bob@example.com"
    reviewer = thumb(actor={"kind": "reviewer", "id": who}, metadata={"by": who})
    take(tmp_path, [reviewer])
    (given,) = payloads(tmp_path)[1]
    assert given["actor"]["id"].startswith("u-")
    assert who not in json.dumps(given)


def test_reviewers_and_what_people_wrote_stay(tmp_path):
    reviewer = thumb(actor={"kind": "reviewer", "id": "rev-1"}, metadata={}, comment="by rev-1")
    talk = interaction(request={"messages": [{"role": "user", "content": f"I am {ANN}"}]})
    take(tmp_path, [talk, reviewer])
    _, (given, asked) = payloads(tmp_path)
    assert given["actor"]["id"] == "rev-1"
    assert asked["request"]["messages"][0]["content"] == f"I am {ANN}"  # curation redacts


def test_short_and_common_names_do_no_harm(tmp_path):
    rows = [thumb(id=n, actor={"kind": "user", "id": n}, metadata={"n": n, "t": f"{n}a", "k": 1})
            for n in ("1", "user", "thumb")]  # fmt: skip
    report, _ = take(tmp_path, rows)
    assert report.accepted == 3
    for row, event in zip(*payloads(tmp_path), strict=True):
        name = row["id"]
        assert event["actor"]["kind"] == "user"
        assert event["signal"] == "thumb"
        assert event["actor"]["id"] == Pseudonyms(KEY)("default", name)
        assert event["metadata"]["t"] == f"{name}a"
        assert event["metadata"]["k"] == 1


def test_numbers_that_name_people_are_replaced(tmp_path):
    take(tmp_path, [thumb(actor={"id": 99123}, metadata={"user": 99123, "n": 991230})])
    _, (event,) = payloads(tmp_path)
    pseudonym = Pseudonyms(KEY)("default", "99123")
    assert event["actor"]["id"] == event["metadata"]["user"] == pseudonym
    assert event["metadata"]["n"] == 991230


def test_as_given_changes_nothing(tmp_path):
    take(tmp_path, [interaction(), thumb()], pseudonyms=None)
    _, (given, asked) = payloads(tmp_path)
    assert asked["subject_key"] == given["actor"]["id"] == ANN


# -- the key ------------------------------------------------------------------------
@pytest.fixture
def key_file(tmp_path, monkeypatch):
    path = tmp_path / "config" / "subject.key"
    monkeypatch.delenv("TUNELOOP_SUBJECT_KEY", raising=False)
    monkeypatch.setenv("TUNELOOP_SUBJECT_KEY_FILE", str(path))
    return path


def test_a_key_is_made_once_for_its_owner_alone(key_file):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: Pseudonyms.from_environment()("t", ANN), range(16)))
    assert len(set(made)) == 1
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert len(key_file.read_text().strip()) == 64
    assert list(key_file.parent.iterdir()) == [key_file]


def test_the_variable_goes_before_the_file(key_file, monkeypatch):
    monkeypatch.setenv("TUNELOOP_SUBJECT_KEY", KEY.decode())
    assert Pseudonyms.from_environment()("t", ANN) == Pseudonyms(KEY)("t", ANN)
    assert not key_file.exists()


def test_a_key_in_reach_of_others_is_refused(key_file):
    Pseudonyms.from_environment()
    key_file.chmod(0o640)
    with pytest.raises(DataError, match="others may read"):
        Pseudonyms.from_environment()


def test_a_short_key_is_refused_and_not_shown(monkeypatch):
    monkeypatch.setenv("TUNELOOP_SUBJECT_KEY", "short-secret")
    with pytest.raises(DataError, match="fewer than 16") as caught:
        Pseudonyms.from_environment()
    assert "short-secret" not in str(caught.value)


@pytest.mark.parametrize("parts", [("manifests", "blobs"), ("_delta_log",)])
def test_a_key_inside_a_store_is_refused(key_file, parts):
    for part in parts:
        (key_file.parent.parent / part).mkdir()
    with pytest.raises(DataError, match="inside a store"):
        Pseudonyms.from_environment()
    assert not key_file.exists()


def test_another_process_finds_the_same_key(key_file):
    code = (
        "from tuneloop.lake.pseudonyms import Pseudonyms as P;print(P.from_environment()('t','x'))"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    out = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == Pseudonyms.from_environment()("t", "x")
