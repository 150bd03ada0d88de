"""sample: new answers to prompts whose answer people did not want, scored for pairing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.artefacts.manifest import Counts
from tuneloop.artefacts.stage import CuratedSet, StageContext, StageOutput
from tuneloop.config.evaluate import EngineConfig
from tuneloop.config.sample import SampleConfig
from tuneloop.evaluate.answers import ask_each
from tuneloop.evaluate.checks import run_check
from tuneloop.evaluate.judge import Judge, Pair, collapse_scores
from tuneloop.evaluate.judging import judge_system
from tuneloop.evaluate.tables import write_table
from tuneloop.runtime.serving import Engine, ServedSystem, can_share, engine_mode, open_engine

if TYPE_CHECKING:
    from tuneloop.runtime.weights import ResolvedModel

NEUTRAL = 0.5  # the judge's score of an answer against itself


@dataclass
class _Wanted:
    """One prompt that is answered anew, and its answers: the recorded one first."""

    id: str
    split: str
    prompt: list[dict[str, str]]
    trigger: str
    recorded: str
    correction: str | None
    evidence: float
    feedback_ids: list[str]
    texts: list[str] = field(default_factory=list)
    judged: dict[str, float] = field(default_factory=dict)


def sample(
    curated: CuratedSet,
    system: ServedSystem,
    config: SampleConfig,
    engine: EngineConfig,
    context: StageContext,
    judge_model: ResolvedModel | None = None,
) -> StageOutput:
    """Let the current system answer disliked, corrected and reworded prompts again, and score.

    Files: `samples.parquet`, one row a different answer of a prompt (`origin` recorded, sampled
    or correction), with `score` in 0…1 as the weighted mean of what could be said of it, each
    part in a column of its own, and `margin`, the score less that of the recorded answer;
    `summary.json`.
    Finished answers are kept in the work folder: a killed run asks none of them again.
    """
    context.work.mkdir(parents=True, exist_ok=True)
    rows, n_rows = _read(curated, config)
    engine = config.engine or engine
    steps: list[dict[str, Any]] = []
    if rows:
        steps = _answer(rows, system, config, engine, context, judge_model)
    scored = [line for row in rows for line in _scored(row, config, system.spec.digest)]
    files = {"samples.parquet": write_table("samples", scored, context.work)}
    files["summary.json"] = context.work / "summary.json"
    summary = _summary(rows, scored) | {"engine": engine_mode(engine)}
    files["summary.json"].write_text(json.dumps(summary, indent=1, sort_keys=True), "utf-8")
    counts = Counts(n_in=n_rows, dropped={"over_max_prompts": n_rows - len(rows)}, n_out=len(rows))
    return StageOutput(files=files, counts=counts, details={"steps": steps})


def _read(curated: CuratedSet, config: SampleConfig) -> tuple[list[_Wanted], int]:
    """Return the prompts with the strongest evidence for each trigger, and how many qualified."""
    import pyarrow.parquet as pq

    columns = ["interaction_id", "split", "prompt", "answer", "correction", "score", "weight",
               "signals", "answer_tool_calls"]  # fmt: skip
    wanted: dict[str, _Wanted] = {}
    with pq.ParquetFile(curated.path("curated.parquet"), pre_buffer=False) as table:
        for batch in table.iter_batches(batch_size=4_096, columns=columns):
            for row in batch.to_pylist():
                found = _wanted(row, config)
                if found is None:
                    continue
                key = json.dumps([found.prompt, found.recorded, found.correction])
                if key not in wanted or found.evidence > wanted[key].evidence:
                    wanted[key] = found
    ranked = sorted(wanted.values(), key=lambda row: (-row.evidence, row.id))
    seen: Counter[str] = Counter()
    places = []
    for row in ranked:  # the strongest of each trigger before the second strongest of any
        places.append((seen[row.trigger], row.trigger, row))
        seen[row.trigger] += 1
    chosen = [row for *_, row in sorted(places, key=lambda place: place[:2])[: config.max_prompts]]
    return sorted(chosen, key=lambda row: row.id), len(ranked)


def _wanted(row: Mapping[str, Any], config: SampleConfig) -> _Wanted | None:
    reworded = any(
        s["signal"] in ("reformulation", "regenerate") and (s["opinion"] or 0) < 0
        for s in row["signals"]
    )
    holds = {
        "corrected": row["correction"] is not None,
        "disliked": row["score"] <= config.dislike_score,
        "reworded": reworded,
    }
    trigger = next((name for name, true in holds.items() if true and name in config.when), None)
    has_tools = bool(row["answer_tool_calls"]) or any(
        m["role"] == "tool" or m.get("tool_calls") for m in row["prompt"]
    )
    if trigger is None or has_tools:  # no tool can be called again here
        return None
    prompt = [{"role": m["role"], "content": m["content"] or ""} for m in row["prompt"]]
    evidence = abs(row["score"]) * row["weight"] + (row["correction"] is not None)
    return _Wanted(
        row["interaction_id"], row["split"], prompt, trigger, row["answer"] or "",
        row["correction"], evidence, [said["feedback_id"] for said in row["signals"]],
    )  # fmt: skip


def _answer(
    rows: list[_Wanted],
    system: ServedSystem,
    config: SampleConfig,
    engine_config: EngineConfig,
    context: StageContext,
    judge_model: ResolvedModel | None,
) -> list[dict[str, Any]]:
    """Fill in the answers and the judge's scores; return what each step cost."""
    judged = config.judge.role != "off"
    judge_engine = config.judge.engine or engine_config
    judge = judge_system(judge_engine, judge_model or system.base, system.base) if judged else None
    together = judge is not None and judge_engine == engine_config
    together = together and can_share([system], judge, engine_config)  # type: ignore[arg-type]
    members = [system, judge] if judge and together else [system]
    steps: list[dict[str, Any]] = []
    with open_engine(
        members, engine_config, work=context.work, progress=context.progress, cache=context.cache
    ) as engine:
        _draw(rows, engine, system, config)
        if judge and together:
            _judge(rows, Judge(engine, judge, config.judge))
        steps += engine.steps
    if judge and not together:
        with open_engine(
            [judge], judge_engine, work=context.work, progress=context.progress,
            cache=context.cache,
        ) as engine:  # fmt: skip
            _judge(rows, Judge(engine, judge, config.judge))
            steps += engine.steps
    return steps


