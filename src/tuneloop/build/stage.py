"""build: from curated rows to training sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tuneloop.artefacts.manifest import Counts
from tuneloop.artefacts.stage import CuratedSet, StageContext, StageOutput
from tuneloop.config.data import BuildConfig
from tuneloop.errors import DataError

if TYPE_CHECKING:
    from tuneloop.build.settle import Settled


def build(curated: CuratedSet, config: BuildConfig, context: StageContext) -> StageOutput:
    """Make SFT, preference and KTO rows from what people did with the answers.

    Files: `{sft,preference,kto}_{train,validation}.parquet` in TRL's conversational formats,
    untemplated, and `summary.json`. Every row names the interactions and the feedback it
    rests on.

    Raises:
        DataError: if no rule makes a row.
    """
    import pyarrow.parquet as pq

    from tuneloop.build.examples import make_examples, read_rows
    from tuneloop.build.settle import settle_kto, settle_preferences, settle_sft
    from tuneloop.build.write import write_set, write_summary

    context.work.mkdir(parents=True, exist_ok=True)
    context.progress.start("build: examples")
    rows = read_rows(pq.read_table(curated.path("curated.parquet")).to_pylist(), config)
    preferences = pq.read_table(curated.path("preferences.parquet")).to_pylist()
    made = make_examples(rows, preferences, config)
    settled = {
        "sft": settle_sft(made.sft, made.skipped),
        "preference": settle_preferences(made.preference, made.skipped),
        "kto": settle_kto(made.kto, made.skipped),
    }
    if not any(settled.values()):
        raise DataError(
            f"{len(rows)} curated rows made no example",
            where="build",
            hint="lower build.sft_min_score or build.pair_min_margin, or collect more feedback",
        )
    sets, caps = _split_and_cap(settled, config, seed=context.seed)
    files = {}
    for kind, by_split in sets.items():
        for split, chosen in by_split.items():
            files[f"{kind}_{split}.parquet"] = context.work / f"{kind}_{split}.parquet"
            write_set(kind, chosen, files[f"{kind}_{split}.parquet"])
    files["summary.json"] = context.work / "summary.json"
    write_summary(sets, skipped=+made.skipped, caps=caps, path=files["summary.json"])
    details = {kind: {split: len(x) for split, x in s.items()} for kind, s in sets.items()}
    n_rows = sum(sum(by_split.values()) for by_split in details.values())
    context.progress.done(f"{n_rows} rows")
    used = {i for s in settled.values() for row in s for i in row.example.interactions}
    counts = Counts(n_in=len(rows), dropped={"no_rule": len(rows) - len(used)}, n_out=len(used))
    return StageOutput(files=files, counts=counts, details=details)


def _split_and_cap(
    settled: dict[str, list[Settled]], config: BuildConfig, *, seed: int
) -> tuple[dict[str, dict[str, list[Settled]]], dict[str, Any]]:
    """Return kind → split → rows; only training is capped."""
    from tuneloop.build.settle import sample
    from tuneloop.build.write import SPLITS

    most = {"sft": config.max_sft_rows, "preference": config.max_preference_rows, "kto": None}
    sets: dict[str, dict[str, list[Settled]]] = {}
    caps = {}
    for kind, rows in settled.items():
        sets[kind] = {s: [row for row in rows if row.example.split == s] for s in SPLITS}
        before = len(sets[kind]["train"])
        sets[kind]["train"] = sample(sets[kind]["train"], most[kind], seed=seed)
        if len(sets[kind]["train"]) < before:
            caps[kind] = {"limit": most[kind], "before": before}
    return sets, caps
