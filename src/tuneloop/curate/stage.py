"""curate: from the lake to rows that passed every gate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tuneloop.artefacts.golden import GoldenPrompt, read_golden
from tuneloop.artefacts.stage import GoldenSet, LakeVersion, Scope, StageContext, StageOutput
from tuneloop.config.data import CurateConfig
from tuneloop.errors import DataError

if TYPE_CHECKING:
    from tuneloop.curate.redact import Redactor
    from tuneloop.curate.write import Curation


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

    Files: `curated.parquet` (one row an interaction, in order of id), `preferences.parquet`
    (stated comparisons), `dropped.parquet` (what did not pass, and why), `summary.json`.

    Raises:
        LeakError: if a row repeats a golden prompt and the config says `fail`.
        DataError: if nothing passes.
    """
    from tuneloop.curate.write import write

    if scope is not None:
        scope = replace(scope, task=config.task or scope.task, env=config.env or scope.env)
    prompts = read_golden(golden.path("golden.jsonl"))
    result = _curation(lake, prompts, config, context, scope)
    if not result.rows:
        raise _nothing_left(result.dropped.counts("interaction"), scope)
    context.work.mkdir(parents=True, exist_ok=True)
    context.progress.start("curate: write")
    files, counts = write(result, context.work)
    context.progress.done(f"{counts.n_out} of {counts.n_in} interactions")
    brigaded = result.dropped.counts("feedback").get("brigade", 0)
    return StageOutput(files=files, counts=counts, details={"n_brigade_feedback": brigaded})


def _curation(
    lake: LakeVersion,
    golden: list[GoldenPrompt],
    config: CurateConfig,
    context: StageContext,
    scope: Scope | None,
) -> Curation:
    """Every gate in its order; each takes rows and gives those that pass."""
    from tuneloop.curate.brigade import drop_brigades
    from tuneloop.curate.dedupe import cluster_rows, drop_duplicates
    from tuneloop.curate.evidence import weigh
    from tuneloop.curate.gates import drop_silent, pass_gates
    from tuneloop.curate.leak import guard
    from tuneloop.curate.load import load
    from tuneloop.curate.redact import Redactor, redact_rows
    from tuneloop.curate.rows import Dropped
    from tuneloop.curate.split import split
    from tuneloop.curate.write import Curation

    step = context.progress.start
    dropped = Dropped()
    redactor = Redactor(frozenset(config.redact.kinds))
    step("curate: join")
    details = lake.manifest.details
    tenant = scope.tenant if scope else None
    joined = load(str(details["uri"]), details["version"], dropped, tenant=tenant)
    rows = pass_gates(joined, config, dropped, scope)
    if config.redact.enabled:
        step("curate: redact")
        redact_rows(rows, redactor)
        golden = [_redact_golden(prompt, redactor) for prompt in golden]
    step("curate: near-duplicates")
    n_clusters = cluster_rows(rows, config.dedupe)
    step("curate: trust")
    brigades = drop_brigades(rows, joined.activity, config.brigade, dropped)
    rows = drop_silent(rows, dropped)
    weigh(rows, config.signals)
    if config.dedupe.enabled:
        rows = drop_duplicates(rows, config.dedupe, dropped)
    step("curate: golden guard")
    rows, leaks = guard(rows, golden, config.leak, dropped)
    split(rows, config.split, seed=context.seed)
    return Curation(joined, rows, dropped, dict(redactor.found), n_clusters, brigades, leaks)


def _nothing_left(reasons: dict[str, int], scope: Scope | None) -> DataError:
    why = ", ".join(f"{reason} {n}" for reason, n in reasons.items())
    elsewhere = [name for name in ("tenant", "task", "env") if f"other_{name}" in reasons]
    hint = ""
    if scope and elsewhere:
        mine = ", ".join(f"{name} {getattr(scope, name)!r}" for name in elsewhere)
        hint = f"this run is of {mine}: set what the events state, in the run config"
    return DataError(f"no interaction passed curation: {why}", where="curate", hint=hint)


def _redact_golden(prompt: GoldenPrompt, redactor: Redactor) -> GoldenPrompt:
    """Return the prompt as training would hold it; what is found here is not counted."""
    redact = type(redactor)(redactor.kinds)
    messages = [{**m, "content": redact(m.get("content", ""))} for m in prompt.messages]
    return prompt.model_copy(update={"messages": messages})
