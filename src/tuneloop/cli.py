"""Verbs: parse, load the config, call the stages, print."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from tuneloop import __version__
from tuneloop.cli_audit import audit
from tuneloop.cli_cohorts import cohorts
from tuneloop.cli_compare import compare
from tuneloop.cli_decide import decide, evaluate
from tuneloop.cli_erase import erase
from tuneloop.cli_export import export
from tuneloop.cli_golden import golden_app
from tuneloop.cli_ingest import ingest
from tuneloop.cli_label import label
from tuneloop.cli_look import lineage, registry_app, status
from tuneloop.cli_merge import merge
from tuneloop.cli_options import ConfigOption, ForceOption, JsonOption, SetOption
from tuneloop.cli_power import power
from tuneloop.cli_promote import approve, bundle, promote, replay, why
from tuneloop.cli_run import open_pipeline, run_stages
from tuneloop.cli_sets import card, diff, explain
from tuneloop.cli_simulate import simulate
from tuneloop.cli_sweep import sweep
from tuneloop.errors import TuneloopError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Turn feedback into a better model, and prove it before anyone is served by it.",
)
app.command()(simulate)
app.command()(ingest)
app.command()(export)
app.command()(merge)
app.command()(erase)
app.command()(explain)
app.command()(card)
app.command()(diff)
app.command()(cohorts)
app.command()(evaluate)
app.command()(decide)
app.command()(label)
app.command()(audit)
app.command()(approve)
app.command()(bundle)
app.command()(replay)
app.command()(why)
app.command()(compare)
app.command()(power)
app.command()(sweep)
app.command()(status)
app.command()(lineage)
app.add_typer(golden_app, name="golden")
registry_app.command("promote")(promote)
app.add_typer(registry_app, name="registry")

INTERRUPTED = 130


def main() -> None:
    """Run the command line; errors a user can act on are printed without a traceback."""
    from tuneloop.present import print_error

    signal.signal(signal.SIGTERM, _interrupt)
    as_json = "--json" in sys.argv
    try:
        code = app(standalone_mode=False)
    except TuneloopError as error:
        print_error(error, as_json=as_json)
        sys.exit(error.exit_code)
    except typer.TyperException as error:  # how the command was called
        usage: Any = error
        if as_json:
            print_error(TuneloopError(usage.format_message(), where="usage"), as_json=True)
        else:
            usage.show()
        sys.exit(usage.exit_code)
    if code == INTERRUPTED:
        typer.echo("interrupted; what was finished is kept, the same command goes on", err=True)
    sys.exit(code if isinstance(code, int) else 0)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    pass


# -- configs -------------------------------------------------------------------------
@app.command()
def validate(config: ConfigOption, set_: SetOption = None, json: JsonOption = False) -> None:
    """Check a config: every problem at once, with its line."""
    from tuneloop.config.load import load_config
    from tuneloop.present import print_json

    loaded = load_config(config, set_ or [])
    if json:
        print_json({"ok": True, "config": loaded.config.model_dump(mode="json", by_alias=True)})
    else:
        typer.secho(f"{config}: ok", fg="green")


@app.command()
def plan(config: ConfigOption, set_: SetOption = None, json: JsonOption = False) -> None:
    """Show what a run would do: stages, what is cached, rows, tokens, memory, one example."""
    from tuneloop.plan import make_plan, plan_lines
    from tuneloop.present import show

    show(make_plan(open_pipeline(config, set_, quiet=True)[0]), plan_lines, as_json=json)


@app.command()
def schema(
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("docs/reference"),
    json: JsonOption = False,
) -> None:
    """Write the JSON schemas and the page of all config keys (docs/reference)."""
    from tuneloop.present import show
    from tuneloop.schemas import write_reference

    files = [str(path) for path in write_reference(out)]
    show({"files": files}, lambda result: list(result["files"]), as_json=json)


# -- the pipeline --------------------------------------------------------------------
@app.command()
def run(
    config: ConfigOption,
    set_: SetOption = None,
    from_: Annotated[str, typer.Option("--from", help="Skip the stages before.")] = "lake",
    until: Annotated[str, typer.Option("--until", help="Stop after this stage.")] = "report",
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Run the pipeline; stages whose inputs did not change come from the store."""
    from tuneloop.config.load import load_config
    from tuneloop.stages import STAGES, stage_order

    for option, value in (("--from", from_), ("--until", until)):
        if value not in STAGES:
            raise TuneloopError(f"{value!r} is no stage", where=option, hint=", ".join(STAGES))
    order = stage_order(load_config(config, set_ or []).config.train.order)
    begin, end = order.index(from_), order.index(until)
    if begin > end:
        hint = " → ".join(order)
        raise TuneloopError(f"--from {from_} comes after --until {until}", where="run", hint=hint)
    stages = order[begin : end + 1]
    run_stages(config, set_, span=(from_, until), force=stages if force else (), json=json)


def _stage_command(name: str, summary: str) -> None:
    def command(
        config: ConfigOption,
        set_: SetOption = None,
        force: ForceOption = False,
        json: JsonOption = False,
    ) -> None:
        run_stages(config, set_, span=("lake", name), force=[name] if force else (), json=json)

    command.__doc__ = summary
    app.command(name)(command)


_stage_command("curate", "Make curated rows: join, redact, deduplicate, guard, split.")
_stage_command("build", "Make SFT, preference and KTO sets from curated rows.")
_stage_command("sft", "Train the SFT adapter.")
_stage_command("dpo", "Train on preference pairs, on top of the stage before.")
_stage_command("kto", "Train on answers called good or bad, on top of the stage before.")
_stage_command("report", "Write the report page.")
