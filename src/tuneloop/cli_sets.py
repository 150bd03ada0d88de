"""The verbs that explain sets: `explain`, `card`, `diff`."""

from __future__ import annotations

from typing import Annotated

import typer

StoreOption = Annotated[str, typer.Option("--store", envvar="TUNELOOP_STORE", help="Store.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def explain(
    row: Annotated[str, typer.Argument(help="A row's id, or the beginning of it.")],
    store: StoreOption = ".tuneloop",
    built: Annotated[
        str | None, typer.Option("--set", help="Only this set: its digest or the beginning.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show the events, rule, weights and versions behind a training row."""
    from tuneloop.artefacts.store import Store
    from tuneloop.explain import explain as explain_row
    from tuneloop.explain import explain_lines
    from tuneloop.present import show

    show(explain_row(Store(store), row, built=built), explain_lines, as_json=json)


def card(
    digest: Annotated[str, typer.Argument(help="A built set's digest, or the beginning of it.")],
    store: StoreOption = ".tuneloop",
    json: JsonOption = False,
) -> None:
    """Show a set's card: counts, sources, signals, gates, biases, terms, examples."""
    from tuneloop.artefacts.store import Store
    from tuneloop.cards import card_lines, card_report
    from tuneloop.present import show

    show(card_report(Store(store), digest), card_lines, as_json=json)


def diff(
    old: Annotated[str, typer.Argument(help="A built set's digest, or the beginning of it.")],
    new: Annotated[str, typer.Argument(help="Another one's.")],
    store: StoreOption = ".tuneloop",
    json: JsonOption = False,
) -> None:
    """Show which rows one set has and another has not, and how they shifted."""
    from tuneloop.artefacts.store import Store
    from tuneloop.cards import diff_lines, diff_sets
    from tuneloop.present import show

    show(diff_sets(Store(store), old, new), diff_lines, as_json=json)
