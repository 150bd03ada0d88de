"""Evaluations made by hand: small ones for one rule, and a help desk with realistic numbers."""

import json
import random
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from tuneloop.artefacts.manifest import Counts, Manifest
from tuneloop.artefacts.stage import Evaluation
from tuneloop.artefacts.systems import SystemSpec
from tuneloop.decide.outcomes import Evidence

BASE = SystemSpec(name="base", model="smollm2", base="b" * 64)
TUNED = SystemSpec(name="helpdesk", model="smollm2", base="b" * 64, adapter="a" * 64)
SCHEMAS = {
    "answers": {"prompt_id": "s", "side": "s", "status": "s", "reason": "s", "text": "s",
                "finish_reason": "s"},
    "checks": {"prompt_id": "s", "side": "s", "check": "s", "kind": "s", "status": "s",
               "passed": "b", "required": "b", "hard": "b", "detail": "s"},
    "metrics": {"prompt_id": "s", "side": "s", "metric": "s", "status": "s", "value": "f"},
    "judgments": {"prompt_id": "s", "order": "s", "status": "s", "reason": "s", "score": "f",
                  "p_a": "f", "p_b": "f", "p_tie": "f", "off_label": "f", "decided_by": "s",
                  "reasoning": "s"},
}  # fmt: skip
TYPES = {"s": pa.string(), "b": pa.bool_(), "f": pa.float64()}


def evidence(
    pairs,
    *,
    slices=None,
    families=None,
    hard=None,
    judge=None,
    scores=None,
    metric=None,
    same=False,
):
    """Return the evidence of `pairs` of (champion, candidate): True, False or None for missing.

    With `metric` the pairs are numbers of that graded metric. `hard` lists what a hard check
    found on the candidate; `scores` maps prompt number to the judge's (champion first,
    candidate first) scores, None for a missing one.
    """
    made = Evidence(
        evaluation={
            "systems": {
                "champion": _system(BASE),
                "candidate": _system(BASE if same else TUNED),
            },
            "n_prompts": len(pairs),
            "prompts": [
                {
                    "id": f"p{i}",
                    "messages": [{"role": "user", "content": f"question {i}"}],
                    "reference": "yes",
                    "slices": slices[i] if slices else [],
                    "family": families[i] if families else None,
                }
                for i in range(len(pairs))
            ],
            "judge": judge or {"role": "off"},
        },
        answers=[], checks=[], metrics=[], judgments=[],
    )  # fmt: skip
    for i, pair in enumerate(pairs):
        for side, value in zip(("champion", "candidate"), pair, strict=True):
            _score(made, f"p{i}", side, value, metric)
        if hard and i < len(hard):
            made.checks.append(_check(f"p{i}", "candidate", "no_secrets", hard[i], hard=True))
    for i, by_order in (scores or {}).items():
        for order, score in zip(("champion_first", "candidate_first"), by_order, strict=True):
            made.judgments.append(_judgment(f"p{i}", order, score))
    return made


def _system(spec):
    return {"digest": spec.digest, "spec": spec.model_dump(mode="json")}


def _score(made, prompt, side, value, metric):
    ok = value is not None
    status = "ok" if ok else "missing"
    made.answers.append(
        {"prompt_id": prompt, "side": side, "status": status, "reason": None if ok else "timeout",
         "text": f"answer of {side}" if ok else None, "finish_reason": "stop" if ok else None}
    )  # fmt: skip
    if metric:
        made.metrics.append(
            {"prompt_id": prompt, "side": side, "metric": metric, "status": status, "value": value}
        )
    else:
        made.checks.append(_check(prompt, side, "intent", value))


def _check(prompt, side, name, passed, *, hard=False, required=True, detail=""):
    return {
        "prompt_id": prompt, "side": side, "check": name, "kind": "exact",
        "status": "missing" if passed is None else "ok", "passed": passed,
        "required": required, "hard": hard, "detail": detail,
    }  # fmt: skip


def _judgment(prompt, order, score):
    ok = score is not None
    p_candidate, p_tie = (max(0.0, score - 0.05), 0.1) if ok else (None, None)
    p_champion = 1 - p_candidate - p_tie if ok else None
    first = order == "candidate_first"
    return {
        "prompt_id": prompt, "order": order, "status": "ok" if ok else "missing",
        "reason": None if ok else "truncated", "score": score,
        "p_a": p_candidate if first else p_champion, "p_b": p_champion if first else p_candidate,
        "p_tie": p_tie, "off_label": 0.4 if ok else None,
        "decided_by": "structured" if ok else None,
        "reasoning": "Answer A names the intent.",
    }  # fmt: skip


