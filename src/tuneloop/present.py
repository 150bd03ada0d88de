"""What commands print: lines for people, JSON for machines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from tuneloop.artefacts.printable import printable, printable_json
from tuneloop.errors import ConfigError, TuneloopError

if TYPE_CHECKING:
    from tuneloop.artefacts.store import Artefact, Store

T = TypeVar("T")


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    typer.echo(printable_json(json.dumps(value, indent=2, ensure_ascii=False, default=str)))


def show(value: T, lines: Callable[[T], list[str]], *, as_json: bool) -> None:
    """Print a result as JSON, or as the lines that people read."""
    if as_json:
        print_json(value)
    else:
        typer.echo("\n".join(printable(line) for line in lines(value)))


def print_error(error: TuneloopError, *, as_json: bool) -> None:
    """Print an error on stderr, or as JSON on stdout."""
    if as_json:
        body = {"what": error.what, "where": error.where, "hint": error.hint}
        if isinstance(error, ConfigError):
            body["problems"] = error.problems  # type: ignore[assignment]
        print_json({"error": body})
    else:
        typer.secho(printable(f"error: {error}", keep="\n"), fg="red", err=True)


def artefact_row(artefact: Artefact, *, cached: bool | None = None) -> dict[str, Any]:
    """Return what machines need to know of an artefact."""
    manifest = artefact.manifest
    row: dict[str, Any] = {
        "kind": manifest.kind,
        "digest": manifest.digest,
        "key": manifest.key,
        "counts": manifest.counts.model_dump(),
        "seconds": manifest.seconds,
    }
    return row if cached is None else row | {"cached": cached}


class StageLines:
    """Prints a line when a stage begins and one when its artefact is there."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.ran: set[str] = set()
        self.rows: dict[str, dict[str, Any]] = {}

    def __call__(self, stage: str, artefact: Artefact | None) -> None:
        """Print the line of this moment."""
        if artefact is None:
            self.ran.add(stage)
            if not self.quiet and stage != "golden":
                typer.secho(f"▸ {stage}", bold=True, err=True)
            return
        self.rows[stage] = artefact_row(artefact, cached=stage not in self.ran)
        if not self.quiet and stage != "golden":
            typer.secho(f"✓ {stage:<9}{self._summary(stage, artefact)}", fg="green", err=True)

    def _summary(self, stage: str, artefact: Artefact) -> str:
        manifest = artefact.manifest
        counts = manifest.counts
        parts = [f"{counts.n_in:,} in"] if counts.n_in else []
        dropped = sum(counts.dropped.values())
        parts += [f"{dropped:,} dropped"] if dropped else []
        parts += [f"{counts.n_out:,} out"] if counts.n_out else []
        took = f"{manifest.seconds:.0f} s" if stage in self.ran else "from the store"
        return f" {manifest.digest[:12]}  {', '.join([*parts, took])}"


def export_results(store: Store, name: str, artefacts: dict[str, Artefact]) -> dict[str, Path]:
    """Copy the decision and the report to a place people find; return their paths.

    They lie in `reports/<run>/` below a local store, or below the work folder of a remote one.
    """
    folder = (store.local_root or store.work) / "reports" / name
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for stage, file in (("decide", "decision.json"), ("report", "report.html")):
        if stage in artefacts:
            partial = folder / f".{file}"
            shutil.copyfile(artefacts[stage].path(file), partial)
            paths[stage] = partial.replace(folder / file)
    return paths
