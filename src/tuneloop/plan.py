"""What a run would do, before it does it."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneloop.artefacts import runs
from tuneloop.artefacts import stage as kinds
from tuneloop.artefacts.digest import digest_file
from tuneloop.artefacts.golden import read_golden
from tuneloop.artefacts.manifest import FileRef, Manifest, Parent, contents_digest
from tuneloop.artefacts.store import Artefact, Store
from tuneloop.artefacts.systems import SystemSpec
from tuneloop.config.base import Section
from tuneloop.config.train import METHODS
from tuneloop.pipeline import Pipeline
from tuneloop.plan_costs import cost_lines, planned_costs
from tuneloop.plan_training import training_bound, training_lines, training_plan
from tuneloop.sizing import golden_resolution, resolution_line
from tuneloop.systems import Systems

if TYPE_CHECKING:
    from tuneloop.runtime.serving import ServedSystem
    from tuneloop.runtime.weights import ResolvedModel


PER = 10_000
"""Interactions that the supply of rows is told for."""
SETS = ("sft", "preference", "kto")


class _NotCached(Exception):
    """A stage, or one it needs, has no artefact yet."""


class _DrySystems(Systems):
    """Systems by their digests alone; no adapter is fetched."""

    def _served(
        self, spec: SystemSpec, base: ResolvedModel, adapter: Artefact | None
    ) -> ServedSystem:
        return super()._served(spec, base, None)

    def _keep(self, files: dict[str, Path]) -> Artefact:
        """Return what the files would be as an artefact; nothing is put into the store."""
        refs = {n: FileRef(digest=digest_file(p), n_bytes=p.stat().st_size)
                for n, p in files.items()}  # fmt: skip
        made = Manifest(
            kind="adapter", key="0" * 64, digest=contents_digest("adapter", refs), files=refs,
            started_at=datetime.now(UTC),
        )  # fmt: skip
        return Artefact(made, self.store)


class _Dry(Pipeline):
    """A pipeline that finds artefacts, runs nothing and writes nothing to the store."""

    def _stage(
        self, name: str, kind: Any, parents: list[Parent], config: Section | None, work: Any
    ) -> Any:
        artefact = self.lookup(name, parents, config)
        if artefact is None and name == "golden":
            artefact = self._uncommitted_golden(parents)
        if artefact is None:
            raise _NotCached(name)
        return kind(artefact.manifest, self.store)

    def _uncommitted_golden(self, parents: list[Parent]) -> Artefact:
        path = Path(self.config.golden.path)
        files = {"golden.jsonl": FileRef(digest=digest_file(path), n_bytes=path.stat().st_size)}
        return Artefact(
            Manifest(
                kind="golden",
                key=self._job("golden", parents, None).key,
                digest=contents_digest("golden", files),
                files=files,
                started_at=datetime.now(UTC),
            ),
            self.store,
        )

    @property
    def lake(self) -> kinds.LakeVersion:
        """The version the newest run pinned; a plan takes nothing in."""
        found = runs.newest_artefact(self.store, self.config.name, "lake")
        if found is None or self.events_changed(found):
            raise _NotCached("lake")
        return kinds.LakeVersion(found.manifest, self.store)

    @cached_property
    def systems(self) -> Systems:
        """Finds the champion, the candidate and the judge, by digest only."""
        return _DrySystems(self.config, self.store, self.base)


def make_plan(pipeline: Pipeline) -> dict[str, Any]:
    """Return what is cached, rows and tokens by stage, padding, memory, and one masked example.

    Nothing is written to the store: what must lie in a file lies in a folder for this moment.
    """
    with tempfile.TemporaryDirectory(prefix="tuneloop-plan-") as work:
        store = Store(pipeline.store.root, work=Path(work))
        return _planned(_Dry(pipeline.config, store, progress=pipeline.progress))


def _planned(dry: _Dry) -> dict[str, Any]:
    found: dict[str, Artefact] = {}
    for stage in dry.active_stages():
        try:
            found[stage] = getattr(dry, stage)
        except _NotCached:
            break
    plan: dict[str, Any] = {
        "config": dry.config.model_dump(mode="json", by_alias=True),
        "stages": [
            {"stage": stage, "cached": stage in found}
            | ({"counts": found[stage].manifest.counts.model_dump()} if stage in found else {})
            for stage in dry.active_stages()
        ],
    }
    plan["golden"] = golden_resolution(
        Path(dry.config.golden.path),
        alpha=dry.config.decide.level,
        at_most=dry.config.evaluate.max_prompts,
    )
    left = [stage for stage in dry.active_stages() if stage not in found]
    prompts = read_golden(Path(dry.config.golden.path)) if left else []
    plan["costs"] = planned_costs(dry.store, left, prompts, dry.config.evaluate)
    if "curate" in found:
        plan["supply"] = _supply(dry, found)
    for stage in dry.config.train.chain:
        if "build" in found:
            plan[stage] = training_plan(dry, found["build"], stage)
        else:
            plan[stage] = training_bound(dry, stage)
    return plan


def _supply(dry: Pipeline, found: dict[str, Artefact]) -> dict[str, Any]:
    """Return how many rows of each kind ten thousand interactions give, by rule.

    From the built set where there is one, else from what the rules make of a part of the curated
    one.
    """
    from tuneloop.build.supply import supply

    curated = kinds.CuratedSet(found["curate"].manifest, dry.store)
    n_in, files = curated.manifest.counts.n_in, curated.manifest.files
    if not n_in or "preferences.parquet" not in files:
        return {"note": "the curated set holds nothing to count"}
    part = supply(curated, dry.config.build, dislike_score=dry.config.sample.dislike_score)
    scale = PER / n_in
    of_part = scale * part.n_curated / max(part.n_read, 1)
    built = found.get("build")
    if built is not None and "summary.json" in built.manifest.files:
        summary = built.json("summary.json")
        made = {kind: summary[kind]["made_by_rule"] for kind in SETS}
        rows = {kind: {r: n * scale for r, n in made[kind].items()} for kind in SETS}
    else:
        rows = {kind: {r: n * of_part for r, n in part.by_rule[kind].items()} for kind in SETS}
    return {
        "per_interactions": PER,
        "n_interactions": n_in,
        "from": "the built set" if built is not None else f"{part.n_read} curated rows",
        "rows": {
            kind: {r: round(n, 1) for r, n in sorted(by.items())} for kind, by in rows.items()
        },
        "to_sample": round(part.unwanted * of_part, 1),
        "sampling": dry.config.sample.enabled,
    }


def plan_lines(plan: dict[str, Any]) -> list[str]:
    """Return a plan as lines for people."""
    lines = ["stage      from the store"]
    for row in plan["stages"]:
        counts = row.get("counts")
        shown = f"  {counts['n_in']:,} in, {counts['n_out']:,} out" if counts else ""
        lines.append(f"{row['stage']:<11}{'yes' if row['cached'] else 'no, to be run'}{shown}")
    lines += ["", resolution_line(plan["golden"])]
    lines += cost_lines(plan.get("costs") or {})
    lines += _supply_lines(plan.get("supply") or {})
    for stage in METHODS:
        if stage in plan:
            lines += ["", f"{stage}:", *training_lines(plan[stage])]
    return lines


def _supply_lines(supply: dict[str, Any]) -> list[str]:
    if "rows" not in supply:
        return []
    lines = ["", f"ten thousand interactions give (from {supply['from']}):"]
    for kind, by_rule in supply["rows"].items():
        said = ", ".join(f"{n:,.0f} {rule}" for rule, n in by_rule.items())
        lines.append(f"  {kind:<11}{sum(by_rule.values()):>8,.0f}  {said}")
    on = "on" if supply["sampling"] else "off: sample.enabled=true makes pairs of them"
    return [*lines, f"  {supply['to_sample']:,.0f} answers nobody wanted; sampling is {on}"]
