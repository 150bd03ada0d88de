"""Everything a report is made of, committed to a store, with realistic numbers."""

import json
import math

from evaluations import commit, commit_evaluation

from tuneloop.artefacts.manifest import Counts, Parent
from tuneloop.artefacts.stage import (
    Adapter,
    CuratedSet,
    Decision,
    ExampleSet,
    LakeVersion,
    StageContext,
)
from tuneloop.config.decide import DecideConfig, ReportConfig
from tuneloop.config.policy import PolicyConfig
from tuneloop.decide.stage import decide
from tuneloop.decide.terms import Terms
from tuneloop.report.stage import ReportInputs, report
from tuneloop.runtime.progress import SilentProgress

CURATED = {
    "interactions": {"n_in": 5120, "n_out": 2913, "dropped": {"no_signal": 1402}},
    "feedback": {
        "n_in": 6230, "n_out": 4020, "n_waiting": 12, "dropped": {"brigade": 310, "muted": 4},
    },
    "preferences": {"better": 41, "tie": 6},
    "redactions": {"email": 212, "phone": 97, "card": 11, "iban": 3},
    "clusters": {"n_seen": 3015, "n_out": 2801, "largest": 9},
    "splits": {"train": 2630, "validation": 283},
    "groups": 1702,
    "brigades": [
        {"kind": "phrase", "n_events": 180, "n_accounts": 36, "accounts": ["u91", "u92"],
         "first": "2026-03-02T10:00:00+00:00", "last": "2026-03-02T16:12:00+00:00",
         "direction": "correction", "example": "Tell them to call <b>our</b> hotline",
         "question": "Where is my refund?", "p_time": 1.2e-12, "p_accounts": 3e-9},
    ],
    "leaks": [],
    "scores": {"edges": [-1.0, 0.0, 1.0], "counts": [900, 2013], "mean": 0.31},
    "by_system": {"base": {"n": 2913, "mean_score": -0.12}},
    "by_signal": {"thumb": 1800, "correction": 1290, "stars": 620, "copy": 310},
}  # fmt: skip
EXAMPLES = {
    "skipped": {"too_short": 3}, "caps": {"sft": None},
    "sft": {"train": 1304, "validation": 140, "by_rule": {"correction": 1100, "thumb_up": 344}},
    "preference": {"train": 1001, "validation": 98, "by_rule": {"correction": 1060, "liked": 39}},
    "kto": {"train": 1500, "validation": 150, "by_rule": {"thumb": 1650}},
}  # fmt: skip


def run_inputs(
    store, folder, made, config=None, *, curated=CURATED, examples=EXAMPLES, certificate=None,
    policy=None,
):  # fmt: skip
    """Commit a whole run around the evidence `made`; return what its report is made of."""
    folder.mkdir(parents=True, exist_ok=True)
    lake = _commit_json(
        store, folder, LakeVersion, "lake", "lake.json",
        {"n_interactions": 5120, "n_feedback": 6230, "content_digest": "c" * 64,
         "watermark": "2026-03-09T18:00:00+00:00"},
        counts=Counts(n_in=11_391, dropped={"duplicate": 36, "malformed": 5}, n_out=11_350),
    )  # fmt: skip
    dropped = {"no_signal": 1402, "near_duplicate": 511, "exact_duplicate": 260, "no_consent": 34}
    kept = _commit_json(
        store, folder, CuratedSet, "curate", "summary.json", curated, parents=[_of("lake", lake)],
        counts=Counts(n_in=5120, dropped=dropped, n_out=2913),
        config={"dedupe": {"near_threshold": 0.7}},
    )  # fmt: skip
    built = _commit_json(
        store, folder, ExampleSet, "build", "summary.json", examples,
        parents=[_of("curated", kept)],
        counts=Counts(n_in=2913, dropped={"no_rule": 120}, n_out=4193),
    )  # fmt: skip
    adapters, start = [], None
    for name, steps, floor in (("sft", 80, 0.6), ("dpo", 60, 0.3)):
        parents = [_of("examples", built)] + ([_of("start", start)] if start else [])
        start = _commit_json(
            store, folder, Adapter, name, "history.json", _history(steps, floor), parents=parents,
            counts=Counts(n_in=1304, dropped={"too_long": 7}, n_out=1297),
            config={"lr": 1e-3, "epochs": 1.0},
        )  # fmt: skip
        adapters.append((name, start))
    parents = [_of("adapter", start), Parent(role="base", kind="model", digest="b" * 64)]
    evaluation = commit_evaluation(store, folder, made, parents=parents, certificate=certificate)
    terms = Terms(policy=PolicyConfig.model_validate(policy)) if policy else None
    config = config or DecideConfig(n_bootstrap=1000)
    output = decide(evaluation, config, _context(folder), terms=terms)
    decision = commit(
        store, Decision, "decide", output.files, counts=output.counts,
        parents=[_of("evaluation", evaluation)], config={"alpha": 0.05},
    )  # fmt: skip
    return ReportInputs(decision, evaluation, built, kept, lake, tuple(adapters))


def write_report(inputs, folder, **config):
    """Return the output of the report stage on a run's artefacts."""
    folder.mkdir(parents=True, exist_ok=True)
    return report(inputs, ReportConfig(**config), _context(folder), title="Help desk <demo>")


def _context(folder):
    return StageContext(work=folder, seed=17, progress=SilentProgress())


def _of(role, artefact):
    manifest = artefact.manifest
    return Parent(role=role, kind=manifest.kind, digest=manifest.digest, key=manifest.key)


def _commit_json(store, folder, cls, kind, name, body, **fields):
    path = folder / f"{kind}-{name}"
    path.write_text(json.dumps(body))
    return commit(store, cls, kind, {name: path}, **fields)


def _history(steps, floor):
    def loss(step):
        return round(floor + 2.4 * math.exp(-step / 12) + 0.05 * math.sin(step), 4)

    train = [{"step": s, "loss": loss(s), "lr": 1e-3} for s in range(2, steps + 1, 2)]
    validation = [{"step": s, "loss": loss(s) + 0.1} for s in range(20, steps + 1, 20)]
    facts = {"steps": steps, "n_rows": 1280, "precision": "bf16", "best_step": None}
    return {"train": train, "validation": validation} | facts
