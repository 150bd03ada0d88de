"""The evaluate stage: both systems answer, rules check, the judge compares."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneloop.artefacts.golden import GoldenPrompt, read_golden
from tuneloop.artefacts.manifest import Counts
from tuneloop.artefacts.stage import GoldenSet, StageContext, StageOutput
from tuneloop.config.evaluate import EngineConfig, EvaluateConfig
from tuneloop.evaluate import answers as answering
from tuneloop.evaluate import latency
from tuneloop.evaluate.checks import check_golden
from tuneloop.evaluate.grounding import Grounded, ground, grounded_prompts
from tuneloop.evaluate.judging import Findings, JudgePlan
from tuneloop.evaluate.panel import conclude, plan_judges
from tuneloop.evaluate.tables import SIDES, Row, Side, write_table
from tuneloop.runtime.serving import (
    Engine,
    ServedSystem,
    can_share,
    engine_mode,
    engine_of,
    open_engine,
)

if TYPE_CHECKING:
    from tuneloop.runtime.weights import ResolvedModel


@dataclass
class _Round:
    """What has been gathered so far."""

    answers: dict[Side, answering.Answers] = field(default_factory=dict)
    passed: dict[Side, dict[str, bool | None]] = field(default_factory=dict)
    rows: dict[str, list[Row]] = field(
        default_factory=lambda: {"answers": [], "checks": [], "metrics": [], "judgments": []}
    )
    judged: list[Findings] = field(default_factory=list)
    grounded: Grounded | None = None
    alternated: bool = True
    steps: list[dict[str, Any]] = field(default_factory=list)


def evaluate(
    golden: GoldenSet,
    champion: ServedSystem,
    candidate: ServedSystem,
    config: EvaluateConfig,
    context: StageContext,
    judge_models: Sequence[ResolvedModel | None],
) -> StageOutput:
    """Return both systems' answers on the golden set, and what rules and judge say of them.

    The candidate's engine starts first; the champion's and the judge's follow, on the same one
    where it can serve them. Finished answers are kept in the work folder: a killed evaluation
    asks none of them again, and starts no server for them.
    """
    prompts = read_golden(golden.path("golden.jsonl"))
    n_golden = len(prompts)
    prompts = answering.sample(prompts, config.max_prompts, seed=context.seed)
    check_golden(prompts)
    systems: dict[Side, ServedSystem] = {"champion": champion, "candidate": candidate}
    chosen = answering.sample(prompts, config.judge.n_prompts, seed=context.seed + 1)
    plans = plan_judges(config.judge, config.engine, chosen, candidate, judge_models, context)
    grounding = _plan_grounding(config, plans, prompts, candidate, judge_models, context)
    gathered = _Round()
    for jobs in _engines(systems, plans, grounding, config):
        members = [job.system for job in jobs]
        with open_engine(
            members, jobs[0].config, work=context.work, progress=context.progress,
            cache=context.cache,
        ) as engine:  # fmt: skip
            for job in jobs:
                _do(job, engine, prompts, gathered)
            if config.latency.n_prompts:
                _time(jobs, engine, prompts, gathered, config)
            gathered.steps += engine.steps
    _grade(config, prompts, gathered, context.work)
    _describe(config, prompts, gathered, context)
    judgments, judge, certificate = conclude(plans, gathered.judged, gathered.passed)
    gathered.rows["judgments"] = [judgment.row() for judgment in judgments]
    summary = _summary(systems, config, prompts, gathered) | {"judge": judge}
    if gathered.grounded:
        summary["grounding"] = gathered.grounded.summary
    return StageOutput(
        files=_write(gathered, summary, certificate, context.work),
        counts=Counts(
            n_in=n_golden,
            dropped={"not_sampled": n_golden - len(prompts)} if n_golden > len(prompts) else {},
            n_out=len(prompts),
        ),
        details={
            "usage": {side: answering.usage(gathered.answers[side]) for side in SIDES},
            "steps": gathered.steps,
        },
    )


def _plan_grounding(
    config: EvaluateConfig,
    plans: Sequence[JudgePlan],
    prompts: Sequence[GoldenPrompt],
    candidate: ServedSystem,
    models: Sequence[ResolvedModel | None],
    context: StageContext,
) -> JudgePlan | None:
    """Return who answers the grounding checks: the first judge, though it compare nothing."""
    if not grounded_prompts(prompts):
        return None
    if plans:
        return plans[0]
    alone = config.judge.members()[0].model_copy(update={"role": "advisory"})
    return plan_judges(alone, config.engine, prompts, candidate, models[:1], context)[0]


def _time(
    jobs: Sequence[_Job],
    engine: Engine,
    prompts: Sequence[GoldenPrompt],
    gathered: _Round,
    config: EvaluateConfig,
) -> None:
    """Probe the latency of those systems of an engine that are compared."""
    sides = {job.side: job.system for job in jobs if job.side}
    if sides:
        chosen = answering.sample(prompts, config.latency.n_prompts, seed=0)
        gathered.alternated &= len(sides) == len(SIDES)
        rows = latency.probe(engine, sides, chosen, config.latency)
        gathered.rows.setdefault("timings", []).extend(rows)


@dataclass(frozen=True)
class _Job:
    """One system's part in the evaluation: a side's answers, a judge's checks or judgments."""

    system: ServedSystem
    config: EngineConfig
    side: Side | None = None
    plan: JudgePlan | None = None
    grounds: bool = False


