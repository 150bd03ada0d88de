"""What a run would do, before it does it."""

from __future__ import annotations

import json
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
from tuneloop.config.train import METHODS, Method
from tuneloop.config.trainer import TrainerConfig
from tuneloop.errors import TuneloopError
from tuneloop.pipeline import Pipeline
from tuneloop.plan_costs import cost_lines, planned_costs
from tuneloop.sizing import golden_resolution, resolution_line
from tuneloop.systems import Systems

if TYPE_CHECKING:
    from tuneloop.runtime.serving import ServedSystem
    from tuneloop.runtime.weights import ResolvedModel
    from tuneloop.train.rows import TokenRows


PER = 10_000
"""Interactions that the supply of rows is told for."""
SETS = ("sft", "preference", "kto")
EXAMPLES = 20
"""Rows of which the one with the most turns is shown."""


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
            plan[stage] = _training(dry, found["build"], stage)
        else:
            plan[stage] = _bound(dry, stage)
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


def _training(pipeline: Pipeline, examples: Artefact, stage: Method) -> dict[str, Any]:
    from tuneloop.runtime.quiet import quiet_libraries
    from tuneloop.train.encode import load_rows
    from tuneloop.train.rows import decoded
    from tuneloop.train.setup import load_tokenizer
    from tuneloop.train.templates import check_template

    config = pipeline.config.train.method(stage)
    try:
        base = pipeline.base
    except TuneloopError as error:
        return {"note": f"the base model is not at hand: {error.what}"}
    with quiet_libraries():
        tokenizer = load_tokenizer(base)
        check_template(tokenizer, base.folder)
        tokens = load_rows(stage, examples, "train", tokenizer, max_length=config.max_length)
    if not tokens.rows:
        return {"n_rows": 0, "dropped": dict(tokens.dropped)}
    row = max(tokens.rows[:EXAMPLES], key=lambda row: len(decoded(row, tokenizer)))
    return _numbers(config, tokens, base.folder) | {
        "example": [{"part": part, "text": text} for part, text in decoded(row, tokenizer)]
    }


def _bound(pipeline: Pipeline, stage: Method) -> dict[str, Any]:
    """Return the most memory a stage can take: every row as long as `max_length` allows."""
    from tuneloop.runtime.shapes import folder_shape, published_shape
    from tuneloop.train.memory import largest_step
    from tuneloop.train.room import memory_plan

    config = pipeline.config.train.method(stage)
    note = "run `tuneloop build` first to see rows, tokens and an example"
    try:
        shape = published_shape(pipeline.config.model.name) or folder_shape(pipeline.base.folder)
    except TuneloopError as error:
        return {"note": f"{note}; no memory estimate: {error.what}"}
    step = largest_step(config, pairs=stage == "dpo")
    return {"note": note, "memory": memory_plan(shape, config, step)}


def _numbers(config: TrainerConfig, tokens: TokenRows, folder: Path) -> dict[str, Any]:
    from tuneloop.runtime.shapes import folder_shape
    from tuneloop.train.memory import filled, step_of
    from tuneloop.train.order import n_steps
    from tuneloop.train.room import memory_plan
    from tuneloop.train.rows import n_learned

    lengths, losses = tokens.lengths, [n_learned(row) for row in tokens.rows]
    micro = 1 if config.packing else config.micro_batch_size
    config, ordered = filled(config, tokens), sorted(lengths)
    padded = sum(max(ordered[i : i + micro]) * len(ordered[i : i + micro])
                 for i in range(0, len(ordered), micro))  # fmt: skip
    return {
        "n_rows": len(lengths),
        "dropped": dict(tokens.dropped),
        "n_tokens": sum(lengths),
        "n_loss_tokens": sum(losses),
        "longest_tokens": max(lengths),
        "padding_fraction": round(1 - sum(lengths) / padded, 3),
        "padding_fraction_unsorted": round(1 - sum(lengths) / (max(lengths) * len(lengths)), 3),
        "steps": n_steps(
            len(lengths),
            global_batch_size=config.global_batch_size,
            epochs=config.epochs,
            max_steps=config.max_steps,
        ),
        "memory": memory_plan(folder_shape(folder), config, step_of(config, tokens)),
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
            lines += ["", f"{stage}:", *_training_lines(plan[stage])]
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


def _training_lines(part: dict[str, Any]) -> list[str]:
    if "n_tokens" not in part:
        lines = [f"  {part.get('note', 'no rows')}"]
        bound = part.get("memory", {}).get("lines", [])
        return [
            *lines,
            *(f"  at most: {line}" for line in bound[:1]),
            *(f"  {b}" for b in bound[1:]),
        ]
    lines = [
        f"  {part['n_rows']:,} rows, {part['n_tokens']:,} tokens "
        f"({part['n_loss_tokens']:,} with loss), longest {part['longest_tokens']}",
        f"  {part['steps']} steps; padding {part['padding_fraction']:.1%} "
        f"(unsorted {part['padding_fraction_unsorted']:.1%})",
        *(f"  {line}" for line in part["memory"]["lines"]),
    ]
    if part["dropped"]:
        lines.append(f"  dropped: {json.dumps(part['dropped'])}")
    lines += [f"  {piece['part']}: {piece['text']!r}" for piece in part["example"]]
    return lines
