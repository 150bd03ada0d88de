"""What is decided over the whole set: caps, length, replay; and the set's summary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.artefacts.stage import GoldenSet, StageContext
from tuneloop.build.chunks import Sets
from tuneloop.build.limits import balance, cap_clusters, cap_rows, length_bias
from tuneloop.build.replay import question_key, replay, wanted
from tuneloop.build.rows import SPLITS, Flags, open_rows
from tuneloop.build.rules import KINDS
from tuneloop.build.write import ROWS_PER_GROUP, SetWriter, Written, rewrite
from tuneloop.config.sets import BuildConfig

N_EXAMPLES = 3


def finish(
    sets: Sets, config: BuildConfig, context: StageContext, *, golden: GoldenSet | None
) -> tuple[dict[str, Path], dict[str, Any]]:
    """Apply the limits to the files; return them by name, and the summary of what they hold."""
    context.progress.start("build: limits")
    made = {kind: _by_rule(sets.written[kind], config) for kind in KINDS}
    limits: dict[str, Any] = {kind: _limit(kind, sets, config, context.seed) for kind in KINDS}
    facts: dict[str, Any] = {}
    if wanted(config.replay):
        mixed = replay(
            config,
            _n_training(sets.written["sft"]),
            seed=context.seed,
            golden=golden,
            held_out=_questions(sets),
        )
        facts = mixed.facts
        _append("sft", sets.files["sft", "train"], mixed.table)
    tally = sets.tally
    summary: dict[str, Any] = {
        "skipped": {reason: n for reason, n in sorted(tally.skipped.items()) if n},
        "caps": {kind: limits[kind]["caps"] for kind in KINDS if limits[kind]["caps"]},
        "whole_conversations": dict(sorted(tally.wholes.items())),
        "replay": facts,
        "length_bias": limits["preference"]["length_bias"],
    }
    for kind in KINDS:
        summary[kind] = _summary(kind, sets, config, n_replay=facts.get("n_rows", 0))
        summary[kind]["made_by_rule"] = made[kind]
    files = {f"{kind}_{split}.parquet": path for (kind, split), path in sets.files.items()}
    return files, summary


def _limit(kind: str, sets: Sets, config: BuildConfig, seed: int) -> dict[str, Any]:
    """Cut one kind's files to the limits; return by cap how many rows it took."""
    written = sets.written[kind]
    most = {"sft": config.max_sft_rows, "preference": config.max_preference_rows,
            "kto": config.max_kto_rows}[kind]  # fmt: skip
    n = len(written["weight"])
    clusters = cap_clusters(written, config.max_rows_per_cluster, seed=seed)
    how = config.balance_length if kind == "preference" else "off"
    balanced, weight = balance(written, clusters, how, seed=seed)
    kept = cap_rows(written, balanced, most, seed=seed)
    before = length_bias(written["n_words"], written["n_words_bad"], written["weight"])
    steps = {"cluster": n - int(clusters.sum()),
             "length": int(clusters.sum() - balanced.sum()),
             "rows": int(balanced.sum() - kept.sum())}  # fmt: skip
    changed = bool((weight != written["weight"]).any())
    if changed or not kept.all():
        validates = written["validates"].astype(np.bool_)
        for split, here in zip(SPLITS, (~validates, validates), strict=True):
            rewrite(kind, sets.files[kind, split], kept[here], weight[here])
        written.columns["weight"] = [weight]
        written.keep(kept)
    whole = ("cluster", "length")
    caps: dict[str, Any] = {f"dropped_by_{name}": steps[name] for name in whole if steps[name]}
    if steps["rows"]:
        trained = int((~written["validates"].astype(np.bool_)).sum())
        caps |= {"limit": most, "before": trained + steps["rows"]}
    after = length_bias(written["n_words"], written["n_words_bad"], written["weight"])
    bias = {"balanced": how, "before": before, "after": after} if kind == "preference" else None
    return {"caps": caps, "length_bias": bias}


def _summary(kind: str, sets: Sets, config: BuildConfig, *, n_replay: int) -> dict[str, Any]:
    written = sets.written[kind]
    validates = written["validates"].astype(np.bool_)
    rules = _by_rule(written, config)
    extra = n_replay if kind == "sft" else 0
    if extra:
        rules["replay"] = extra
    return {
        "train": int((~validates).sum()) + extra,
        "validation": int(validates.sum()),
        "by_rule": dict(sorted(rules.items())),
        "weight": _spread(written["weight"]),
        "prompt_chars": _spread(written["prompt_chars"]),
        "answer_chars": _spread(written["answer_chars"]),
        **({"n_good": int((written["label"] == 1).sum())} if kind == "kto" else {}),
        "examples": _examples(sets, kind),
    }


def _by_rule(written: Written, config: BuildConfig) -> dict[str, int]:
    names = [*config.rules]
    numbers, counts = np.unique(written["rule"], return_counts=True)
    found = {names[int(i)]: int(n) for i, n in zip(numbers, counts, strict=True)}
    return dict(sorted(found.items()))


def _spread(numbers: Any) -> dict[str, float] | None:
    if not len(numbers):
        return None
    middle, high = np.percentile(numbers, [50, 95])
    figures = {"mean": np.mean(numbers), "p50": middle, "p95": high, "max": np.max(numbers)}
    return {name: round(float(value), 3) for name, value in figures.items()}


def _examples(sets: Sets, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for split in SPLITS:
        file = open_rows(sets.files[kind, split])
        for batch in file.iter_batches(batch_size=N_EXAMPLES):
            found += batch.to_pylist()
            break
    return found[:N_EXAMPLES]


def _n_training(written: Written) -> int:
    validates: Flags = written["validates"].astype(np.bool_)
    return int((~validates).sum())


def _questions(sets: Sets) -> set[str]:
    """Return the questions that validation holds out."""
    found: set[str] = set()
    for kind in KINDS:
        file = open_rows(sets.files[kind, "validation"])
        for batch in file.iter_batches(columns=["prompt"]):
            messages = pc.list_flatten(batch.column("prompt")).to_pylist()
            found |= {question_key(m) for m in messages if m["role"] == "user"}
    return found


def _append(kind: str, path: Path, table: Any) -> None:
    new = path.with_suffix(".mixed")
    with SetWriter(kind, new) as writer:
        for batch in open_rows(path).iter_batches(batch_size=ROWS_PER_GROUP):
            writer.write(pa.Table.from_batches([batch]).cast(table.schema))
        writer.write(table)
    new.replace(path)
