"""Write training sets as other trainers read them: from a built set, or from a lake as stated."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tuneloop.artefacts.store import Store
from tuneloop.errors import DataError
from tuneloop.lake.examples import KINDS, Example, InexpressibleError, Kind, Target, targets

Split = Literal["train", "validation", "all"]
SPLITS: tuple[Split, ...] = ("train", "validation", "all")
BATCH_ROWS = 1_024


class ExportReport(BaseModel):
    """What was written: rows, items that made none by reason, and what rows lost.

    `left_out` names reasons of the lake (`tie`, `undecided`, …) and of the target (`tools`,
    `several_turns`, …); `changed` counts rows that were written without something.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    format: str
    rows: int = 0
    left_out: dict[str, int] = Field(default_factory=dict)
    changed: dict[str, int] = Field(default_factory=dict)
    files: list[str] = Field(default_factory=list)


def export_lake(
    uri: str, *, kind: str, format: str, out: Path, version: int | None = None,
    each_vote: bool = False,
) -> ExportReport:  # fmt: skip
    """Write what a lake holds as stated (see `lake/stated.py`), oldest first.

    Raises:
        DataError: if there is no such lake, format, kind or kind of file.
    """
    from tuneloop.lake.shelf import Shelf
    from tuneloop.lake.stated import stated_rows
    from tuneloop.lake.table import open_table

    checked, target = _check(kind, format, out)
    table = open_table(uri, version)
    if table is None:
        raise DataError("there is no lake", where=uri, hint="tuneloop ingest makes one")
    with (
        tempfile.TemporaryDirectory(prefix=".export-", dir=out.parent) as folder,
        Shelf(Path(folder) / "shelf.sqlite") as shelf,
    ):
        shelf.fill(table)
        rows = stated_rows(shelf, checked, each_vote=each_vote)
        return _write(rows, checked, target, out)


def export_set(
    store: Store, digest: str, *, kind: str, format: str, out: Path, split: str = "all"
) -> ExportReport:
    """Write a built set's rows in their order.

    Args:
        store: Where the set lies.
        digest: The set's digest or the beginning of it.
        kind: sft, preference or kto.
        format: A target's name.
        out: The file; its suffix says how rows are written.
        split: train, validation, or all: training rows first.

    Raises:
        StoreError: if the store has no such artefact.
        DataError: if it is no built set, or there is no such format, kind, split or file.
    """
    from tuneloop.lake.built import built_rows

    checked, target = _check(kind, format, out)
    if split not in SPLITS:
        raise DataError(f"{split!r} is no split", where="--split", hint=", ".join(SPLITS))
    found = [artefact for artefact in store.by_digest(digest) if artefact.kind == "build"]
    if not found:
        raise DataError(
            f"{digest} is no built set", where=store.root, hint="tuneloop status names digests"
        )
    splits = ("train", "validation") if split == "all" else (split,)
    paths = [found[0].path(f"{checked}_{one}.parquet") for one in splits]
    return _write(built_rows(paths, checked), checked, target, out)


def _check(kind: str, format: str, out: Path) -> tuple[Kind, Target]:
    known = next((one for one in KINDS if one == kind), None)
    if known is None:
        raise DataError(f"{kind!r} is no kind of set", where="--kind", hint=", ".join(KINDS))
    target = targets().get(format)
    if target is None:
        raise DataError(
            f"{format!r} cannot be written", where="--format", hint=", ".join(targets())
        )
    suffixes = target.suffixes.get(known)
    if suffixes is None:
        held = ", ".join(target.suffixes)
        raise DataError(f"{format} has no {kind} sets", where="--kind", hint=f"it has {held}")
    if out.suffix not in suffixes:
        raise DataError(
            f"{format} reads no {out.suffix or 'files without a suffix'} for {kind}",
            where="--out",
            hint=f"name it {' or '.join(f'*{suffix}' for suffix in suffixes)}",
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
        if out.is_dir():
            raise IsADirectoryError(21, "it is a folder")
    except OSError as error:
        raise DataError(f"the file cannot be written: {error.strerror}", where=str(out)) from error
    return known, target


def _write(rows: Iterable[Example | str], kind: Kind, target: Target, out: Path) -> ExportReport:
    left_out: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    n_rows = 0
    with _writer(out, kind) as write:
        for row in rows:
            if isinstance(row, str):
                left_out[row] += 1
                continue
            try:
                record = target.express(row)
            except InexpressibleError as reason:
                left_out[str(reason)] += 1
                continue
            write(record)
            n_rows += 1
            if not target.reasoning and any(m.get("reasoning") for m in row.all_messages):
                changed["reasoning_left_out"] += 1
    files = [str(out)]
    for name, entries in (target.describe(kind, out) if target.describe else {}).items():
        _merge_json(out.with_name(name), entries)
        files.append(str(out.with_name(name)))
    return ExportReport(
        kind=kind,
        format=target.name,
        rows=n_rows,
        left_out=dict(sorted(left_out.items())),
        changed=dict(sorted(changed.items())),
        files=files,
    )


@contextlib.contextmanager
def _writer(out: Path, kind: Kind) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Write records to a file beside, which takes the name at the end or disappears."""
    part = out.with_name(f".{out.name}.{uuid.uuid4().hex}.part")
    writers = {".jsonl": _write_lines, ".json": _write_array, ".parquet": _write_parquet}
    try:
        with writers[out.suffix](part, kind) as write:
            yield write
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _write_lines(path: Path, kind: Kind) -> Iterator[Callable[[dict[str, Any]], None]]:
    with path.open("w", encoding="utf-8") as file:
        yield lambda record: print(json.dumps(record, ensure_ascii=False), file=file)


@contextlib.contextmanager
def _write_array(path: Path, kind: Kind) -> Iterator[Callable[[dict[str, Any]], None]]:
    with path.open("w", encoding="utf-8") as file:
        begin = "[\n"

        def write(record: dict[str, Any]) -> None:
            nonlocal begin
            file.write(begin + json.dumps(record, ensure_ascii=False))
            begin = ",\n"

        yield write
        file.write("\n]\n" if begin != "[\n" else "[]\n")


@contextlib.contextmanager
def _write_parquet(path: Path, kind: Kind) -> Iterator[Callable[[dict[str, Any]], None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tuneloop.lake.built import as_columns, column_schema

    schema = column_schema(kind)
    held: list[dict[str, Any]] = []

    with pq.ParquetWriter(path, schema, compression="zstd") as file:

        def flush() -> None:
            if held:
                file.write_table(pa.Table.from_pylist(held, schema))
                held.clear()

        def write(record: dict[str, Any]) -> None:
            held.append(as_columns(record))
            if len(held) >= BATCH_ROWS:
                flush()

        yield write
        flush()


def _merge_json(path: Path, entries: dict[str, Any]) -> None:
    """Put entries into an object of JSON on disk, whole or not at all."""
    known: Any = {}
    if path.is_file():
        try:
            known = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise DataError(f"it is no JSON: {error}", where=str(path)) from error
        if not isinstance(known, dict):
            raise DataError("it is no object of JSON", where=str(path))
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    part.write_text(json.dumps(known | entries, indent=2, ensure_ascii=False) + "\n", "utf-8")
    os.replace(part, path)
