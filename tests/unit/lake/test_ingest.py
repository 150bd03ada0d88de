"""Every line is accepted, a duplicate, or in the dead letters; never neither."""

import json
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_core import from_json

from tuneloop.lake import containers
from tuneloop.lake.format import UnfitError
from tuneloop.lake.formats.native import FORMAT
from tuneloop.lake.ingest import ingest_file
from tuneloop.lake.letters import RAW_CHARS
from tuneloop.lake.parsing import parse_record
from tuneloop.lake.reading import Intake
from tuneloop.lake.rows import Reader, mark
from tuneloop.lake.table import SCHEMA


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


def ingest(tmp_path, raw, name="e.jsonl", format="native", **more):
    path = tmp_path / name
    path.write_bytes(raw)
    dead = tmp_path / "dead.jsonl"
    intake = Intake(str(tmp_path / "lake"), Quiet(), **more)
    report = ingest_file(str(path), intake, dead_letter=dead, format=format)
    letters = [json.loads(line) for line in dead.read_text(encoding="utf-8").split("\n")[:-1]]
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
        (line(GOOD | {"event_ts": "yesterday"}), "bad_time"),
        (line(GOOD | {"id": ""}), "schema"),
        (line(GOOD | {"request": {"messages": []}}), "schema"),
        (line(THUMB | {"value": 7}), "schema"),
        (line(THUMB | {"signal": "dwell", "value": 1e400}), "bad_json"),
        (b'{"signal": "dwell", "value": 1e999, "id": "x"}\n', "bad_json"),
        (line(GOOD).replace(b'"hi"', b'"hi", "score": 1e999'), "bad_json"),
        (line(GOOD | {"event_ts": "0001-01-01T00:00:00+14:00"}), "bad_time"),
        (line(GOOD).replace(b"hello", b"\\ud800"), "bad_json"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"\n", "too_deep"),
        (line(GOOD | {"id": "long", "extra": {"x": "y" * 3_000}}), "too_long"),
        (line(THUMB | {"revision": 2**40}), "schema"),
        (line(THUMB | {"signal": "dwell", "value": 10**400}), "schema"),
        (line(GOOD | {"region": "eu", "extra": 5}), "schema"),
        (line(GOOD | {"region": "eu", "extra": ["ab"]}), "schema"),
        (line(GOOD | {"score": 0}).replace(b" 0}", b" " + b"1" * 308 + b"e5}"), "bad_json"),
        (line(GOOD | {"deep": 0}).replace(b" 0}", b"[" * 200 + b"]" * 200 + b"}"), "schema"),
    ],
)
def test_malformed_rows_are_dead_letters(tmp_path, monkeypatch, raw, reason):
    if reason == "too_long":
        monkeypatch.setattr(containers, "MAX_RECORD_BYTES", 2_000)
    good = line(GOOD | {"id": "good"})
    report, letters = ingest(tmp_path, good + raw + good.replace(b"good", b"good2"))
    assert report.by_reason == {reason: 1}
    assert (report.read, report.accepted, report.rejected) == (3, 2, 1)
    assert [(letter["line"], letter["reason"]) for letter in letters] == [(2, reason)]
    assert letters[0]["source"] == "e.jsonl"
    assert len(letters[0]["raw"]) <= RAW_CHARS
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
    ingest(tmp_path, line(GOOD) + line(THUMB | {"tenant": "b"}), tenant="acme")
    assert {row["id"]: row["tenant"] for row in rows(tmp_path)} == {"a": "acme", "f": "b"}


def test_a_file_seen_before_returns_at_once(tmp_path, monkeypatch):
    first, letters = ingest(tmp_path, line(GOOD) + b"nonsense\n")
    monkeypatch.setattr("tuneloop.lake.reading.Spool", None)  # would fail if reached
    again, letters_again = ingest(tmp_path, line(GOOD) + b"nonsense\n")
    assert again.seen_before
    assert not first.seen_before
    assert letters == letters_again
    assert DeltaTable(str(tmp_path / "lake")).version() == 0


def test_dead_letters_with_other_line_ends_are_read_back(tmp_path):
    raw = "{nonsense \u2028 \u0085 \u2029 \x1c\n".encode()
    _, letters = ingest(tmp_path, line(GOOD) + raw)
    again, letters_again = ingest(tmp_path, line(GOOD) + raw)
    assert again.seen_before
    assert letters == letters_again
    assert letters[0]["raw"] == raw.decode().rstrip("\n")


def test_writers_at_the_same_time_lose_nothing_and_repeat_nothing(tmp_path):
    shared = [THUMB | {"id": f"shared{i}"} for i in range(20)]
    own = [[GOOD | {"id": f"own{n}-{i}"} for i in range(20)] for n in range(4)]

    def take(n):
        folder = tmp_path / f"run{n}"
        folder.mkdir()
        path = folder / "e.jsonl"
        path.write_bytes(b"".join(line(row) for row in [*shared, *own[n]]) + b"nonsense\n")
        dead = folder / "dead.jsonl"
        intake = Intake(str(tmp_path / "lake"), Quiet())
        report = ingest_file(str(path), intake, dead_letter=dead)
        return report, dead.read_text(encoding="utf-8")

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(take, range(4)))
    assert sorted(report.duplicates for report, _ in done) == [0, 20, 20, 20]
    assert all(letters.count("nonsense") == 1 for _, letters in done)
    assert len({row["id"] for row in rows(tmp_path)}) == len(rows(tmp_path)) == 100


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
    text = b"\n".join([line(GOOD | {"id": "first"}).strip(), b"{}", *content])
    report, letters = ingest(tmp_path, text)
    assert report.read == report.accepted + report.rejected + report.duplicates
    assert report.read == sum(1 for raw in text.split(b"\n") if raw.strip())
    assert report.rejected == len(letters) == sum(report.by_reason.values())
    held = rows(tmp_path)
    assert len(held) == report.accepted
    for row in held:
        json.loads(row["payload"])


