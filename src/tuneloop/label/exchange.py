"""Pairs to a file for people elsewhere, and their labels back, in the forms of their tools."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneloop.artefacts.digest import digest_file
from tuneloop.artefacts.labels import Journal, LabelPlan, Word
from tuneloop.errors import DataError
from tuneloop.label.pairs import AnswerPair
from tuneloop.label.session import decode

COLUMNS = ("item", "prompt", "answer_a", "answer_b", "label", "annotator")
RAW_CHARS = 500
_KINDS = {".jsonl": "lines", ".csv": "csv", ".json": "json"}
_WORDS = {"left": "a", "right": "b", "answer_a": "a", "answer_b": "b", "response-1": "a",
          "response-2": "b", "both": "t", "neither": "t", "same": "t", "": ""}  # fmt: skip


@dataclass
class Imported:
    """What became of a file's rows: read = accepted + rejected + duplicates + empty."""

    read: int = 0
    accepted: int = 0
    duplicates: int = 0
    empty: int = 0
    letters: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rejected(self) -> int:
        """Rows that are dead letters."""
        return len(self.letters)


@dataclass(frozen=True)
class _Row:
    """One label as a file states it."""

    line: int
    item: str
    label: str
    annotator: str
    raw: str


def write_pairs(
    path: Path, pairs: Sequence[AnswerPair], items: Sequence[str], plan: LabelPlan
) -> None:
    """Write pairs for people elsewhere; nothing in the file tells which system is which.

    `.jsonl` and `.csv` have a row a pair with an empty `label` (a, b, t or skip) and `annotator`;
    `.json` is a list of tasks as Label Studio takes them.

    Raises:
        DataError: if the name has another ending.
    """
    kind, by_id = _kind(path), {pair.id: pair for pair in pairs}
    rows = [_flat(by_id[item], plan) for item in items]
    if kind == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\r\n")
        writer.writeheader()
        writer.writerows({k: _no_formula(v) for k, v in row.items()} for row in rows)
        path.write_text(text.getvalue(), "utf-8-sig", newline="")
    elif kind == "json":
        tasks = [{"data": {k: row[k] for k in COLUMNS[:4]}} for row in rows]
        path.write_text(json.dumps(tasks, ensure_ascii=False, indent=1) + "\n", "utf-8")
    else:
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        path.write_text("".join(lines), "utf-8")


def read_labels(path: Path, plan: LabelPlan, journal: Journal, *, person: str | None) -> Imported:
    """Take a file's labels in: each valid one once, the others with line and reason.

    Takes what `write_pairs` wrote, Label Studio's JSON export and Argilla's records.

    Args:
        path: The file.
        plan: Says which side was A.
        journal: Where labels go.
        person: Who labelled, where a row does not say.

    Raises:
        DataError: if it cannot be read at all.
    """
    data = _bytes(path)
    by_file, drawn = digest_file(path), plan.drawn
    known = {
        (item, who): one.word for item, people in journal.in_force().items()
        for who, one in people.items()
    }  # fmt: skip
    found = Imported()
    for row in _rows(path, data, found):
        if not row.label.strip():
            found.empty += 1
            continue
        who = row.annotator.strip() or (person or "")
        word, wrong = _word(row, who, plan)
        if word is None:
            found.letters.append(_letter(row, *wrong))
            continue
        try:
            before = known.get((row.item, _name(who)))
        except DataError as error:
            found.letters.append(_letter(row, "annotator", error.what))
            continue
        if before == word:
            found.duplicates += 1
        elif before is not None:
            detail = f"{who} said {before} of it already; undo that first"
            found.letters.append(_letter(row, "conflict", detail))
        else:
            first = drawn[row.item].first
            journal.append(row.item, word, person=who, first=first, by_file=by_file)
            known[row.item, _name(who)] = word
            found.accepted += 1
    return found


def write_letters(path: Path, letters: Sequence[Mapping[str, Any]]) -> None:
    """Write the rejected rows, one JSON object a line."""
    lines = [json.dumps(one, ensure_ascii=False) + "\n" for one in letters]
    path.write_text("".join(lines), "utf-8")


def _word(row: _Row, who: str, plan: LabelPlan) -> tuple[Word | None, tuple[str, str]]:
    if row.item not in plan.drawn:
        return None, ("unknown_item", f"{row.item!r} is none of these pairs")
    if not who:
        return None, ("annotator", "nobody is named: fill `annotator`, or give --as")
    label = row.label.strip().lower()
    word = decode(_WORDS.get(label, label), plan.drawn[row.item].first)
    if word is None or word == "undo":
        return None, ("label", f"{row.label!r} is none of a, b, t, skip")
    return word, ("", "")