def _engines(
    systems: Mapping[Side, ServedSystem],
    plans: Sequence[JudgePlan],
    grounding: JudgePlan | None,
    config: EvaluateConfig,
) -> list[list[_Job]]:
    """Return the jobs in order, those together that one engine can serve."""
    order: tuple[Side, ...] = ("candidate", "champion")
    jobs = [_Job(systems[side], engine_of(systems[side], config.engine), side) for side in order]
    if grounding:
        jobs.append(_Job(grounding.system, grounding.engine, plan=grounding, grounds=True))
    jobs += [_Job(plan.system, plan.engine, plan=plan) for plan in plans]
    engines: list[list[_Job]] = []
    for job in jobs:
        last = engines[-1] if engines else []
        same = bool(last) and last[0].config == job.config
        if same and can_share([j.system for j in last], job.system, job.config):
            last.append(job)
        else:
            engines.append([job])
    return engines


def _do(
    job: _Job,
    engine: Engine,
    prompts: Sequence[GoldenPrompt],
    gathered: _Round,
) -> None:
    if job.side is None:
        if job.plan and job.grounds:
            found = ground(engine, job.plan, prompts, gathered.answers)
            answering.settle_checks(gathered.rows["checks"], found.outcomes, gathered.passed)
            gathered.grounded, gathered.rows["claims"] = found, found.rows
        elif job.plan:
            gathered.judged.append(job.plan.run(engine, gathered.answers, gathered.passed))
        return
    answers = answering.ask(engine, job.system, prompts, side=job.side)
    checks, passed = answering.check_prompts(prompts, job.side, answers)
    gathered.answers[job.side], gathered.passed[job.side] = answers, passed
    gathered.rows["answers"] += answering.answer_rows(job.side, answers)
    gathered.rows["checks"] += checks


def _grade(
    config: EvaluateConfig, prompts: Sequence[GoldenPrompt], gathered: _Round, work: Path
) -> None:
    for metric in config.metrics:
        for side in SIDES:
            gathered.rows["metrics"] += answering.metric_rows(
                metric, prompts, side, gathered.answers[side], work=work / "metrics"
            )


def _describe(
    config: EvaluateConfig,
    prompts: Sequence[GoldenPrompt],
    gathered: _Round,
    context: StageContext,
) -> None:
    """Compare the answers as a whole."""
    from tuneloop.evaluate.distributions import Seen, describe, open_encoder

    rows = gathered.rows
    seen = Seen(prompts, gathered.answers, rows["checks"], rows.get("timings", []))
    encoder = open_encoder(config.drift, cache=context.cache and context.cache / "encoder")
    rows["distributions"] = describe(seen, encoder, seed=context.seed)


def _summary(
    systems: Mapping[Side, ServedSystem],
    config: EvaluateConfig,
    prompts: Sequence[GoldenPrompt],
    gathered: _Round,
) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "systems": {
            side: {
                "digest": systems[side].spec.digest,
                "spec": systems[side].spec.model_dump(mode="json"),
            }
            for side in SIDES
        },
        "engine": engine_mode(config.engine),
        "engines": {side: engine_mode(engine_of(systems[side], config.engine)) for side in SIDES},
        "n_prompts": len(prompts),
        "prompts": [
            prompt.model_dump(
                mode="json", include={"id", "messages", "reference", "slices", "family", "weight"}
            )
            for prompt in prompts
        ],
        "pass": {
            side: answering.pass_summary(prompts, gathered.answers[side], gathered.passed[side])
            for side in SIDES
        },
        "metrics": config.metrics,
        "prices": {
            side: systems[side].spec.price or config.engine.price.model_dump() for side in SIDES
        },
        "latency": config.latency.model_dump() | {"alternated": gathered.alternated},
    }


def _write(
    gathered: _Round, summary: Mapping[str, Any], certificate: Mapping[str, Any], work: Path
) -> dict[str, Path]:
    files = {
        f"{name}.parquet": write_table(name, rows, work) for name, rows in gathered.rows.items()
    }
    for name, content in (("evaluation.json", summary), ("certificate.json", certificate)):
        files[name] = work / name
        text = json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True)
        files[name].write_text(text, "utf-8")
    return files
