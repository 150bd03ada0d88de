"""The verb `power`: prompts for an effect, the effect for prompts, and what labels are worth."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tuneloop.errors import TuneloopError


def power(  # noqa: PLR0913 - each is an option of the command
    effect: Annotated[
        float | None, typer.Option(help="True difference to be seen, in win-rate points.")
    ] = None,
    n: Annotated[int | None, typer.Option("--n", help="Prompts there are.")] = None,
    *,
    labels: Annotated[
        int | None, typer.Option(help="Prompts that people label beside the judge.")
    ] = None,
    correlation: Annotated[
        float, typer.Option(help="Of the judge's score with people's labels; 0: no help.")
    ] = 0.5,
    discordance: Annotated[
        float, typer.Option(help="Share of prompts that one side wins; the rest are ties.")
    ] = 0.6,
    icc: Annotated[
        float, typer.Option("--icc", help="Correlation of prompts within a cluster.")
    ] = 0.0,
    cluster_size: Annotated[float, typer.Option(help="Prompts a cluster, on average.")] = 1.0,
    alpha: Annotated[float, typer.Option(help="One-sided level of the gate.")] = 0.05,
    candidates: Annotated[int, typer.Option(help="Candidates tried on these prompts.")] = 1,
    margin: Annotated[
        float, typer.Option(help="Points that must be exceeded (min_improvement).")
    ] = 0.0,
    chance: Annotated[float, typer.Option("--power", help="Chance to see the effect.")] = 0.8,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Say how many prompts show an effect, or which effect so many prompts show."""
    from tuneloop.present import show
    from tuneloop.sizing import Design, size, size_lines

    design = Design(
        n=n, labels=labels, correlation=correlation, discordance=discordance, icc=icc,
        cluster_size=cluster_size, alpha=alpha, n_candidates=candidates, margin=margin / 100,
        power=chance,
    )  # fmt: skip
    problems = [*design.problems(), *_asked(effect, n, margin)]
    if problems:
        raise TuneloopError("; ".join(problems), where="power", hint="see `tuneloop power --help`")
    found: dict[str, Any] = size(design, None if effect is None else effect / 100)
    show(found, size_lines, as_json=json)


def _asked(effect: float | None, n: int | None, margin: float) -> list[str]:
    found = []
    if effect is None and n is None:
        found.append("give --effect (how many prompts?) or --n (which effect?), or both")
    if effect is not None and not 0 < effect <= 50:
        found.append(f"--effect is {effect:g}: win-rate points above 0, at most 50")
    elif effect is not None and effect <= margin:
        found.append(f"--effect {effect:g} does not exceed --margin {margin:g}: nothing proves it")
    return found