# Everything JSON can hold and an exporter can get wrong: signs that are half of one, numbers
# of any size, nesting of any depth.
signs = st.text(st.characters(), max_size=5)  # lone surrogates too
numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.integers(0, 400).map(lambda n: 10**n),
    st.sampled_from([2**31, 2**63, -(2**63), 1e300, -1e300, 5e-324]),
)
wild = st.recursive(
    st.none() | st.booleans() | numbers | signs,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(signs, inner, max_size=3)
        | st.tuples(st.integers(150, 230), inner).map(lambda nest: nested(*nest))
    ),
    max_leaves=5,
)
FIELDS = [
    *(("id",), ("event_ts",), ("tenant",), ("extra",), ("unknown",), ("type",), ("revision",)),
    *(("turn",), ("session_id",), ("consent",), ("signal",), ("value",), ("metadata",)),
    *(("target",), ("target", "id"), ("actor",), ("comment",), ("usage",), ("cost",)),
    *(("request",), ("request", "messages"), ("request", "x"), ("request", "extra")),
    *(("response",), ("response", "content"), ("response", "tool_calls"), ("response", "x")),
]


def nested(depth, value):
    for _ in range(depth):
        value = [value]
    return value


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([GOOD, THUMB, THUMB | {"signal": "dwell", "value": 3}]),
    st.lists(st.tuples(st.sampled_from(FIELDS), wild), min_size=1, max_size=3),
    st.booleans(),
)
def test_any_line_is_an_event_the_table_holds_or_a_dead_letter(event, changes, ascii_only):
    event = json.loads(json.dumps(event))
    for path, value in changes:
        place = event
        for key in path[:-1]:
            place = place.setdefault(key, {}) if isinstance(place, dict) else {}
        if isinstance(place, dict):
            place[path[-1]] = value
    raw = json.dumps(event, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        (event,) = FORMAT.convert(parse_record(raw), None)
        row = Reader("native").row(event)
    except UnfitError as refused:
        json.dumps(refused.detail, ensure_ascii=False).encode()
        return
    for field, value in zip(SCHEMA, row, strict=True):
        assert len(pa.array([value], field.type)) == 1
    assert from_json(row.payload)["id"] == row.id


def test_erased_people_stay_out_and_their_words_too(tmp_path):
    from tuneloop.lake import table as lake_table

    ingest(tmp_path, line(GOOD))
    side = lake_table.side_objects(str(tmp_path / "lake"))
    when = "2026-01-01T00:00:00+00:00"
    marks = {mark("person", "default", "ann"): when, mark("interaction", "default", "lost"): when,
             mark("session", "default", "s"): when}  # fmt: skip
    side.put(lake_table.ERASED, json.dumps(marks).encode())
    theirs = [
        GOOD | {"id": "b", "subject_key": "ann", "response": {"content": "seven cloves"}},
        THUMB | {"actor": {"kind": "user", "id": "ann"}, "comment": "seven cloves"},
        GOOD | {"id": "c", "subject_key": "ann", "event_ts": "2026-06-01T00:00:00Z"},
        GOOD | {"id": "d", "subject_key": "bob"},
        GOOD | {"id": "e", "session_id": "s"},  # nobody's, and of their session
        GOOD | {"id": "lost"},
        THUMB | {"id": "x", "target": {"id": "lost"}, "event_ts": "2026-06-01T00:00:00Z"},
        THUMB | {"id": "y", "signal": "preference", "value": {"winner": "lost", "loser": "a"}},
        GOOD | {"id": "f", "session_id": "s", "subject_key": "bob"},
        GOOD | {"id": "g", "session_id": "s", "event_ts": "2026-06-01T00:00:00Z"},
    ]
    report, letters = ingest(tmp_path, b"".join(map(line, theirs)), name="2.jsonl")
    assert (report.accepted, report.by_reason) == (4, {"erased": 6})
    assert [letter["raw"] for letter in letters] == [""] * 6
    assert {row["id"] for row in rows(tmp_path)} == {"a", "c", "d", "f", "g"}
    broken = b'{"subject_key": "ann", "text": "seven cloves"'
    _, letters = ingest(tmp_path, line(GOOD) + broken, name="3.jsonl")
    assert "cloves" not in json.dumps(letters)


def test_a_record_is_taken_whole_or_not_at_all(tmp_path):
    pair = {"prompt": "q", "response_0": "a", "response_1": "b", "label": 0}
    ingest(tmp_path, line(pair), name="1.jsonl", format="pairwise")
    held = {json.loads(row["payload"])["id"]: row for row in rows(tmp_path)}
    (vote,) = [name for name, row in held.items() if row["kind"] == "feedback"]
    # One event of a record is in conflict: nothing of the record comes in.
    taken = THUMB | {"id": vote}
    other = tmp_path / "other"
    other.mkdir()
    ingest(other, line(taken))
    report, letters = ingest(other, line(pair), name="1.jsonl", format="pairwise")
    assert (report.accepted, report.by_reason, report.n_events) == (0, {"conflict": 1}, 0)
    assert vote in letters[0]["detail"]
    assert [row["id"] for row in rows(other)] == [vote]
