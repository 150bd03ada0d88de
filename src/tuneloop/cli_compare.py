"""The verb `compare`: the gate's statistics for anyone's judgments, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tuneloop.config.compare import CompareConfig


def compare(
    judgments: Annotated[
        str, typer.Option("--judgments", help="JSON lines, plain or .gz; - is standard input.")
    ],
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Keys of the gate (decide.yaml).")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a key: min_improvement=0.02.")
    ] = None,
    comparison: Annotated[
        str | None, typer.Option("--comparison", help="Which one, where the file holds several.")
    ] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 0 PROMOTE, 10 HOLD, 20 REJECT.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Say what judgments of two systems prove: win rate, error, length, position, verdict."""
    from tuneloop.artefacts.decision import EXIT_CODES
    from tuneloop.compare.reading import read_judgments, select
    from tuneloop.compare.report import compare_judgments, comparison_lines
    from tuneloop.present import show

    settings = _settings(config, set_ or [])
    rows = select(read_judgments(judgments), comparison, source=judgments)
    found = compare_judgments(rows, settings)
    show(found, comparison_lines, as_json=json)
    if exit_code:
        raise typer.Exit(EXIT_CODES[found["verdict"]])


def _settings(path: Path | None, overrides: list[str]) -> CompareConfig:
    from tuneloop.config.compare import CompareConfig
    from tuneloop.config.load import load_model

    return load_model(CompareConfig, path, overrides)[0]
