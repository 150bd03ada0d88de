"""build: from curated rows to training sets."""

from __future__ import annotations

from typing import Any

from tuneloop.artefacts.stage import (
    CuratedSet,
    GoldenSet,
    SampledSet,
    StageContext,
    StageOutput,
)
from tuneloop.config.sets import BuildConfig
from tuneloop.errors import DataError


def build(
    curated: CuratedSet,
    config: BuildConfig,
    context: StageContext,
    *,
    samples: SampledSet | None = None,
    golden: GoldenSet | None = None,
) -> StageOutput:
    """Make SFT, preference and KTO rows from what people did with the answers.

    Files: `{sft,preference,kto}_{train,validation}.parquet` in TRL's conversational formats,
    untemplated, `summary.json`, and the set's card as `card.json` and `card.md`. Every row names
    the rule that made it and the interactions and the feedback it rests on.

    Args:
        curated: What the rows are made of; read a few prompts at a time.
        config: The rules and their limits.
        context: Where to work.
        samples: New answers to some of its prompts.
        golden: Held-out prompts that replayed general data must not repeat.

    Raises:
        DataError: if no rule makes a row, or the replay data cannot be read.
    """
    from tuneloop.artefacts.digest import canonical_json
    from tuneloop.build.card import card_text, make_card
    from tuneloop.build.chunks import make_sets
    from tuneloop.build.finish import finish
    from tuneloop.runtime.memory import use_fast_pool

    use_fast_pool()
    context.work.mkdir(parents=True, exist_ok=True)
    found = make_sets(curated, config, context, samples=samples)
    if not found.n_rows_made:
        raise DataError(
            f"{found.tally.n_in} curated rows made no example",
            where="build",
            hint="lower min_score or min_margin of a rule in build.rules, or collect more feedback",
        )
    files, summary = finish(found, config, context, golden=golden)
    card = make_card(found, summary, _json(curated, "summary.json"), config)
    texts = {
        "summary.json": canonical_json(summary),
        "card.json": canonical_json(card),
        "card.md": card_text(card),
    }
    for name, text in texts.items():
        files[name] = context.work / name
        files[name].write_text(text, "utf-8")
    details: dict[str, Any] = {
        kind: {split: summary[kind][split] for split in ("train", "validation")}
        for kind in ("sft", "preference", "kto")
    }
    context.progress.done(f"{sum(sum(d.values()) for d in details.values())} rows")
    return StageOutput(files=files, counts=found.tally.counts(), details=details)


def _json(artefact: CuratedSet, name: str) -> dict[str, Any]:
    return dict(artefact.json(name)) if name in artefact.manifest.files else {}
