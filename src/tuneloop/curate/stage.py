"""curate: from the lake to rows that passed every gate."""

from __future__ import annotations

from dataclasses import replace

from tuneloop.artefacts.manifest import Counts
from tuneloop.artefacts.stage import GoldenSet, LakeVersion, Scope, StageContext, StageOutput
from tuneloop.config.curate import CurateConfig
from tuneloop.errors import DataError


def curate(
    lake: LakeVersion,
    golden: GoldenSet,
    config: CurateConfig,
    context: StageContext,
    *,
    scope: Scope | None = None,
) -> StageOutput:
    """Join, redact, gate, weigh, deduplicate, guard and split one version of the lake.

    Events outside `scope` (None: there is nothing outside) are dropped and counted as
    `other_tenant`, `other_task` or `other_env`; the config may name another task or
    environment than the run's.

    Files: `curated.parquet` (one row an interaction; all answers to one question are
    neighbours), `preferences.parquet` (stated comparisons), `dropped.parquet` (what did not
    pass, and why), `summary.json`.

    Raises:
        LeakError: if too many rows repeat golden prompts, or one is marked as golden itself.
        DataError: if nothing passes.
    """
    from tuneloop.artefacts.golden import read_golden
    from tuneloop.curate.gates import pass_gates
    from tuneloop.curate.leak import held_statuses
    from tuneloop.curate.passes import read
    from tuneloop.curate.source import Lake, use_runner
    from tuneloop.curate.summary import write_set
    from tuneloop.runtime.memory import use_fast_pool

    use_fast_pool()
    if scope is not None:
        scope = replace(scope, task=config.task or scope.task, env=config.env or scope.env)
    use_runner(config.runner)
    prompts = read_golden(golden.path("golden.jsonl"), held_statuses(config.leak))
    details = lake.manifest.details
    tenant = scope.tenant if scope else None
    source = Lake(str(details["uri"]), details["version"], tenant)
    source = replace(source, tenant=source.only_tenant())
    gated = pass_gates(read(source, prompts, config, context, scope), config, context)
    reasons = gated.read.dropped.counts("interaction")
    n_out = int(gated.kept.sum())
    if not n_out:
        raise _nothing_left(reasons, scope)
    context.progress.start("curate: write", total=n_out)
    files = write_set(gated, context, tenant=source.only_tenant())
    n_in = gated.read.n_interactions
    context.progress.done(f"{n_out} of {n_in} interactions")
    return StageOutput(
        files=files,
        counts=Counts(n_in=n_in, dropped=reasons, n_out=n_out),
        details={"n_distrusted": sum(gated.distrusted.counts.values())},
    )


def _nothing_left(reasons: dict[str, int], scope: Scope | None) -> DataError:
    why = ", ".join(f"{reason} {n}" for reason, n in reasons.items())
    elsewhere = [name for name in ("tenant", "task", "env") if f"other_{name}" in reasons]
    hint = ""
    if scope and elsewhere:
        mine = ", ".join(f"{name} {getattr(scope, name)!r}" for name in elsewhere)
        hint = f"this run is of {mine}: set what the events state, in the run config"
    return DataError(f"no interaction passed curation: {why}", where="curate", hint=hint)
