"""The verb `merge`: an adapter becomes part of its base."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuneloop.cli_options import JsonOption, StoreOption
from tuneloop.errors import TuneloopError


def merge(
    adapter: Annotated[
        str, typer.Argument(help="Digest of a trained adapter, its folder, or `champion`.")
    ],
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder to write; must not be there yet.")],
    base: Annotated[
        str | None,
        typer.Option("--base", help="Folder, GGUF file or hub id; default what its run says."),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="bf16, fp16 or fp32; default the base's own.")
    ] = None,
    store: StoreOption = ".tuneloop",
    json: JsonOption = False,
) -> None:
    """Merge an adapter into its base in 16 bit, and check the logits of what was written."""
    from tuneloop.artefacts.store import Store
    from tuneloop.present import show
    from tuneloop.publish.export import merge_lines
    from tuneloop.publish.trained import find_base, find_trained
    from tuneloop.publish.write import write_merged

    if dtype not in (None, "bf16", "fp16", "fp32"):
        raise TuneloopError(f"no dtype {dtype!r}", where="--dtype", hint="bf16, fp16 or fp32")
    opened = Store(store)
    trained = find_trained(opened, adapter)
    found = find_base(trained, opened, base)
    check = write_merged(trained, found, out, dtype=dtype)
    show({"out": str(out), "base": found.name, **check}, merge_lines, as_json=json)
