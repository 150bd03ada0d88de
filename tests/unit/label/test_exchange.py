"""Pairs out and labels in: every form, nothing told, nothing lost in silence."""

import csv
import json

import pytest
from labelled import pairs

from tuneloop.artefacts.labels import Journal, put_plan
from tuneloop.artefacts.store import Store
from tuneloop.errors import DataError
from tuneloop.label.exchange import read_labels, write_pairs
from tuneloop.label.pairs import AnswerPair
from tuneloop.label.plan import in_force, make_plan


@pytest.fixture
def desk(tmp_path):
    store, made = Store(str(tmp_path / "store")), pairs(8)
    return store, made, put_plan(store, make_plan(made, seed=0))


def take(desk, path, person=None):
    store, _, plan = desk
    return read_labels(path, plan, Journal(store, plan.pairs), person=person)


def filled(path, label):
    """Fill the labels of an exported file in."""
    if path.suffix == ".csv":
        rows = list(csv.DictReader(path.open(encoding="utf-8-sig", newline="")))
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(row | {"label": label(row), "annotator": "bo"} for row in rows)
    elif path.suffix == ".json":
        tasks = json.loads(path.read_text())
        path.write_text(json.dumps([
            task | {"annotations": [{"completed_by": {"email": "bo"}, "result": [
                {"type": "choices", "value": {"choices": [label(task["data"])]}}]}]}
            for task in tasks
        ]))  # fmt: skip
    else:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        rows = [row | {"label": label(row), "annotator": "bo"} for row in rows]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".json"])
def test_out_and_in_again(desk, tmp_path, suffix):
    store, made, plan = desk
    path = tmp_path / f"pairs{suffix}"
    write_pairs(path, made, plan.order[:5], plan)
    assert not any(word in path.read_text() for word in ("champion", "candidate", "0.5"))
    filled(path, lambda row: "a" if row["answer_a"].startswith("new") else "b")
    found = take(desk, path)
    assert (found.read, found.accepted, found.rejected) == (5, 5, 0)
    labels = in_force(store, plan).labels
    assert [one.human for one in labels] == [1.0] * 5  # the new answer, wherever it stood
    again = take(desk, path)
    assert (again.accepted, again.duplicates) == (0, 5)


def test_label_studio_pairwise_and_argilla_records(desk, tmp_path):
    store, _, plan = desk
    studio, argilla = tmp_path / "studio.json", tmp_path / "argilla.jsonl"
    one, two = plan.order[:2]
    studio.write_text(json.dumps([{"data": {"item": one}, "annotations": [
        {"completed_by": 7, "result": [{"type": "pairwise", "value": {"selected": "left"}}]},
        {"completed_by": 8, "was_cancelled": True, "result": []},
    ]}]))  # fmt: skip
    argilla.write_text(json.dumps({
        "id": "x", "metadata": {"item": two},
        "responses": {"label": [{"value": "tie", "user_id": "u1", "status": "submitted"},
                                {"value": "a", "user_id": "u2", "status": "draft"}]},
    }))  # fmt: skip
    assert take(desk, studio).accepted == 1
    assert take(desk, argilla).accepted == 1
    said = {s.item: s for s in Journal(store, plan.pairs).said}
    assert said[one].word == plan.drawn[one].first
    assert said[two].word == "tie"


def test_what_is_wrong_is_a_dead_letter_with_line_and_reason(desk, tmp_path):
    _, _, plan = desk
    item, path = plan.order[0], tmp_path / "labels.jsonl"
    rows = [
        {"item": item, "label": "a", "annotator": "bo"},
        {"item": item, "label": "b", "annotator": "BO"},
        {"item": "nowhere", "label": "a", "annotator": "bo"},
        {"item": item, "label": "better", "annotator": "cy"},
        {"item": item, "label": "a"},
        {"item": item, "label": "", "annotator": "bo"},
        {"item": item, "label": "a", "annotator": "\x00"},
        {"item": item, "label": "undo", "annotator": "bo"},
    ]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows) + "[1]\nnonsense\n")
    found = take(desk, path)
    assert (found.read, found.accepted, found.empty) == (10, 1, 1)
    assert [(one["line"], one["reason"]) for one in found.letters] == [
        (2, "conflict"), (3, "unknown_item"), (4, "label"), (5, "annotator"), (7, "annotator"),
        (8, "label"), (9, "bad_json"), (10, "bad_json"),
    ]  # fmt: skip
    assert found.read == found.accepted + found.rejected + found.duplicates + found.empty


def test_a_spreadsheet_runs_nothing(tmp_path):
    pair = AnswerPair("p", [{"role": "user", "content": "q"}], "=HYPERLINK(1)", "+1")
    plan, path = make_plan([pair], seed=0), tmp_path / "pairs.csv"
    write_pairs(path, [pair], ["p"], plan)
    row = next(csv.DictReader(path.open(encoding="utf-8-sig", newline="")))
    assert {row["answer_a"], row["answer_b"]} == {"'=HYPERLINK(1)", "'+1"}


def test_a_file_that_cannot_be_read_says_so(desk, tmp_path):
    for name, text in (("x.json", "{"), ("x.csv", "a,b\n1,2\n"), ("x.txt", "")):
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(DataError):
            take(desk, path)
    with pytest.raises(DataError, match="cannot be read"):
        take(desk, tmp_path / "none.csv")
