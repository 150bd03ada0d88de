"""The verb `erase`."""

from __future__ import annotations

from typing import Annotated

import typer


def erase(
    user: Annotated[str, typer.Option("--user", help="The person's id, as your system has it.")],
    store: Annotated[str, typer.Option("--store", envvar="TUNELOOP_STORE")] = ".tuneloop",
    tenant: Annotated[str, typer.Option(help="Whose user it is.")] = "default",
    lake: Annotated[list[str] | None, typer.Option("--lake", help="A lake elsewhere.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Remove a person from the lake and every artefact; list what learned from them."""
    from tuneloop.artefacts.store import Store
    from tuneloop.erasure import Erasure, erasure_lines
    from tuneloop.erasure import erase as work
    from tuneloop.lake.erase import Person
    from tuneloop.lake.pseudonyms import Pseudonyms
    from tuneloop.present import show
    from tuneloop.runtime.progress import SilentProgress, TerminalProgress

    called = Pseudonyms.from_environment()
    own, unnamed = called(tenant, user), called("default", user)
    person = Person(tenant, frozenset({user, own}), frozenset({unnamed}) - {own})
    erasure = Erasure(Store(store), person, user)
    progress = SilentProgress() if json else TerminalProgress()
    report = work(erasure, lakes=lake or [], dry_run=dry_run, progress=progress)
    show(report, erasure_lines, as_json=json)
    if report.get("mentions"):
        raise typer.Exit(1)
