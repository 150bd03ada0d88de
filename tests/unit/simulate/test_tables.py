import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tuneloop.errors import DataError
from tuneloop.simulate.tables import Row, read_table


def read(path, **kwargs):
    return read_table(path, **{"text": "text", "label": "label", "max_chars": 1000} | kwargs)


ROWS = [
    ("Wo ist mein Paket? 📦", "Wo ist es"),
    ("price, and: 'more'", "price-list"),
    ("日本語", "c"),
]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_gives_the_same_rows(tmp_path, kind):
    path = tmp_path / f"t.{kind}"
    if kind == "parquet":
        columns = {"text": [t for t, _ in ROWS], "label": [c for _, c in ROWS], "x": [1, 2, 3]}
        pq.write_table(pa.table(columns), path)
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps({"text": t, "label": c}) for t, c in ROWS))
    else:
        gap = "," if kind == "csv" else "\t"
        body = "\n".join(f'"{t}"{gap}"{c}"' for t, c in ROWS)
        path.write_text(f"\ufefftext{gap}label\n{body}\n", encoding="utf-8")
    table = read(path)
    assert table.rows == [Row(t, c) for t, c in ROWS]
    assert not table.dropped


def test_rows_without_text_or_label_and_broken_rows_are_counted(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('text,label\n" ",a\nhello,\nhi,b\none,two,three\nshort\n')
    table = read(path)
    assert table.rows == [Row("hi", "b")]
    assert table.dropped == {"empty_text": 1, "empty_label": 2, "malformed": 1}


def test_repeated_texts_are_kept_once_and_contradictions_not_at_all(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("text,label\nHello  there,a\nhello there,a\nwhat now,a\nWhat now,b\n")
    table = read(path)
    assert table.rows == [Row("Hello  there", "a")]
    assert table.dropped == {"repeated_text": 1, "two_labels": 2}


def test_long_texts_are_cut_at_a_word(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("text,label\n" + "word " * 500 + ",a\n" + "x" * 900 + ",b\n")
    table = read(path, max_chars=101)
    assert table.n_cut == 2
    assert table.rows[0].text == "word " * 19 + "word"
    assert len(table.rows[1].text) == 101


def test_numbers_as_labels_are_read_as_written_by_people(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": ["a b", "c d", "e"], "label": [1.0, 2.5, None]}), path)
    table = read(path)
    assert [row.label for row in table.rows] == ["1", "2.5"]
    assert table.dropped == {"empty_label": 1}


def test_a_missing_column_is_named_with_those_there_are(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("utterance,intent\nhi,a\n")
    with pytest.raises(DataError, match="'text', 'label'") as caught:
        read(path)
    assert "utterance" in caught.value.hint


def test_half_signs_and_odd_line_ends_do_no_harm(tmp_path):
    path = tmp_path / "t.jsonl"
    rows = [{"text": "half \ud83d of it", "label": "a\udc00"}, {"text": "x\u2028y", "label": "b"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    path.write_text(path.read_text() + '{"text": "raw\u2028end", "label": "c"}\n')
    table = read(path)
    assert [row.label for row in table.rows] == ["a", "b", "c"]
    for row in table.rows:
        row.text.encode()


@pytest.mark.parametrize("name", ["t.xlsx", "t", "gone.csv", "bad.csv", "bad.parquet"])
def test_what_is_no_table_is_an_error_and_no_traceback(tmp_path, name):
    if name != "gone.csv":
        (tmp_path / name).write_bytes(b"text,label\n\xff\xfe\xff,a\n")
    with pytest.raises(DataError):
        read(tmp_path / name)
