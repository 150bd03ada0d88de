"""The verb `simulate`: options become a SimulateConfig, the engine is opened where one answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from json import dumps as json_dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneloop.errors import TuneloopError

if TYPE_CHECKING:
    from tuneloop.simulate.champion import ChatEngine
    from tuneloop.simulate.stage import SimulateReport

# Option → key of SimulateConfig; options that were not given leave the key alone.
KEYS = {
    "labels": "labels.path",
    "text_column": "labels.text_column",
    "label_column": "labels.label_column",
    "golden_labels": "labels.golden_path",
    "n": "n_interactions",
    "seed": "seed",
    "model": "base_model",
}


def simulate(  # noqa: PLR0913 - each is an option of the command
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")],
    *,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="YAML of the simulation's keys.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override a key.")] = None,
    labels: Annotated[str | None, typer.Option(help="Labelled table; none: help desk.")] = None,
    text_column: Annotated[str | None, typer.Option(help="Its column of messages.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Its column of labels.")] = None,
    golden_labels: Annotated[str | None, typer.Option(help="Table of the golden set.")] = None,
    n: Annotated[int | None, typer.Option("-n", help="Interactions; default all rows.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed.")] = None,
    model: Annotated[str | None, typer.Option(help="Base model for run.yaml.")] = None,
    champion_of: Annotated[
        Path | None,
        typer.Option(help="Let the champion of this run config answer; none: a scripted one."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Make production traffic with known truth: events, golden set, truth, run.yaml."""
    from tuneloop.artefacts.printable import printable
    from tuneloop.config.load import load_model
    from tuneloop.config.simulate import SimulateConfig
    from tuneloop.present import print_json
    from tuneloop.runtime.progress import SilentProgress, TerminalProgress
    from tuneloop.simulate.stage import simulate as run_simulation

    given = {"labels": labels, "text_column": text_column, "label_column": label_column,
                 "golden_labels": golden_labels, "n": n, "seed": seed, "model": model}  # fmt: skip
    overrides = _as_overrides({KEYS[k]: v for k, v in given.items() if v is not None})
    if labels is not None:
        overrides.append("scenario=labels")
    if champion_of is not None:
        overrides.append("champion.kind=served")
    loaded, _ = load_model(SimulateConfig, config, [*overrides, *(set_ or [])])
    if loaded.champion.kind == "served" and champion_of is None:
        raise TuneloopError(
            "champion.kind served needs a system that answers",
            where="simulate",
            hint="name a run config with --champion-of",
        )
    progress: Any = SilentProgress() if json else TerminalProgress()
    with _engine(champion_of, progress) as engine:
        report = run_simulation(loaded, out, engine=engine, progress=progress)
    if json:
        print_json(report.model_dump(mode="json"))
    else:
        typer.echo(printable(_text(report), keep="\n"))
        typer.echo(f"try next: tuneloop run -c {out / 'run.yaml'}")


def _as_overrides(given: dict[str, Any]) -> list[str]:
    """Return options as `--set` takes them; quoted, so that a column called `5` stays a text."""
    return [f"{key}={json_dumps(value, ensure_ascii=False)}" for key, value in given.items()]


@contextlib.contextmanager
def _engine(run_config: Path | None, progress: Any) -> Iterator[ChatEngine | None]:
    """Open the engine of the system that serves users now, for the length of the block."""
    if run_config is None:
        yield None
        return
    from tuneloop.artefacts.store import Store
    from tuneloop.config.load import load_config
    from tuneloop.pipeline import Pipeline
    from tuneloop.runtime.serving import open_engine
    from tuneloop.simulate.champion import ServedEngine

    run = load_config(run_config).config
    pipeline = Pipeline(run, Store(run.store), progress=progress)
    work, served = pipeline.store.work / "simulate", pipeline.systems.serving_now()
    with open_engine([served], run.evaluate.engine, work=work, progress=progress) as engine:
        yield ServedEngine(engine, served)


def _text(report: SimulateReport) -> str:
    signals = ", ".join(f"{n:,} {signal}" for signal, n in report.signals.items())
    return "\n".join(
        [
            f"{report.out}: {report.n_interactions:,} interactions, "
            f"{report.n_feedback:,} pieces of feedback ({signals})",
            f"golden set: {report.n_golden:,} prompts; malformed lines: {report.n_malformed}",
            *_tables(report.rows),
        ]
    )


def _tables(rows: dict[str, int]) -> list[str]:
    """Return a line a table: what became of its rows, without what did not happen."""
    parts: dict[str, list[str]] = {}
    for name, n in rows.items():
        table, _, reason = name.partition(".")
        if n:
            parts.setdefault(table, []).append(f"{n:,} {reason.replace('_', ' ')}")
    return [f"{table.replace('_', ' ')}: {', '.join(said)}" for table, said in parts.items()]