def _name(who: str) -> str:
    from tuneloop.artefacts.approvals import person_of
    from tuneloop.errors import DecisionError

    try:
        return person_of(who)
    except DecisionError as error:
        raise DataError(error.what, where="annotator") from error


def _letter(row: _Row, reason: str, detail: str) -> dict[str, Any]:
    return {"line": row.line, "reason": reason, "detail": detail, "raw": row.raw[:RAW_CHARS]}


def _flat(pair: AnswerPair, plan: LabelPlan) -> dict[str, str]:
    champion_first = plan.drawn[pair.id].first == "champion"
    a, b = (pair.champion, pair.candidate)[:: 1 if champion_first else -1]
    prompt = "\n\n".join(f"{m.get('role')}: {m.get('content')}" for m in pair.messages)
    return dict(zip(COLUMNS, (pair.id, prompt, a, b, "", ""), strict=True))


def _no_formula(value: str) -> str:
    """Keep a spreadsheet from running what a user or a model wrote."""
    return f"'{value}" if value[:1] in "=+-@\t\r" and value else value


def _rows(path: Path, data: bytes, found: Imported) -> Iterator[_Row]:
    kind = _kind(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"it is not UTF-8: {error.reason}", where=str(path)) from error
    if kind == "csv":
        csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
        reader = csv.DictReader(io.StringIO(text, newline=""))
        if "item" not in (reader.fieldnames or ()) or "label" not in (reader.fieldnames or ()):
            raise DataError("the columns item and label are needed", where=str(path))
        for record in reader:
            found.read += 1
            yield _row(reader.line_num, {k: v for k, v in record.items() if k}, unquote=True)
        return
    for number, one in _json_records(path, text, kind):
        if not isinstance(one, dict):
            found.read += 1
            letter = {"line": number, "reason": "bad_json", "detail": "it is no JSON object"}
            found.letters.append(letter | {"raw": str(one)[:RAW_CHARS]})
            continue
        for flat in _flattened(one):
            found.read += 1
            yield _row(number, flat)


def _json_records(path: Path, text: str, kind: str) -> Iterator[tuple[int, Any]]:
    if kind == "json":
        try:
            listed = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"not JSON: {error}", where=str(path)) from error
        records = listed.get("records", [listed]) if isinstance(listed, dict) else listed
        yield from enumerate(records if isinstance(records, list) else [records], 1)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError):
            yield number, line


def _flattened(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a record's labels: one of ours, each annotation of a task, each response."""
    if isinstance(record.get("annotations"), list):
        yield from _of_label_studio(record)
    elif isinstance(record.get("responses"), dict | list):
        yield from _of_argilla(record)
    else:
        yield record


def _of_label_studio(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    data = task.get("data") if isinstance(task.get("data"), dict) else {}
    assert isinstance(data, dict)
    for one in task["annotations"]:
        if not isinstance(one, dict) or one.get("was_cancelled"):
            continue
        label: Any = ""
        for result in one.get("result") or []:
            value = result.get("value") if isinstance(result, dict) else None
            if isinstance(value, dict):
                chosen = value.get("choices") or value.get("selected") or ""
                label = chosen[0] if isinstance(chosen, list) else chosen
        by = one.get("completed_by")
        by = by.get("email") or by.get("id") if isinstance(by, dict) else by
        yield {"item": data.get("item"), "label": label, "annotator": by}


def _of_argilla(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    meta = record.get("metadata") if isinstance(record.get("metadata"), dict) else {}
    fields = record.get("fields") if isinstance(record.get("fields"), dict) else {}
    assert isinstance(meta, dict)
    assert isinstance(fields, dict)
    item = meta.get("item") or fields.get("item") or record.get("id")
    responses = record["responses"]
    held = responses.get("label") if isinstance(responses, dict) else responses
    for one in held if isinstance(held, list) else []:
        if isinstance(one, dict) and one.get("status", "submitted") == "submitted":
            values = one.get("values")
            label = one.get("value")
            if isinstance(values, dict) and isinstance(values.get("label"), dict):
                label = values["label"].get("value")
            yield {"item": item, "label": label, "annotator": one.get("user_id")}


def _row(number: int, record: Mapping[str, Any], *, unquote: bool = False) -> _Row:
    item, label, who = (
        "" if record.get(name) is None else str(record[name])
        for name in ("item", "label", "annotator")
    )
    if unquote and item[:1] == "'" and item[1:2] in ("=", "+", "-", "@"):
        item = item[1:]
    raw = json.dumps({"item": item, "label": label, "annotator": who}, ensure_ascii=False)
    return _Row(number, item, label, who, raw)


def _kind(path: Path) -> str:
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        hint = ".jsonl, .csv, or .json for Label Studio"
        raise DataError("its name must say what it is", where=str(path), hint=hint)
    return kind


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"it cannot be read: {error.strerror}", where=str(path)) from error
