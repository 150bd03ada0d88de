"""The verbs `evaluate` and `decide`: compare two systems, and say what follows."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer

from tuneloop.cli_options import ConfigOption, ForceOption, JsonOption, SetOption
from tuneloop.cli_run import run_stages

CandidateOption = Annotated[
    str | None,
    typer.Option(
        "--candidate",
        help="A system in place of what the run trains: base, alias, a digest, a folder with an "
        "adapter or a model, a YAML file of a system.",
    ),
]
ChampionOption = Annotated[
    str | None, typer.Option("--champion", help="What it must beat, in the same words.")
]
GoldenOption = Annotated[
    Path | None, typer.Option("--golden", help="Another golden set than the config's.")
]
ExitCodeOption = Annotated[
    bool, typer.Option("--exit-code", help="Exit with 0 PROMOTE, 10 HOLD, 20 REJECT.")
]


def evaluate(  # noqa: PLR0913 - each is an option of the command
    config: ConfigOption,
    candidate: CandidateOption = None,
    champion: ChampionOption = None,
    golden: GoldenOption = None,
    set_: SetOption = None,
    force: ForceOption = False,
    exit_code: ExitCodeOption = False,
    json: JsonOption = False,
) -> None:
    """Let champion and candidate answer the golden set, and score them.

    With --candidate nothing is trained before; verdict and report follow, and no alias moves.
    """
    until = "report" if candidate else "evaluate"
    decision = run_stages(
        config, _overrides(set_, candidate, champion, golden), span=("lake", until),
        force=["evaluate"] if force else (), json=json, moves=False,
    )  # fmt: skip
    _leave(decision, exit_code)


def decide(  # noqa: PLR0913 - each is an option of the command
    config: ConfigOption,
    candidate: CandidateOption = None,
    champion: ChampionOption = None,
    golden: GoldenOption = None,
    set_: SetOption = None,
    force: ForceOption = False,
    exit_code: ExitCodeOption = False,
    json: JsonOption = False,
) -> None:
    """Say PROMOTE, HOLD or REJECT, and why."""
    decision = run_stages(
        config, _overrides(set_, candidate, champion, golden), span=("lake", "decide"),
        force=["decide"] if force else (), json=json,
    )  # fmt: skip
    _leave(decision, exit_code)


def _overrides(
    set_: list[str] | None, candidate: str | None, champion: str | None, golden: Path | None
) -> list[str]:
    """Return the options as overrides of the config; quoted, so that a digest stays a text."""
    said = {"evaluate.candidate": candidate, "evaluate.champion": champion, "golden.path": golden}
    named = {key: str(value) for key, value in said.items() if value is not None}
    return [*(set_ or []), *(f"{key}={jsonlib.dumps(value)}" for key, value in named.items())]


def _leave(decision: dict[str, object], exit_code: bool) -> None:
    from tuneloop.artefacts.decision import EXIT_CODES

    if exit_code and decision:  # under a launcher rank 0 speaks for all
        raise typer.Exit(EXIT_CODES[decision["verdict"]])  # type: ignore[index]
