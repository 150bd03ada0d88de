"""Files of every kind and every damage: each record read or refused, memory bounded."""

import gzip
import io
import json
import os
import subprocess
import sys
import textwrap

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.errors import DataError
from tuneloop.lake import containers, opening, splitting, tabular
from tuneloop.lake.containers import look_into, read_records
from tuneloop.lake.ingest import ingest_file
from tuneloop.lake.parsing import MAX_RECORD_BYTES
from tuneloop.lake.reading import Intake
from tuneloop.lake.recognise import best_fit
from tuneloop.runtime.progress import SilentProgress

RECORDS = [
    {"instruction": f"Say {n}: é, \u2028, \"x\", [1], {{2}}", "response1": "a\\b", "response2": "c",
     "annotator1": 1, "annotator2": 0, "annotator3": 2}
    for n in range(5)
]  # fmt: skip
LINES = "".join(json.dumps(r, ensure_ascii=n % 2 > 0) + "\n" for n, r in enumerate(RECORDS))


NOISY = b"".join(json.dumps({"a": os.urandom(900).hex()}).encode() + b"\n" for _ in range(900))


def zstd(raw):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(raw)
    return sink.getvalue().to_pybytes()


def read(path, raw=None):
    if raw is not None:
        path.write_bytes(raw)
    container = look_into(path, fits=best_fit)
    told = []
    items = list(read_records(path, container, told.append))
    assert sum(told) <= path.stat().st_size
    return container.kind, items


def reasons(items):
    return [item.refused.reason for item in items if item.refused]


def as_csv(delimiter):
    sink = io.StringIO()
    import csv

    out = csv.DictWriter(sink, RECORDS[0], delimiter=delimiter)
    out.writeheader()
    out.writerows(RECORDS)
    return sink.getvalue()


def as_parquet():
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(RECORDS), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("lines", LINES.encode()),
        ("lines", LINES.replace("\n", "\r\n\r\n  \r\n").encode()),
        ("lines", b"\xef\xbb\xbf" + LINES.rstrip().encode()),
        ("lines", LINES.encode("utf-16")),
        ("lines", b"\xfe\xff" + LINES.encode("utf-16-be")),
        ("lines", LINES.encode("utf-32")),
        ("lines", gzip.compress(LINES.encode())),
        ("lines", gzip.compress(LINES[:300].encode()) + gzip.compress(LINES[300:].encode())),
        ("lines", zstd(LINES.encode())),
        ("lines", zstd(b"\xef\xbb\xbf" + LINES.encode())),
        ("array", json.dumps(RECORDS).encode()),
        ("array", json.dumps(RECORDS, indent=4).encode()),
        ("array", gzip.compress(json.dumps(RECORDS).encode())),
        ("array", json.dumps(RECORDS).encode("utf-16")),
        ("values", "".join(json.dumps(r) for r in RECORDS).encode()),
        ("values", "\n\n".join(json.dumps(r, indent=2) for r in RECORDS).encode()),
        ("list", json.dumps({"meta": {"n": [5]}, "data": RECORDS, "next": None}).encode()),
        ("list", json.dumps({"rows": RECORDS}, indent=1).encode()),
        ("csv", as_csv(",").encode()),
        ("csv", as_csv(";").replace("\r\n", "\n").encode()),
        ("csv", as_csv("\t").encode("utf-16")),
        ("csv", gzip.compress(as_csv("|").encode())),
        ("parquet", as_parquet()),
    ],
)
def test_the_records_are_the_same_in_every_container(tmp_path, kind, raw):
    found, items = read(tmp_path / "whatever.bin", raw)
    assert found == kind
    records = [item.record for item in items]
    if kind == "csv":
        records = [r | {k: int(v) for k, v in r.items() if k[0] == "a"} for r in records]
    assert records == RECORDS


def test_one_object_is_one_record_where_a_format_takes_it(tmp_path):
    kind, items = read(tmp_path / "x", json.dumps(RECORDS[0], indent=1).encode())
    assert (kind, [i.record for i in items]) == ("values", [RECORDS[0]])
    chat = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    kind, items = read(tmp_path / "x", json.dumps(chat, indent=1).encode())
    assert [i.record for i in items] == [chat]


@pytest.mark.parametrize("raw", [b"", b"\n  \r\n", b"\xef\xbb\xbf", gzip.compress(b"")])
def test_an_empty_file_has_no_records(tmp_path, raw):
    path = tmp_path / "empty"
    assert read(path, raw) == ("empty", [])
    intake = Intake(str(tmp_path / "lake"), SilentProgress())
    report = ingest_file(str(path), intake, dead_letter=tmp_path / "dead")
    assert (report.read, report.n_events) == (0, 0)


