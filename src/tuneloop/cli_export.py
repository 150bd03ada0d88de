"""The verb `export`: rows for another trainer, or a trained model for others to load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tuneloop.cli_options import JsonOption, StoreOption
from tuneloop.errors import TuneloopError

FormatOption = Annotated[
    str,
    typer.Option(
        "--format",
        help="Of rows: trl, openai, axolotl, llamafactory or ms-swift. "
        "Of a model: safetensors, gguf or hub (a folder with a model card).",
    ),
]
OutOption = Annotated[
    Path,
    typer.Option("--out", help="File (.jsonl, .json, .parquet, .gguf) or model folder to write."),
]
EachVoteOption = Annotated[
    bool, typer.Option("--each-vote/--majority", help="Of a lake: a row for every vote.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--adapter", "--model", help="Instead, a trained model: digest, folder or `champion`."
    ),
]
MergedOption = Annotated[
    bool, typer.Option("--merged/--unmerged", help="Of an adapter: base and adapter in one.")
]


def export(  # noqa: PLR0913 - each is an option of the command
    kind: Annotated[str | None, typer.Option(help="Of rows: sft, preference or kto.")] = None,
    *,
    format_: FormatOption,
    out: OutOption,
    set_: Annotated[str | None, typer.Option("--set", help="Digest of a built set.")] = None,
    store: StoreOption = ".tuneloop",
    split: Annotated[str, typer.Option(help="train, validation or all, of a set.")] = "all",
    lake: Annotated[str | None, typer.Option("--lake", help="Instead, a lake as stated.")] = None,
    version: Annotated[int | None, typer.Option(help="The lake's version; default newest.")] = None,
    each_vote: EachVoteOption = False,
    model: ModelOption = None,
    base: Annotated[str | None, typer.Option(help="Of an adapter: its base.")] = None,
    merged: MergedOption = False,
    licence: Annotated[str | None, typer.Option(help="Of hub: the base's, as apache-2.0.")] = None,
    outtype: Annotated[str | None, typer.Option(help="Of gguf: f16, bf16, q8_0, auto.")] = None,
    push: Annotated[
        str | None, typer.Option(help="Of hub: upload, private, to owner/name.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write training rows as another trainer reads them, or a trained model for others to load."""
    from tuneloop.artefacts.store import Store

    if sum(one is not None for one in (set_, lake, model)) != 1:
        raise TuneloopError(
            "name a set with --set, a lake with --lake, or a model with --adapter", where="export"
        )
    of_models = {"base": base, "merged": merged, "licence": licence, "outtype": outtype,
                 "push": push}  # fmt: skip
    if model is not None:
        if kind is not None:
            raise TuneloopError("--kind is of rows; a model has none", where="export")
        _export_model(Store(store), model, {"format": format_, "out": out} | of_models, json)
        return
    wrong = [f"--{name}" for name, value in of_models.items() if value]
    if wrong or kind is None:
        what = f"{', '.join(wrong)}: of models only" if wrong else "name --kind"
        raise TuneloopError(what, where="export", hint="rows are sft, preference or kto")
    from tuneloop.lake.export import export_lake, export_set
    from tuneloop.present import show

    if set_ is not None:
        report = export_set(Store(store), set_, kind=kind, format=format_, out=out, split=split)
    else:
        assert lake is not None
        report = export_lake(
            lake, kind=kind, format=format_, out=out, version=version, each_vote=each_vote
        )
    show(report.model_dump(), _lines, as_json=json)


def _export_model(store: Any, reference: str, options: dict[str, Any], as_json: bool) -> None:
    from tuneloop.present import show
    from tuneloop.publish.export import ExportOptions, export_lines, export_trained

    show(export_trained(store, reference, ExportOptions(**options)), export_lines, as_json=as_json)


def _lines(report: dict[str, Any]) -> list[str]:
    first, *others = report["files"]
    lines = [f"{first}: {report['rows']:,} {report['kind']} rows for {report['format']}"]
    for what in ("left_out", "changed"):
        said = [f"{n:,} {reason.replace('_', ' ')}" for reason, n in report[what].items()]
        if said:
            lines.append(f"{what.replace('_', ' ')}: {', '.join(said)}")
    return lines + [f"also written: {name}" for name in others]
