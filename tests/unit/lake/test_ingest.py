"""Every line is accepted, a duplicate, or in the dead letters; never neither."""

import json

import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuneloop.lake import lines
from tuneloop.lake.ingest import ingest_file


class Quiet:
    def start(self, description, *, total=None): ...
    def advance(self, n=1): ...
    def done(self, note=""): ...
    def say(self, text): ...


GOOD = {
    "id": "a",
    "event_ts": "2025-03-01T10:00:00Z",
    "request": {"messages": [{"role": "user", "content": "hello"}]},
    "response": {"content": "hi"},
}
THUMB = {
    "id": "f",
    "event_ts": "2025-03-01T10:00:00Z",
    "target": {"id": "a"},
    "signal": "thumb",
    "value": True,
}


def ingest(tmp_path, raw, name="e.jsonl", **more):
    path = tmp_path / name
    path.write_bytes(raw)
    dead = tmp_path / "dead.jsonl"
    report = ingest_file(path, str(tmp_path / "lake"), dead_letter=dead, progress=Quiet(), **more)
    letters = [json.loads(line) for line in dead.read_text(encoding="utf-8").splitlines()]
    return report, letters


def rows(tmp_path):
    return DeltaTable(str(tmp_path / "lake")).to_pyarrow_table().to_pylist()


def line(value):
    return json.dumps(value).encode() + b"\n"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{not json\n", "bad_json"),
        (b'{"id": "a\xff"}\n', "bad_encoding"),
        (b"[1, 2]\n", "not_an_object"),
        (b'"text"\n', "not_an_object"),
        (b'{"id": "x"}\n', "unknown_type"),
        (line({"type": "visit", "id": "x"}), "schema"),
        (line(GOOD | {"event_ts": "yesterday"}), "schema"),
        (line(GOOD | {"id": ""}), "schema"),
        (line(GOOD | {"request": {"messages": []}}), "schema"),
        (line(THUMB | {"value": 7}), "schema"),
        (line(THUMB | {"signal": "dwell", "value": 1e400}), "bad_json"),
        (b'{"signal": "dwell", "value": 1e999, "id": "x"}\n', "bad_json"),
        (line(GOOD).replace(b'"hi"', b'"hi", "score": 1e999'), "bad_json"),
        (line(GOOD | {"event_ts": "0001-01-01T00:00:00+14:00"}), "schema"),
        (line(GOOD).replace(b"hello", b"\\ud800"), "bad_json"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"\n", "too_deep"),
        (line(GOOD | {"id": "long", "extra": {"x": "y" * 3_000}}), "too_long"),
    ],
)
def test_malformed_rows_are_dead_letters(tmp_path, monkeypatch, raw, reason):
    if reason == "too_long":
        monkeypatch.setattr(lines, "MAX_LINE_BYTES", 2_000)
    good = line(GOOD | {"id": "good"})
    report, letters = ingest(tmp_path, good + raw + good.replace(b"good", b"good2"))
    assert report.by_reason == {reason: 1}
    assert (report.read, report.accepted, report.rejected) == (3, 2, 1)
    assert [(letter["line"], letter["reason"]) for letter in letters] == [(2, reason)]
    assert letters[0]["source"] == "e.jsonl"
    assert len(letters[0]["raw"]) <= lines.RAW_CHARS
    assert sorted(row["id"] for row in rows(tmp_path)) == ["good", "good2"]


def test_types_are_inferred_and_blank_lines_skipped(tmp_path):
    raw = b"\xef\xbb\xbf" + line(GOOD) + b"\n   \r\n" + line(THUMB).rstrip(b"\n")
    report, _ = ingest(tmp_path, raw)
    assert (report.read, report.accepted) == (2, 2)
    assert {row["id"]: row["kind"] for row in rows(tmp_path)} == {
        "a": "interaction",
        "f": "feedback",
    }


def test_identity_is_tenant_id_revision(tmp_path):
    raw = b"".join(
        line(row)
        for row in (
            THUMB,
            THUMB | {"revision": 1, "value": False},
            THUMB | {"tenant": "other"},
            THUMB | {"ingest_ts": "2025-03-05T00:00:00Z"},  # the same event, taken in later
            GOOD | {"id": "f"},  # an interaction may bear the name of a feedback
        )
    )
    report, _ = ingest(tmp_path, raw)
    assert (report.accepted, report.duplicates, report.rejected) == (4, 1, 0)


def test_another_event_under_a_taken_identity_is_a_conflict(tmp_path):
    ingest(tmp_path, line(THUMB))
    report, letters = ingest(tmp_path, line(THUMB | {"value": False}) + line(THUMB), name="2.jsonl")
    assert (report.accepted, report.duplicates, report.by_reason) == (0, 1, {"conflict": 1})
    assert letters[0]["line"] == 1


def test_unknown_fields_and_times_survive(tmp_path):
    ingest(tmp_path, line(GOOD | {"region": "eu", "event_ts": "2025-03-01T12:00:00+02:00"}))
    (row,) = rows(tmp_path)
    payload = json.loads(row["payload"])
    assert payload["extra"] == {"region": "eu"}
    assert row["event_ts"].isoformat() == payload["event_ts"] == "2025-03-01T10:00:00+00:00"


def test_default_tenant(tmp_path):
    ingest(tmp_path, line(GOOD) + line(THUMB | {"tenant": "b"}), tenant_default="acme")
    assert {row["id"]: row["tenant"] for row in rows(tmp_path)} == {"a": "acme", "f": "b"}


def test_a_file_seen_before_returns_at_once(tmp_path, monkeypatch):
    first, letters = ingest(tmp_path, line(GOOD) + b"nonsense\n")
    monkeypatch.setattr("tuneloop.lake.ingest._known_rows", None)  # would fail if reached
    again, letters_again = ingest(tmp_path, line(GOOD) + b"nonsense\n")
    assert again.seen_before
    assert not first.seen_before
    assert letters == letters_again
    assert DeltaTable(str(tmp_path / "lake")).version() == 0


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
some_lines = st.lists(
    st.one_of(
        st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"")),
        anything.map(lambda v: json.dumps(v).encode()),
        st.sampled_from(["a", "b", "c"]).map(lambda i: line(GOOD | {"id": i}).strip()),
        st.tuples(st.sampled_from(["signal", "value", "target", "event_ts"]), anything).map(
            lambda kv: line(THUMB | {kv[0]: kv[1]}).strip()
        ),
    ),
    max_size=8,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(some_lines)
def test_every_line_is_accounted_for(tmp_path_factory, content):
    tmp_path = tmp_path_factory.mktemp("lake")
    report, letters = ingest(tmp_path, b"\n".join(content))
    assert report.read == report.accepted + report.rejected + report.duplicates
    text = b"\n".join(content).removeprefix(b"\xef\xbb\xbf")
    assert report.read == sum(1 for raw in text.split(b"\n") if raw.strip())
    assert report.rejected == len(letters) == sum(report.by_reason.values())
    held = rows(tmp_path)
    assert len(held) == report.accepted
    for row in held:
        json.loads(row["payload"])