def _draw(rows: list[_Wanted], engine: Engine, system: ServedSystem, config: SampleConfig) -> None:
    """Fill in each prompt's different answers."""
    drawn = [config.sampling.model_copy(update={"seed": config.sampling.seed + k})
             for k in range(config.n_answers)]  # fmt: skip
    asked = [(row, sampling) for row in rows for sampling in drawn]
    results = ask_each(
        engine, system, [(row.prompt, sampling) for row, sampling in asked], step="new answers"
    )
    for (row, _), result in zip(asked, results, strict=True):
        text = result.text.strip()
        whole = result.status == "ok" and result.finish_reason != "length"
        if whole and text and text not in (row.recorded.strip(), *row.texts):
            row.texts.append(text)


def _judge(rows: list[_Wanted], judge: Judge) -> None:
    """Fill in P(the new answer is better than the recorded one), the mean of both orders."""
    pairs, owners = [], {}
    for row in rows:
        prompt = GoldenPrompt(id=row.id, messages=row.prompt, reference=row.correction)
        for k, text in enumerate(row.texts):
            owners[f"{row.id}/{k}"] = (row, text)
            pairs.append(Pair(f"{row.id}/{k}", prompt, champion=row.recorded, candidate=text))
    for name, score in collapse_scores(judge.compare(pairs, step="judge")).items():
        if score is not None:
            row, text = owners[name]
            row.judged[text] = score


def _scored(row: _Wanted, config: SampleConfig, system: str) -> list[dict[str, Any]]:
    """Return a prompt's answers as rows of `samples.parquet`."""
    answers = [("recorded", row.recorded, None), *(("sampled", t, system) for t in row.texts)]
    answers += [("correction", row.correction, None)] if row.correction is not None else []
    lines: list[dict[str, Any]] = []
    for origin, text, made_by in answers:
        checks = {check.name: run_check(check, text).passed for check in config.checks
                  if check.required}  # fmt: skip
        known = [float(passed) for passed in checks.values() if passed is not None]
        judged = NEUTRAL if origin == "recorded" and row.judged else row.judged.get(text)
        likeness = _likeness(text, row.correction) if row.correction is not None else None
        parts = [
            (config.weight_checks, sum(known) / len(known) if known else None),
            (config.weight_correction, likeness),
            (config.weight_judge, judged),
        ]
        mass = sum(weight for weight, value in parts if value is not None)
        score = sum(w * v for w, v in parts if v is not None) / mass if mass else None
        lines.append(
            {
                "interaction_id": row.id, "split": row.split, "trigger": row.trigger,
                "origin": origin, "answer": text, "system": made_by,
                "checks_json": json.dumps(checks, sort_keys=True),
                "checks": parts[0][1], "correction": likeness, "judge": judged,
                "score": None if score is None else round(score, 6),
                "feedback_ids": row.feedback_ids,  # who is erased takes the row along
            }
        )  # fmt: skip
    base = lines[0]["score"]
    for line in lines:
        known_both = base is not None and line["score"] is not None
        line["margin"] = round(line["score"] - base, 6) if known_both else None
    return lines


def _likeness(text: str, correction: str) -> float:
    """Return how near an answer is to its correction, 0…1."""
    from rapidfuzz.distance import Indel

    if text.strip() == correction.strip():
        return 1.0
    try:
        ours, theirs = json.loads(text), json.loads(correction)
    except ValueError:
        return round(float(Indel.normalized_similarity(text, correction)), 6)
    if isinstance(ours, dict) and isinstance(theirs, dict) and theirs:
        names = ours.keys() | theirs.keys()
        equal = [ours.get(name) == theirs.get(name) for name in names]
        return equal.count(True) / len(equal)
    return 1.0 if ours == theirs else 0.0


def _summary(rows: Sequence[_Wanted], scored: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    new = [line for line in scored if line["origin"] == "sampled"]
    known = [line["margin"] for line in new if line["margin"] is not None]
    return {
        "n_prompts": len(rows),
        "by_trigger": {
            t: sum(row.trigger == t for row in rows) for t in ("corrected", "disliked", "reworded")
        },
        "n_answers": len(new),
        "n_without_answer": sum(not row.texts for row in rows),
        "n_unscored": len(new) - len(known),
        "margin": {
            "n": len(known),
            "better": sum(m > 0 for m in known),
            "equal": sum(m == 0 for m in known),
            "worse": sum(m < 0 for m in known),
        },
    }