@pytest.mark.parametrize(
    ("raw", "whole", "reason"),
    [
        (LINES.encode()[:-20], 4, "bad_json"),
        (gzip.compress(NOISY)[:-700], 100, "truncated"),
        (zstd(NOISY)[:-700], 100, "truncated"),
        (gzip.compress(LINES.encode())[:40], 0, "truncated"),
        (zstd(LINES.encode())[:40], 0, "truncated"),
        (json.dumps(RECORDS).encode()[:-30], 4, "truncated"),
        (json.dumps(RECORDS).encode()[:-1], 5, "truncated"),
        (b"[", 0, "truncated"),
        ("".join(json.dumps(r) for r in RECORDS).encode()[:-9], 4, "truncated"),
        (LINES.encode("utf-16")[:-21], 4, "truncated"),
        (json.dumps(RECORDS).encode() + b" and more", 5, "bad_json"),
    ],
)
def test_what_is_cut_off_says_so_and_the_rest_is_read(tmp_path, raw, whole, reason):
    _, items = read(tmp_path / "cut", raw)
    good = [item for item in items if item.record]
    assert len(good) >= whole
    assert reasons(items)[-1] == reason
    assert items[-1].refused


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (as_parquet()[:-300], "cut off or damaged"),
        (b"PAR1" + b"x" * 50, "cut off or damaged"),
        (LINES.encode("utf-16-le"), "zero bytes"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"BZh91AY", "bzip2"),
        (os.urandom(40) + bytes(4000), "zero bytes"),
    ],
)
def test_a_file_that_is_nothing_we_read_is_refused_whole(tmp_path, raw, what):
    with pytest.raises(DataError, match=what):
        read(tmp_path / "odd", raw)


