"""Verbs that look back: status, lineage, registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tuneloop.cli_options import ConfigOption, JsonOption, SetOption, StoreOption
from tuneloop.errors import TuneloopError

registry_app = typer.Typer(no_args_is_help=True, help="Which system is the champion, and was.")


def status(config: ConfigOption, set_: SetOption = None, json: JsonOption = False) -> None:
    """Show the runs of this config's store, newest last, and the champion."""
    from tuneloop.history import status_lines, status_report
    from tuneloop.present import show

    run, store, alias = _alias(config, set_)
    show(status_report(store, run.name, alias), status_lines, as_json=json)


def lineage(
    what: Annotated[
        str | None, typer.Argument(help="A decision.json, or an artefact's digest.")
    ] = None,
    store: StoreOption = ".tuneloop",
    events: Annotated[bool, typer.Option("--events", help="List the events it rests on.")] = False,
    subject: Annotated[
        str | None,
        typer.Option("--subject", help="Instead, list all that learned from this person's events."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Walk from a decision back to the events it rests on, or from a person to what learned."""
    from tuneloop import lineage as walk
    from tuneloop.artefacts.store import Store
    from tuneloop.present import show

    if (what is None) == (subject is None):
        raise TuneloopError("name a decision.json or digest, or --subject", where="lineage")
    if subject is not None:
        show(walk.subject_report(Store(store), subject), walk.subject_lines, as_json=json)
    elif what is not None:
        report = walk.lineage_report(Store(store), what, events=events)
        show(report, walk.lineage_lines, as_json=json)


@registry_app.command("list")
def registry_list(
    store: StoreOption = ".tuneloop",
    json: JsonOption = False,
) -> None:
    """List every champion and what it was before."""
    from tuneloop.artefacts.store import Store
    from tuneloop.history import registry_lines, registry_report
    from tuneloop.present import show

    show(registry_report(Store(store)), registry_lines, as_json=json)


@registry_app.command("rollback")
def registry_rollback(
    config: ConfigOption,
    reason: Annotated[str, typer.Option(help="Why; kept in the history.")],
    set_: SetOption = None,
    to: Annotated[int | None, typer.Option(help="Generation; default the one before.")] = None,
    json: JsonOption = False,
) -> None:
    """Make an earlier system the champion again, as a new generation."""
    import getpass

    from tuneloop.decide.registry import rollback
    from tuneloop.present import show

    _, store, alias = _alias(config, set_)
    new = rollback(store, alias, actor=getpass.getuser(), reason=reason, to=to)
    line = f"generation {new.number}: {new.system.name} {new.digest[:12]}"
    show(new.model_dump(mode="json"), lambda _: [line], as_json=json)


def _alias(config: Path, set_: list[str] | None) -> tuple[Any, Any, Any]:
    """Return a config, its store and its champion alias; no model is touched."""
    from tuneloop.artefacts.store import Store
    from tuneloop.config.load import load_config
    from tuneloop.systems import alias_of

    run = load_config(config, set_ or []).config
    return run, Store(run.store), alias_of(run)
