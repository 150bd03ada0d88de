"""The report: one page that shows what happened and why, readable without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuneloop.artefacts.manifest import Counts
from tuneloop.artefacts.stage import (
    Adapter,
    CuratedSet,
    Decision,
    Evaluation,
    ExampleSet,
    LakeVersion,
    StageContext,
    StageOutput,
)
from tuneloop.artefacts.store import Artefact
from tuneloop.config.decide import ReportConfig

if TYPE_CHECKING:
    import jinja2

TABLES = ("answers", "checks", "judgments", "distributions")


@dataclass(frozen=True)
class ReportInputs:
    """What a page is made of. `adapters` holds stage name and adapter, in training order.

    Where nothing was trained for the candidate, only decision and evaluation are there.
    """

    decision: Decision
    evaluation: Evaluation
    examples: ExampleSet | None = None
    curated: CuratedSet | None = None
    lake: LakeVersion | None = None
    adapters: Sequence[tuple[str, Adapter]] = ()

    def stages(self) -> list[tuple[str, str, Artefact]]:
        """Return each stage's name, what it counts, and its artefact, in the pipeline's order."""
        found: list[tuple[str, str, Artefact | None]] = [
            ("lake", "lines of the event files", self.lake),
            ("curate", "interactions", self.curated),
            ("build", "training examples", self.examples),
            *((name, "rows", adapter) for name, adapter in self.adapters),
            ("evaluate", "golden prompts", self.evaluation),
            ("decide", "golden prompts", self.decision),
        ]
        return [(name, what, artefact) for name, what, artefact in found if artefact]


def report(
    inputs: ReportInputs, config: ReportConfig, context: StageContext, *, title: str
) -> StageOutput:
    """Write `report.html`, self-contained, the verdict first, under the heading `title`."""
    stages = inputs.stages()
    context.progress.start("writing the report")
    page = render(_gather(stages, config) | {"title": title})
    path = context.work / "report.html"
    path.write_text(page, encoding="utf-8")
    context.progress.done(f"{len(page.encode()) / 1024:.0f} KiB")
    return StageOutput(files={"report.html": path}, counts=Counts(n_in=len(stages), n_out=1))


def _gather(stages: Sequence[tuple[str, str, Artefact]], config: ReportConfig) -> dict[str, Any]:
    """Return everything the templates name."""
    from tuneloop.artefacts.decision import DecisionRecord
    from tuneloop.report import view, words

    by_name = {name: artefact for name, _, artefact in stages}
    evaluation, decision = by_name["evaluate"], by_name["decide"]
    record = DecisionRecord.model_validate(decision.json("decision.json"))
    rows = {name: _rows(evaluation, name) for name in TABLES}
    trained = [(n, a) for n, a in by_name.items() if n in ("sft", "dpo", "kto")]
    prompts = evaluation.json("evaluation.json")["prompts"]
    binding, beside = view.split_reasons(record)
    return {
        "d": record,
        "p": record.primary,
        "binding": binding,
        "beside": beside,
        "certificates": _json(evaluation, "certificate.json").get("judges") or [],
        "item_words": words.ITEMS,
        "glossary": words.GLOSSARY,
        "forest": view.forest(record),
        "funnel": view.funnel(stages),
        "lake": _json(by_name.get("lake"), "lake.json"),
        "curated": _json(by_name.get("curate"), "summary.json"),
        "examples_built": _json(by_name.get("build"), "summary.json"),
        "trains": "build" in by_name,
        "training": view.training(trained),
        "checks": view.check_table(rows["checks"]),
        "answers": view.answer_table(rows["answers"]),
        "distributions": rows["distributions"],
        "outcomes": view.pick_examples(record, rows, prompts, config.n_examples),
        "lineage": view.lineage([(name, artefact) for name, _, artefact in stages]),
        "decision_digest": decision.digest,
    }


def render(view: dict[str, Any]) -> str:
    """Return the page."""
    return str(templates().get_template("report.html.j2").render(view))


def templates() -> jinja2.Environment:
    """Return the templates. Autoescape is on: what users and models wrote is data, not markup."""
    import jinja2

    from tuneloop.report import numbers

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tuneloop.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for show in (numbers.level, numbers.share, numbers.gap, numbers.size, numbers.interval,
                 numbers.tick, numbers.number, numbers.p_value, numbers.words):  # fmt: skip
        environment.filters[show.__name__] = show
    return environment


def _rows(artefact: Artefact, name: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    if f"{name}.parquet" not in artefact.manifest.files:
        return []
    return list(pq.read_table(artefact.path(f"{name}.parquet")).to_pylist())


def _json(artefact: Artefact | None, name: str) -> dict[str, Any]:
    return dict(artefact.json(name)) if artefact and name in artefact.manifest.files else {}
