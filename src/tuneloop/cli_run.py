"""What the verbs of the pipeline share: open it, run it, print what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer


def open_pipeline(
    config: Path, set_: list[str] | None, *, quiet: bool, **options: Any
) -> tuple[Any, Any]:
    """Return a config's pipeline, and the lines that it prints."""
    from tuneloop.artefacts.store import Store
    from tuneloop.config.load import load_config
    from tuneloop.pipeline import Pipeline
    from tuneloop.present import StageLines
    from tuneloop.runtime.execution import rank
    from tuneloop.runtime.progress import SilentProgress, TerminalProgress

    loaded = load_config(config, set_ or [])
    quiet = quiet or rank() > 0
    lines = StageLines(quiet=quiet)
    progress = SilentProgress() if quiet else TerminalProgress()
    run, store = loaded.config, Store(loaded.config.store)
    return Pipeline(run, store, progress=progress, on_stage=lines, **options), lines


def run_stages(
    config: Path,
    set_: list[str] | None,
    *,
    span: tuple[str, str],
    force: Any,
    json: bool,
    moves: bool = True,
) -> dict[str, Any]:
    """Run a config's stages and print what they came to; return the decision.

    Args:
        config: The run's file.
        set_: Overrides.
        span: First and last stage; those before the first must be in the store already.
        force: Stages to run again.
        json: Print JSON for machines.
        moves: Whether a PROMOTE may move the alias.
    """
    from tuneloop.next_steps import verdict_end
    from tuneloop.present import export_results, print_json
    from tuneloop.runtime.execution import rank

    pipeline, lines = open_pipeline(config, set_, quiet=json, begin=span[0], force=force)
    artefacts = pipeline.run(until=span[1], moves=moves)
    if rank() > 0:
        return {}
    paths = export_results(pipeline.store, pipeline.config.name, artefacts)
    decision = artefacts["decide"].json("decision.json") if "decide" in artefacts else {}
    if json:
        files = {stage: str(path) for stage, path in paths.items()}
        run_id = pipeline.record.run_id if pipeline.record else None
        body = {"run": run_id, "stages": lines.rows, "notes": pipeline.notes}
        if "decide" in artefacts:  # what answers took in passing is in no digest
            body["usage"] = artefacts["decide"].manifest.details.get("usage")
        print_json(body | {"decision": decision or None, "files": files})
    elif decision:
        again = f"tuneloop plan -c {config}" if pipeline.trains else None
        typer.echo(verdict_end(artefacts["decide"], paths, again=again))
    return decision
