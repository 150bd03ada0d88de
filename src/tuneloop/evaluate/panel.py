"""The judges of an evaluation together: who they are, and what they say as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.config.engine import EngineConfig
from tuneloop.config.judge import JudgeConfig
from tuneloop.evaluate.family import check_family
from tuneloop.evaluate.judge import Judgment, collapse_scores, protocol_digest
from tuneloop.evaluate.judge_summary import summarise
from tuneloop.evaluate.judging import Findings, JudgePlan, Passed, judge_system

if TYPE_CHECKING:
    from tuneloop.artefacts.stage import StageContext
    from tuneloop.runtime.serving import ServedSystem
    from tuneloop.runtime.weights import ResolvedModel

OFF: Mapping[str, Any] = {"role": "off"}
DISAGREE_BY = 0.5
"""Judges whose scores of a prompt lie further apart than this disagree about it."""


def plan_judges(
    config: JudgeConfig,
    engine: EngineConfig,
    prompts: Sequence[GoldenPrompt],
    candidate: ServedSystem,
    models: Sequence[ResolvedModel | None],
    context: StageContext,
) -> list[JudgePlan]:
    """Return the plan of each judge; none where the judge is off.

    Args:
        config: The judge's section.
        engine: Where a judge runs that names no engine.
        prompts: What is judged.
        candidate: The system whose base a judge should not be kin to.
        models: Weights of each judge; None for one behind an address.
        context: Seed and cache.

    Raises:
        ConfigError: where a judge is of the base's family and the config refuses that.
    """
    if config.role == "off":
        return []
    plans, base = [], candidate.base
    for i, (member, model) in enumerate(zip(config.members(), models, strict=True)):
        where = member.engine or engine
        system = judge_system(where, model or base, base)
        weights = None if where.backend == "url" else system.base
        warning = check_family(
            (system.spec.model, weights.folder if weights else None),
            (base.name, base.folder),
            same=weights is not None and weights.digest == base.digest,
            policy=config.same_family,
        )
        if warning:
            context.progress.say(f"note: {warning}")
        name = "judge" if i == 0 else f"judge-{i + 1}"
        plans.append(
            JudgePlan(name, system, prompts, member, where, context.seed, context.cache, warning)
        )
    return plans


def conclude(
    plans: Sequence[JudgePlan], findings: Sequence[Findings], passed: Passed
) -> tuple[list[Judgment], dict[str, Any], dict[str, Any]]:
    """Return all judgments, the judge's part of `evaluation.json`, and `certificate.json`.

    The figures are over the judges whose certificate passed, over all where none did.
    """
    certificates = [one.certificate for one in findings]
    judgments = [j for one in findings for j in one.judgments]
    if not plans:
        return [], dict(OFF), {"schema_version": 1, "judges": []}
    certified = [c["judge"] for c in certificates if c["status"] == "passed"]
    counted = [j for j in judgments if not certified or j.judge in certified]
    first, config = plans[0], plans[0].config
    summary = {
        "role": config.role,
        "kind": config.kind,
        "model": first.system.spec.model,
        "model_digest": first.system.spec.base,
        "engine": certificates[0]["engine"],
        "protocol": protocol_digest(config),
        "rubric": config.rubric,
        **summarise(first.prompts, counted, passed, seed=first.seed),
        "canaries": [row for c in certificates for row in canary_rows(c, len(plans) > 1)],
        "certificates": [_in_short(c) for c in certificates],
        "certified": certified,
        "disagreements": disagreements(judgments),
        # What a deciding judge is held to; the decision reads it here.
        "when_invalid": config.when_invalid,
        "min_order_agreement": config.certificate.min_order_agreement,
        "max_missing_fraction": config.max_missing_fraction,
    }
    return judgments, summary, {"schema_version": 1, "judges": certificates}


def canary_rows(certificate: Mapping[str, Any], several: bool) -> list[dict[str, Any]]:
    """Return a certificate's canaries; `passed` is None where none was readable."""
    rows = []
    for item in certificate["items"]:
        if item["name"] in ("identical", "copies", "padded", "null", "injection", "known_bad"):
            name = f"{certificate['judge']}: {item['name']}" if several else item["name"]
            passed = None if item["status"] == "unproven" else item["status"] == "passed"
            kept = {key: item[key] for key in ("value", "limit", "n", "n_missing")}
            rows.append({"name": name, "passed": passed, **kept})
    return rows


def disagreements(judgments: Sequence[Judgment]) -> list[dict[str, Any]]:
    """Return the prompts on which judges differ most, for people to look at."""
    by_judge: dict[str, list[Judgment]] = defaultdict(list)
    for judgment in judgments:
        by_judge[judgment.judge].append(judgment)
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    for judge, mine in by_judge.items():
        for prompt, score in collapse_scores(mine).items():
            if score is not None:
                scores[prompt][judge] = round(score, 6)
    found = [
        {"prompt_id": prompt, "spread": round(max(s.values()) - min(s.values()), 6), "scores": s}
        for prompt, s in scores.items()
        if len(s) > 1 and max(s.values()) - min(s.values()) > DISAGREE_BY
    ]
    return sorted(found, key=lambda row: (-float(str(row["spread"])), str(row["prompt_id"])))


def _in_short(certificate: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        status: [item["name"] for item in certificate["items"] if item["status"] == status]
        for status in ("failed", "unproven")
    }
    kept = {key: certificate[key] for key in ("judge", "model", "status", "warning")}
    return {**kept, **names}
