"""The verb `ingest`: files of any format become events in a lake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tuneloop.errors import TuneloopError

TOTALS = ("read", "accepted", "rejected", "duplicates", "n_events")


def ingest(  # noqa: PLR0913 - each is an option of the command
    files: Annotated[list[str], typer.Argument(help="Files, or hf:name[:config][:split].")],
    lake: Annotated[str, typer.Option("--lake", help="The Delta table to append to.")],
    *,
    format_: Annotated[
        str, typer.Option("--format", help="Their format; auto tells it from the fields.")
    ] = "auto",
    dead_letter: Annotated[
        Path | None,
        typer.Option("--dead-letter", help="Where refused records go; default beside the lake."),
    ] = None,
    tenant: Annotated[str, typer.Option(help="Tenant of events that name none.")] = "default",
    pseudonyms: Annotated[
        str, typer.Option(help="keyed hashes of people, or as_given: they are pseudonyms already.")
    ] = "keyed",
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Take files into a lake: what is new is appended, what is refused is written down."""
    from tuneloop.lake.ingest import ingest_files
    from tuneloop.lake.letters import default_letters
    from tuneloop.lake.pseudonyms import Pseudonyms
    from tuneloop.lake.reading import Intake
    from tuneloop.present import show
    from tuneloop.runtime.progress import SilentProgress, TerminalProgress

    if pseudonyms not in ("keyed", "as_given"):
        raise TuneloopError(f"{pseudonyms!r} is neither keyed nor as_given", where="--pseudonyms")
    uri = lake if "://" in lake else str(Path(lake).resolve())
    letters = dead_letter or default_letters(uri)
    intake = Intake(
        uri,
        SilentProgress() if json else TerminalProgress(),
        tenant=tenant,
        pseudonyms=Pseudonyms.from_environment() if pseudonyms == "keyed" else None,
    )
    reports = ingest_files([(name, format_) for name in files], intake, dead_letter=letters)
    reports = [report.again() if report.seen_before else report for report in reports]
    show(_summary(files, reports, lake, letters), _lines, as_json=json)


def _summary(files: list[str], reports: list[Any], lake: str, letters: Path) -> dict[str, Any]:
    rows = [
        {"source": name} | report.model_dump() for name, report in zip(files, reports, strict=True)
    ]
    by_reason: dict[str, int] = {}
    for report in reports:
        for reason, n in report.by_reason.items():
            by_reason[reason] = by_reason.get(reason, 0) + n
    totals = {name: sum(row[name] for row in rows) for name in TOTALS}
    by_reason = dict(sorted(by_reason.items()))
    rest = {"by_reason": by_reason, "lake": lake, "dead_letter": str(letters), "files": rows}
    return totals | rest


def _lines(summary: dict[str, Any]) -> list[str]:
    lines = []
    rows = summary["files"]
    for row in rows if len(rows) == 1 else [*rows, summary | {"source": "in all"}]:
        said = f"{row['source']}: read {row['read']:,}, accepted {row['accepted']:,}, "
        said += f"rejected {row['rejected']:,}, duplicates {row['duplicates']:,}"
        said += f" → {row['n_events']:,} events"
        if row.get("format"):
            said += f" ({row['format']}{', seen before' if row['seen_before'] else ''})"
        lines.append(said)
        lines += [f"  {n:,} {reason}" for reason, n in row["by_reason"].items()]
    lines.append(f"lake: {summary['lake']}")
    if summary["rejected"]:
        lines.append(f"rejected records: {summary['dead_letter']}")
    return lines
