"""The verb `export`: a built set or a lake becomes a file another trainer reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tuneloop.cli_options import JsonOption, StoreOption
from tuneloop.errors import TuneloopError


def export(  # noqa: PLR0913 - each is an option of the command
    kind: Annotated[str, typer.Option(help="sft, preference or kto.")],
    *,
    format_: Annotated[
        str, typer.Option("--format", help="trl, openai, axolotl, llamafactory or ms-swift.")
    ],
    out: Annotated[Path, typer.Option("--out", help="File to write: .jsonl, .json or .parquet.")],
    set_: Annotated[str | None, typer.Option("--set", help="Digest of a built set.")] = None,
    store: StoreOption = ".tuneloop",
    split: Annotated[str, typer.Option(help="train, validation or all, of a set.")] = "all",
    lake: Annotated[str | None, typer.Option("--lake", help="Instead, a lake as stated.")] = None,
    version: Annotated[int | None, typer.Option(help="The lake's version; default newest.")] = None,
    each_vote: Annotated[
        bool, typer.Option("--each-vote/--majority", help="Of a lake: a row for every vote.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Write training rows as another trainer reads them, from a built set or from a lake."""
    from tuneloop.artefacts.store import Store
    from tuneloop.lake.export import export_lake, export_set
    from tuneloop.present import show

    if (set_ is None) == (lake is None):
        raise TuneloopError("name a set with --set, or a lake with --lake", where="export")
    if set_ is not None:
        report = export_set(Store(store), set_, kind=kind, format=format_, out=out, split=split)
    else:
        assert lake is not None
        report = export_lake(
            lake, kind=kind, format=format_, out=out, version=version, each_vote=each_vote
        )
    show(report.model_dump(), _lines, as_json=json)


def _lines(report: dict[str, Any]) -> list[str]:
    first, *others = report["files"]
    lines = [f"{first}: {report['rows']:,} {report['kind']} rows for {report['format']}"]
    for what in ("left_out", "changed"):
        said = [f"{n:,} {reason.replace('_', ' ')}" for reason, n in report[what].items()]
        if said:
            lines.append(f"{what.replace('_', ' ')}: {', '.join(said)}")
    return lines + [f"also written: {name}" for name in others]
