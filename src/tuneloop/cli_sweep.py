"""The verb `sweep`: trainings that differ in a few keys, compared on the validation part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tuneloop.cli_options import ConfigOption, JsonOption, SetOption


def sweep(
    config: ConfigOption,
    space: Annotated[Path, typer.Option("--space", help="The sweep's YAML: keys and values.")],
    set_: SetOption = None,
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, help="Trials, in place of the file's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of table, plot and best config.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Try values of training keys; finished trials come from the store."""
    from tuneloop.artefacts.store import Store
    from tuneloop.config.load import load_model
    from tuneloop.config.sweep import SweepConfig
    from tuneloop.present import show
    from tuneloop.runtime.progress import SilentProgress, TerminalProgress
    from tuneloop.sweep.page import sweep_report, table_lines, write_sweep
    from tuneloop.sweep.run import open_sweep, run_sweep

    changes = [] if trials is None else [f"trials={trials}"]
    opened = open_sweep(config, set_ or [], load_model(SweepConfig, space, changes)[0])
    progress = SilentProgress() if json else TerminalProgress()
    done = run_sweep(opened, progress=progress, told=lambda trial: _say(opened, trial, quiet=json))
    store = Store(opened.run.store)
    folder = out or (store.local_root or store.work) / "reports" / opened.run.name / "sweep"
    files = {name: str(path) for name, path in write_sweep(folder, opened, done).items()}
    report = sweep_report(opened, done) | {"files": files}

    def lines(found: dict[str, Any]) -> list[str]:
        return [*table_lines(found), "", *found["files"].values()]

    show(report, lines, as_json=json)
    if report["best"] is None:
        raise typer.Exit(1)


def _say(sweep: Any, trial: Any, *, quiet: bool) -> None:
    if quiet:
        return
    took = ", ".join(f"{key.removeprefix('train.')}={value}" for key, value in trial.params.items())
    came_to = f"{trial.value:.5f}" if trial.value is not None else f"missing: {trial.missing}"
    n = f"{trial.number + 1}/{sweep.space.n_trials}"
    typer.echo(f"trial {n}: {came_to}  {took}", err=True)
