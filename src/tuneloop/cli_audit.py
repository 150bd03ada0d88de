"""The verb `audit`: a look at a log export and past judgments, without a model or a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuneloop.cli_options import JsonOption

ExportArgument = Annotated[str, typer.Argument(help="Your logs, in any format `ingest` reads.")]
JudgmentsArgument = Annotated[
    str, typer.Argument(help="Past judgments as `compare` reads them, with `comparison`.")
]
FormatOption = Annotated[str, typer.Option("--format", help="The export's format.")]
HtmlOption = Annotated[Path | None, typer.Option("--html", help="Also write a page.")]
SettingsOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Keys of the gate (decide.yaml).")
]


def audit(  # noqa: PLR0913 - each is an option of the command
    export: ExportArgument,
    judgments: JudgmentsArgument,
    html: HtmlOption = None,
    format_: FormatOption = "auto",
    config: SettingsOption = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a key: n_bootstrap=2000.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say which past wins were noise, what stays unseen, who speaks, how the judge leans."""
    from tuneloop.audit.events import read_log
    from tuneloop.audit.page import audit as look_at
    from tuneloop.audit.page import audit_lines, audit_page
    from tuneloop.compare.reading import read_judgments
    from tuneloop.config.compare import CompareConfig
    from tuneloop.config.load import load_model
    from tuneloop.present import show
    from tuneloop.runtime.progress import SilentProgress, TerminalProgress

    settings = load_model(CompareConfig, config, set_ or [])[0]
    rows = read_judgments(judgments)  # small, and its mistakes are told before the long part
    progress = SilentProgress() if json else TerminalProgress()
    total = Path(export).stat().st_size if Path(export).is_file() else None
    progress.start("reading the export", total=total)
    log = read_log(export, format_, say=progress.advance)
    progress.done(f"{len(log.answers):,} interactions, {len(log.words):,} signals")
    progress.start("comparing")
    found = look_at(log, rows, settings)
    progress.done()
    if html:
        html.write_text(audit_page(found, title=f"Audit of {Path(export).name}"), "utf-8")
    show(found, audit_lines, as_json=json)