def write_tables(made, folder):
    """Write an evaluation's files below `folder`; return them by their names."""
    files = {"evaluation.json": folder / "evaluation.json"}
    files["evaluation.json"].write_text(json.dumps(made.evaluation))
    for name, columns in SCHEMAS.items():
        schema = pa.schema([(column, TYPES[kind]) for column, kind in columns.items()])
        files[f"{name}.parquet"] = folder / f"{name}.parquet"
        table = pa.Table.from_pylist(getattr(made, name), schema=schema)
        pq.write_table(table, files[f"{name}.parquet"])
    return files


def commit(store, cls, kind, files, **fields):
    """Commit `files` as an artefact of `kind`, keyed by its name."""
    draft = Manifest(
        kind=kind, key=f"{kind}-key".ljust(64, "0"), digest="", files={},
        started_at=datetime.now(UTC), **fields,
    )  # fmt: skip
    stored = store.commit(draft, files)
    return cls(stored.manifest, store)


def commit_evaluation(store, folder, made, *, certificate=None, **fields):
    """Commit evidence, and the judges' certificate if there is one, as an evaluation artefact."""
    n = len(made.evaluation["prompts"])
    counts = Counts(n_in=n, n_out=n)
    files = write_tables(made, folder)
    if certificate:
        files["certificate.json"] = folder / "certificate.json"
        files["certificate.json"].write_text(json.dumps(certificate))
    return commit(store, Evaluation, "evaluate", files, counts=counts, **fields)


INTENTS = (
    "refund", "delivery", "password", "invoice", "cancel", "address", "warranty", "login",
    "upgrade", "outage", "data_request", "complaint",
)  # fmt: skip
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>"


def help_desk(n=240, *, seed=7, champion=0.03, candidate=0.82, families=False):
    """Return the evidence of a help desk: 12 intents, two of them protected, a weak judge."""
    rng = random.Random(seed)
    pairs, slices, names = [], [], []
    for i in range(n):
        intent = INTENTS[i % len(INTENTS)]
        pairs.append((rng.random() < champion, rng.random() < candidate))
        slices.append([f"intent:{intent}", "safety" if intent == "data_request" else "everyday"])
        names.append(f"f{i // 3}")
    canaries = [
        {"name": "identical", "passed": False, "value": 0.21, "limit": 0.15, "n": 10,
         "n_missing": 0},
        {"name": "padded", "passed": True, "value": 0.52, "limit": 0.65, "n": 10, "n_missing": 0},
        {"name": "null_answer", "passed": True, "value": 0.12, "limit": 0.35, "n": 9,
         "n_missing": 1},
        {"name": "injection", "passed": None, "value": None, "limit": 0.35, "n": 0,
         "n_missing": 10},
    ]  # fmt: skip
    scores = {i: (rng.uniform(0.2, 0.7), rng.uniform(0.4, 0.85)) for i in range(60)}
    scores[7] = (None, 0.6)
    made = evidence(
        pairs, slices=slices, families=names if families else None, scores=scores,
        judge={"role": "advisory", "model": "smollm2-135m", "canaries": canaries,
               "model_digest": "b" * 64, "rubric": "Prefer the answer that solves the task.",
               "off_label": {"estimate": 0.87, "n": 119}, "n_prompts": 60,
               "first_share": {"estimate": 0.71, "n": 119},
               "decided_by": {"logprobs": 14, "structured": 105},
               "missing": {"n": 1, "n_asked": 120, "fraction": 1 / 120,
                           "by_reason": {"truncated": 1}},
               "check_agreement": {"estimate": 0.55, "n": 44}},
    )  # fmt: skip
    by_id = {(row["prompt_id"], row["side"]): row for row in made.answers}
    for i, prompt in enumerate(made.prompts):
        intent = INTENTS[i % len(INTENTS)]
        _dress(prompt, by_id, i, intent, pairs[i])
        made.checks.append(_check(prompt["id"], "candidate", "no_personal_data", True, hard=True))
        made.checks.append(
            _check(prompt["id"], "champion", "is_json", pairs[i][0], required=False,
                   detail="" if pairs[i][0] else "not JSON")
        )  # fmt: skip
    made.checks.sort(key=lambda row: (row["prompt_id"], row["side"], row["check"]))
    return made


def _dress(prompt, answers, number, intent, pair):
    prompt["messages"] = [
        {"role": "system", "content": "Answer with JSON: intent, priority, reply."},
        {"role": "user", "content": f"Ticket {number}: something about my {intent}, please help!"},
    ]
    prompt["reference"] = json.dumps({"intent": intent, "priority": "normal"})
    good = json.dumps({"intent": intent, "priority": "normal", "reply": "We are on it."}, indent=1)
    weak = f"Dear customer, thank you for writing about {intent}. " * 4
    for side, passed in zip(("champion", "candidate"), pair, strict=True):
        text = good if passed else (weak if side == "champion" else good.replace(intent, "other"))
        answers[prompt["id"], side]["text"] = text + (HOSTILE if number % 5 == 0 else "")
