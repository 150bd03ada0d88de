"""lake: take in event files and pin one version of the table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tuneloop.artefacts.digest import canonical_json
from tuneloop.artefacts.manifest import Counts
from tuneloop.artefacts.stage import StageContext, StageOutput
from tuneloop.config.data import LakeConfig
from tuneloop.errors import DataError

if TYPE_CHECKING:
    from tuneloop.lake.reading import IngestReport


def take_in(
    config: LakeConfig, *, uri: str, context: StageContext, tenant: str = "default"
) -> StageOutput:
    """Take in the configured files, then pin the table's newest or configured version.

    Runs on every run: files the ledger knows cost one digest, a known version one small read.
    Files: `lake.json` (n_interactions, n_feedback, content_digest, watermark) and
    `dead_letter.jsonl`, both the same however the events came in. `details` says where the
    table is (`uri`, `version`) and what became of each file (`report`).

    Raises:
        DataError: if a file cannot be read, or there are no interactions.
    """
    from tuneloop.lake.table import open_table, summarise

    context.work.mkdir(parents=True, exist_ok=True)
    if "://" not in uri:
        uri = str(Path(uri).resolve())
    dead_letter = context.work / "dead_letter.jsonl"
    reports = _ingest_all(config, uri, dead_letter, tenant=tenant, context=context)
    table = open_table(uri, config.version)
    if table is None:
        raise DataError(
            "the lake does not exist", where=uri, hint="name event files in lake.events"
        )
    summary = summarise(uri, table)
    if summary.n_interactions == 0:
        raise DataError(
            "the lake holds no interactions",
            where=uri,
            hint=f"{sum(r.rejected for r in reports)} records were refused: see {dead_letter}",
        )
    lake_json = context.work / "lake.json"
    lake_json.write_text(canonical_json(summary.model_dump()), encoding="utf-8")
    return StageOutput(
        files={"lake.json": lake_json, "dead_letter.jsonl": dead_letter},
        counts=_counts(reports, summary.n_interactions + summary.n_feedback),
        details={
            "uri": uri,
            "version": table.version(),
            "report": [
                {"source": Path(one.path).name} | report.model_dump(exclude={"seen_before"})
                for one, report in zip(config.events, reports, strict=True)
            ],
        },
    )


def _ingest_all(
    config: LakeConfig, uri: str, dead_letter: Path, *, tenant: str, context: StageContext
) -> list[IngestReport]:
    from tuneloop.lake.ingest import ingest_files
    from tuneloop.lake.pseudonyms import Pseudonyms
    from tuneloop.lake.reading import Intake

    keyed = config.pseudonyms == "keyed" and config.events
    pseudonyms = Pseudonyms.from_environment() if keyed else None
    intake = Intake(uri, context.progress, tenant=tenant, pseudonyms=pseudonyms)
    files = [(one.path, one.format) for one in config.events]
    return ingest_files(files, intake, dead_letter=dead_letter)


def _counts(reports: list[IngestReport], n_out: int) -> Counts:
    dropped: dict[str, int] = {}
    for report in reports:
        drops = report.by_reason | {"duplicate": report.duplicates}
        for reason, n in drops.items():
            if n:
                dropped[reason] = dropped.get(reason, 0) + n
    return Counts(n_in=sum(report.read for report in reports), dropped=dropped, n_out=n_out)