def test_encodings_are_refused_line_by_line(tmp_path):
    raw = LINES.replace("é", "e", 1).encode("latin-1", "replace") + LINES.encode()
    raw = raw.replace(b"Say 0", b"Say \xe9", 1)
    _, items = read(tmp_path / "x", raw)
    assert reasons(items).count("bad_encoding") >= 1
    assert sum(1 for item in items if item.record) >= 5


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "too_deep"),
        (b'{"a": ' + b"[" * 100_000, "too_deep"),
        (b'{"a": NaN}', "bad_json"), (b'{"a": Infinity}', "bad_json"),
        (b'{"a": 1e999}', "bad_json"), (b'{"a": -1e400}', "bad_json"),
        (b'{"a": "\\ud800"}', "bad_json"), (b'{"a": "\xed\xa0\x80"}', "bad_encoding"),
        (b'{"a": 1', "bad_json"), (b"[1]", "not_an_object"), (b"null", "not_an_object"),
        (b"\x00\x01", "bad_json"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("array", [False, True])
def test_bombs_and_nonsense_cost_their_own_record_only(tmp_path, line, reason, array):
    good = [json.dumps(r).encode() for r in RECORDS[:2]]
    if array and line.count(b"[") + line.count(b"{") != line.count(b"]") + line.count(b"}"):
        pytest.skip("in an array it takes what follows with it")
    raw = (
        b"[" + b",".join([good[0], line, good[1]]) + b"]"
        if array
        else b"\n".join([good[0], line, good[1]])
    )
    _, items = read(tmp_path / "x", raw)
    assert [item.record for item in items if item.record] == RECORDS[:2]
    assert reasons(items) == [reason]


def test_wide_bombs_duplicate_keys_and_huge_numbers_are_read(tmp_path):
    wide = b'{"a": [' + b"0," * 200_000 + b"0]}"
    _, items = read(tmp_path / "x", b'{"a": 1, "a": 2}\n' + wide + b'\n{"n": ' + b"9" * 300 + b"}")
    assert items[0].record == {"a": 2}  # the last one counts
    assert len(items[1].record["a"]) == 200_001
    assert items[2].record == {"n": int("9" * 300)}


def test_tables_with_rows_of_other_lengths(tmp_path):
    text = as_csv(",") + "too,few\r\n" + ",".join("toomany!") + "\r\n" + "\r\n" + '"open,1\r\nx'
    kind, items = read(tmp_path / "x.csv", text.encode())
    assert kind == "csv"
    assert sum(1 for item in items if item.record) == len(RECORDS)
    assert set(reasons(items)) == {"wrong_columns"}
    _, items = read(
        tmp_path / "x.csv", as_csv(",").encode("utf-8") + b"\xff,2,3,4,5,6\r\na,b,c,1,1,1\r\n"
    )
    assert reasons(items) == ["bad_encoding"]
    assert items[-1].record["instruction"] == "a"


def test_a_text_of_a_table_may_have_blank_lines(tmp_path):
    _, items = read(tmp_path / "x.csv", b'a,b,c\n"one\n\n two",2,3\n4,5,\n')
    assert [item.record for item in items] == [
        {"a": "one\n\n two", "b": "2", "c": "3"},
        {"a": "4", "b": "5", "c": None},
    ]


def test_parquet_cells_become_what_json_holds(tmp_path):
    table = pa.table(
        {
            "at": pa.array([1714564800123456789], pa.timestamp("ns", tz="UTC")),
            "f": pa.array([float("nan")]),
            "b": pa.array([b"text"]),
            "p": pa.array([b"\xff\xfe"]),
            "s": pa.array([90], pa.duration("s")),
            "l": pa.array([[{"a": 1, "b": None}]]),
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")
    _, (item,) = read(tmp_path / "x.parquet")
    at = "2024-05-01T12:00:00.123456+00:00"
    assert item.record == {
        "at": at, "f": None, "b": "text", "p": "//4=", "s": 90.0, "l": [{"a": 1, "b": None}],
    }  # fmt: skip


def test_a_packed_bomb_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "ALWAYS_UNPACKED_BYTES", 1 << 20)
    for pack in (gzip.compress, zstd):
        with pytest.raises(DataError, match="unpacks to more than 200 times"):
            read(tmp_path / "bomb", pack(b" " * (64 << 20)))


def test_memory_stays_bounded_by_long_lines_and_long_values(tmp_path):
    """100 MB in one line, in one array element, in one packed line: each in a process of 2 GB."""
    script = textwrap.dedent(
        """
        import resource, sys
        from pathlib import Path
        from tuneloop.lake.containers import look_into, read_records
        from tuneloop.lake.recognise import best_fit
        path = Path(sys.argv[1])
        best_fit({})
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        items = read_records(path, look_into(path, fits=best_fit), lambda n: None)
        print([item.refused.reason if item.refused else "ok" for item in items])
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
        """
    )
    good = json.dumps(RECORDS[0]).encode()
    long = b'{"a": "' + b"x" * 100_000_000 + b'"}'
    for raw in (
        b"\n".join([good, long, good]),
        b"[" + b",".join([good, long, good]) + b"]",
        gzip.compress(b"\n".join([good, long.replace(b"xx", b"\\n"), good]), compresslevel=1),
    ):
        (tmp_path / "x").write_bytes(raw)
        env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        args = [sys.executable, "-c", script, str(tmp_path / "x")]
        out = subprocess.run(args, env=env, capture_output=True, text=True, check=True).stdout
        told, mib = out.splitlines()
        assert told == "['ok', 'too_long', 'ok']"
        assert int(mib) < 5 * MAX_RECORD_BYTES / 2**20


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('ab"\\[]{},\n é'),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('a"\\]'), inner, max_size=3)
    ),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.dictionaries(st.text('a"\\[{'), values, max_size=3), max_size=5),
    st.booleans(), st.integers(1, 30), st.sampled_from([None, 1]), st.booleans(),
)  # fmt: skip
def test_values_are_found_wherever_the_chunks_end(records, array, chunk, indent, ascii_only):
    texts = [json.dumps(r, indent=indent, ensure_ascii=ascii_only) for r in records]
    raw = ("[" + ",\n".join(texts) + "]" if array else " ".join(texts)).encode()
    held = splitting._CHUNK_BYTES
    splitting._CHUNK_BYTES = chunk
    try:
        found = splitting.JsonSplitter(io.BytesIO(raw), array=array, max_bytes=9999, head_bytes=9)
        assert [json.loads(piece) for piece, _ in found] == records
        assert found.closed
    finally:
        splitting._CHUNK_BYTES = held


def test_a_text_of_a_table_above_the_bound_costs_its_own_row_alone(tmp_path, monkeypatch):
    for module in (containers, tabular):
        monkeypatch.setattr(module, "MAX_RECORD_BYTES", 1000)
    monkeypatch.setattr(containers, "RAW_BYTES", 100)
    long, many = "x, ''" * 500, "a\n, b\n" * 500
    for text in (long, f'"{long}"', f'"{many}"', f'"{long}\n{long}"', f'"he said ""{long}"" so"'):
        (tmp_path / "x.csv").write_text(f"prompt,completion\nq,{text}\nq2,a2\nq3,a3\n")
        container = containers.Container("csv")
        items = list(containers.read_records(tmp_path / "x.csv", container, lambda _: None))
        assert [item.record is None for item in items][-3:] == [True, False, False]
        assert len(items) == 3, text[:20]
