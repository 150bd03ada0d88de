"""The verb `cohorts`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def cohorts(  # noqa: PLR0913 - each is an option of the command
    digest: Annotated[str, typer.Argument(help="A curated set, or the beginning of its digest.")],
    by: Annotated[
        str, typer.Option(help="segment, system, template, intent; several are crossed.")
    ] = "segment",
    compare: Annotated[
        tuple[str, str] | None, typer.Option(help="Two versions, the older first.")
    ] = None,
    within: Annotated[str, typer.Option(help="Versions of what: system or template.")] = "system",
    plot: Annotated[
        Path | None, typer.Option(help="Also draw it, as .svg or .png (needs matplotlib).")
    ] = None,
    store: Annotated[str, typer.Option("--store", envvar="TUNELOOP_STORE")] = ".tuneloop",
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Show who likes the answers, and which cohort got worse between two versions."""
    from tuneloop.artefacts.store import Store
    from tuneloop.cohorts import cohort_lines, cohort_report, plot_cohorts
    from tuneloop.errors import StoreError
    from tuneloop.present import show

    found = [a for a in Store(store).by_digest(digest) if a.kind == "curate"]
    if not found:
        raise StoreError(f"{digest!r} is no curated set", where=store)
    columns = tuple(name.strip() for name in by.split(",") if name.strip())
    report = cohort_report(found[0], by=columns, compare=compare, within=within)
    if plot:
        plot_cohorts(report, plot)
    show(report, cohort_lines, as_json=json)
