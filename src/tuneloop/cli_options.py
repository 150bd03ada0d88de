"""Options that several verbs have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The run's YAML file.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Override a key: train.sft.lr=2e-4.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Run the stage again although the store has it.")
]
StoreOption = Annotated[str, typer.Option("--store", envvar="TUNELOOP_STORE", help="Store.")]
