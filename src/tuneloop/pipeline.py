"""The loop's forward half, from the lake to the report: a property a stage."""

from __future__ import annotations

import json
import shutil
import tempfile
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneloop.artefacts import stage as kinds
from tuneloop.artefacts.aliases import Generation
from tuneloop.artefacts.digest import digest_file, digest_json
from tuneloop.artefacts.golden import GoldenPrompt, read_golden
from tuneloop.artefacts.manifest import Counts, Parent
from tuneloop.artefacts.stage import StageContext, StageOutput
from tuneloop.artefacts.store import Artefact
from tuneloop.config.policy import PolicyConfig
from tuneloop.config.train import METHODS, Method, TrackingConfig
from tuneloop.config.trainer import TrainerConfig
from tuneloop.errors import DataError, DecisionError, TuneloopError
from tuneloop.runtime.environment import author
from tuneloop.runtime.execution import parent, rank
from tuneloop.stages import STAGES, Stages
from tuneloop.systems import TRAINED, Systems, remember
from tuneloop.train.tracking import check_trackers

if TYPE_CHECKING:
    from tuneloop.runtime.serving import ServedSystem
    from tuneloop.runtime.weights import ResolvedModel


class Pipeline(Stages):
    """One config's stages over one store. Each property runs what it needs and no more."""

    def run(self, until: str = STAGES[-1], *, moves: bool = True) -> dict[str, Artefact]:
        """Run every stage up to `until`; return the artefact each came to.

        A PROMOTE moves the champion alias as soon as it is decided, unless `moves` is false.
        """
        active = self.active_stages()
        if until not in active:
            raise TuneloopError(f"{until} is switched off in this config", where=until)
        if self.order.index(until) < self.begin:
            raise TuneloopError(
                f"nothing lies between --from {self.order[self.begin]} and --until {until}",
                where="run",
                hint=f"the order is {', '.join(self.order)}",
            )
        if set(METHODS) & set(active[: active.index(until) + 1]):
            check_trackers(self.config.train.tracking)
        self.open_record()
        done: dict[str, Artefact] = {}
        for stage in active[: active.index(until) + 1]:
            done[stage] = getattr(self, stage)
            if stage == "decide" and moves and self.config.decide.promote and rank() == 0:
                self.promote(self.decide)
        return done

    def active_stages(self) -> list[str]:
        """Return the stages this config runs, in order."""
        if not self.trains:
            return ["evaluate", "decide", "report"]
        off = {str(name) for name in METHODS if name not in self.config.train.chain}
        if not self.config.sample.enabled:
            off.add("sample")
        return [stage for stage in self.order if stage not in off]

    @property
    def trains(self) -> bool:
        """Whether the candidate is what this run trains; else its config names one."""
        return self.config.evaluate.candidate == TRAINED

    # -- inputs ----------------------------------------------------------------------
    @cached_property
    def base(self) -> ResolvedModel:
        """The base model's folder and digest."""
        from tuneloop.runtime.weights import resolve_model

        return resolve_model(self.config.model)

    @cached_property
    def golden(self) -> kinds.GoldenSet:
        """The golden set, as it is now."""
        from tuneloop.evaluate.checks import check_golden

        path = Path(self.config.golden.path)
        prompts = read_golden(path)
        check_golden(prompts)
        self._check_slices(prompts)
        source = Parent(role="file", kind="file", digest=digest_file(path))
        counts = Counts(n_in=len(prompts), n_out=len(prompts))
        output = StageOutput(files={"golden.jsonl": path}, counts=counts)
        return self._stage("golden", kinds.GoldenSet, [source], None, lambda _: output)

    def _check_slices(self, prompts: list[GoldenPrompt]) -> None:
        """Fail before anything is trained where a protected slice cannot be measured."""
        known = {name for prompt in prompts for name in prompt.slices}
        wanted = set(self.config.decide.protected_slices)
        wanted |= set(self.policy.protected_slices if self.policy else ())
        unknown = wanted - known
        if unknown:
            raise DataError(
                f"protected slices without a golden prompt: {', '.join(sorted(unknown))}",
                where=self.config.golden.path,
                hint=f"slices there are: {', '.join(sorted(known)) or 'none'}",
            )

    # -- stages ----------------------------------------------------------------------
    @cached_property
    def lake(self) -> kinds.LakeVersion:
        """Events taken in, and the version of the lake this run reads."""
        from tuneloop.lake.stage import take_in

        if rank() > 0:
            return self._from_rank_0("lake", kinds.LakeVersion)
        if self.begin > 0:  # a skipped lake takes nothing in
            found = self._newest("lake")
            if self.events_changed(found):
                self._note("lake", found, "its event files")
            return self._arrived("lake", kinds.LakeVersion, found)
        folder = self.store.work / "intake"
        folder.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=folder))
        context = StageContext(work=work, seed=self.config.seed, progress=self.progress)
        tenant = self.config.tenant
        output = take_in(self.config.lake, uri=self.lake_uri, context=context, tenant=tenant)
        content = json.loads(output.files["lake.json"].read_text())["content_digest"]
        parents = [Parent(role="content", kind="table", digest=content), *self._event_files()]
        version = self._stage("lake", kinds.LakeVersion, parents, None, lambda _: output)
        shutil.rmtree(work)  # after an error it stays: the refused lines lie there
        details = version.manifest.details | {"uri": output.details["uri"]}  # a store may move
        return kinds.LakeVersion(
            version.manifest.model_copy(update={"details": details}), self.store
        )

    def events_changed(self, lake: Artefact) -> bool:
        """Return whether the configured event files are others than those a lake version took."""
        try:
            now = {file.digest for file in self._event_files()}
        except OSError:
            return True
        return now != {file.digest for file in lake.manifest.parents if file.kind == "file"}

    def _event_files(self) -> list[Parent]:
        return [
            Parent(role=f"events[{i}]", kind="file", digest=digest_file(Path(one.path)))
            for i, one in enumerate(self.config.lake.events)
            if not one.path.startswith("hf:")  # a hub's set has no bytes here
        ]

    @property
    def lake_uri(self) -> str:
        """Where the lake is."""
        c = self.config
        root = self.store.root if "://" in self.store.root else str(Path(self.store.root).resolve())
        return c.lake.uri or f"{root}/lakes/{c.tenant}/{c.task}/{c.env}"

    @cached_property
    def curate(self) -> kinds.CuratedSet:
        """Rows that passed every gate."""
        from tuneloop.curate.meaning import open_encoder
        from tuneloop.curate.stage import curate

        c, config = self.config, self.config.curate
        own = [c.tenant, c.task, c.env]
        parents = [parent("lake", self.lake), parent("golden", self.golden), self._scope_parent()]
        encoder = open_encoder(
            config.encoder, leak=config.leak, semantic=config.dedupe.semantic, cache=None
        )
        if encoder:  # whether there is one decides which rows stay
            parents.append(Parent(role="encoder", kind="model", digest=encoder.digest))
        work = partial(curate, self.lake, self.golden, config, scope=kinds.Scope(*own))
        return self._stage("curate", kinds.CuratedSet, parents, config, work)

    @cached_property
    def sample(self) -> kinds.SampledSet:
        """New answers of the system that serves now to prompts whose answer nobody wanted."""
        from tuneloop.evaluate.sampling import sample

        config, system = self.config.sample, self.systems.serving_now()
        engine = config.engine or self.config.evaluate.engine
        config = config.model_copy(update={"engine": engine})  # in the key, too
        parents = [
            parent("curated", self.curate),
            self._base_parent(),
            Parent(role="system", kind="system", digest=system.spec.digest),
        ]
        judge = self.systems.judge_model(config.judge, engine)
        if judge:
            parents.append(Parent(role="judge", kind="model", digest=judge.digest))
        work = partial(sample, self.curate, system, config, engine, judge_model=judge)
        return self._stage("sample", kinds.SampledSet, parents, config, work)

    @cached_property
    def build(self) -> kinds.ExampleSet:
        """SFT, preference and KTO rows."""
        from tuneloop.build.stage import build

        config = self.config.build
        more: dict[str, Any] = {"samples": self.sample} if self.config.sample.enabled else {}
        general = Path(config.replay.path) if config.replay.path and config.replay.share else None
        if general:  # it may repeat no golden prompt
            if not general.is_file():
                raise DataError("there is no such file", where=f"build.replay.path: {general}")
            more["golden"] = self.golden
        work = partial(build, self.curate, config, **more)
        parents = [parent("curated", self.curate)]
        parents += [parent(role, artefact) for role, artefact in more.items()]
        if general:
            parents.append(Parent(role="replay", kind="file", digest=digest_file(general)))
        return self._stage("build", kinds.ExampleSet, parents, config.without_paths(), work)

    @cached_property
    def sft(self) -> kinds.Adapter:
        """The adapter after supervised fine-tuning."""
        return self._trained("sft")

    @cached_property
    def dpo(self) -> kinds.Adapter:
        """The adapter after preference optimisation."""
        return self._trained("dpo")

    @cached_property
    def kto(self) -> kinds.Adapter:
        """The adapter after optimisation on single answers called good or bad."""
        return self._trained("kto")

    def _trained(self, name: Method) -> kinds.Adapter:
        """Train on top of what the stage before in the chain left."""
        from tuneloop.train import stage

        train = self.config.train
        before = train.chain[: train.chain.index(name)]
        start: kinds.Adapter | None = getattr(self, before[-1]) if before else None
        parents = [parent("examples", self.build), self._base_parent()]
        parents += [parent("start", start)] if start else []
        config = train.method(name)
        work = partial(getattr(stage, name), self.build, self.base, start, config, self.tracking)
        return self._stage(name, kinds.Adapter, parents, _without_places(config), work)

    @cached_property
    def evaluate(self) -> kinds.Evaluation:
        """Champion and candidate on the golden set."""
        from tuneloop.evaluate.distributions import open_encoder
        from tuneloop.evaluate.stage import evaluate

        config, champion, candidate = self.config.evaluate, self.champion, self.candidate
        adapter = self._adapter_of(candidate)
        parents = [
            parent("golden", self.golden),
            self._base_parent(),
            *([parent("adapter", adapter)] if adapter else []),
            Parent(role="champion", kind="system", digest=champion.spec.digest),
            Parent(role="candidate", kind="system", digest=candidate.spec.digest),
        ]
        prompts = read_golden(Path(self.config.golden.path))
        judges, judged_by = self.systems.judge_models(config.judge, config.engine, prompts)
        parents += judged_by
        if encoder := open_encoder(config.drift):  # whether there is one decides what is compared
            parents.append(Parent(role="encoder", kind="model", digest=encoder.digest))

        def work(context: StageContext) -> StageOutput:
            for system in (champion, candidate):
                remember(self.store, system.spec)
            return evaluate(self.golden, champion, candidate, config, context, judges)

        # Which systems they are, not how they were named, decides what comes out.
        named = config.model_copy(update={"candidate": TRAINED, "champion": "alias"})
        return self._stage("evaluate", kinds.Evaluation, parents, named, work)

    def _adapter_of(self, system: ServedSystem) -> Artefact | None:
        if self.trains:
            return self.adapter
        adapter = system.spec.adapter
        return self.store.by_digest(adapter)[0] if adapter else None

    @cached_property
    def decide(self) -> kinds.Decision:
        """The verdict."""
        from tuneloop.decide.stage import decide
        from tuneloop.decide.terms import labels_digest, open_terms
        from tuneloop.label.plan import labels_of

        config, policy = self.config.decide, self.policy
        parents = [parent("evaluation", self.evaluate), self._scope_parent()]
        if policy:
            digest = digest_json(policy.model_dump(mode="json"))
            parents.append(Parent(role="policy", kind="policy", digest=digest))
        labels = labels_of(self.store, self.evaluate)
        if labels:
            digest = str(labels_digest(labels))
            parents.append(Parent(role="labels", kind="labels", digest=digest))
        config = config.model_copy(update={"policy": None})  # what it says is a parent

        def work(context: StageContext) -> StageOutput:
            champion, candidate = self.champion.spec.digest, self.candidate.spec.digest
            asked = (self.golden.digest, champion, candidate)
            terms = open_terms(
                self.config, self.store, asked, policy=policy, author=author(), labels=labels
            )
            return decide(self.evaluate, config, context, terms=terms)

        return self._stage("decide", kinds.Decision, parents, config, work)

    @cached_property
    def policy(self) -> PolicyConfig | None:
        """The policy of this run's decisions, read from its file."""
        from tuneloop.config.load import load_model

        path = self.config.decide.policy
        return load_model(PolicyConfig, Path(path))[0] if path else None

    @cached_property
    def report(self) -> kinds.Report:
        """One page that shows what happened and why."""
        from tuneloop.report.stage import ReportInputs, report

        title = self.config.report.title or self.config.name
        config = self.config.report.model_copy(update={"title": title})
        chain = self.config.train.chain if self.trains else ()
        adapters = [(name, getattr(self, name)) for name in chain]
        named: dict[str, Any] = {"decision": self.decide, "evaluation": self.evaluate}
        if self.trains:
            named |= {"examples": self.build, "curated": self.curate, "lake": self.lake}
        inputs = ReportInputs(**named, adapters=adapters)
        named |= dict(adapters)
        parents = [parent(role, artefact) for role, artefact in named.items()]
        work = partial(report, inputs, config, title=title)
        return self._stage("report", kinds.Report, parents, config, work)

    # -- systems ---------------------------------------------------------------------
    @property
    def adapter(self) -> kinds.Adapter:
        """What training came to."""
        adapter: kinds.Adapter = getattr(self, self.config.train.chain[-1])
        return adapter

    @cached_property
    def systems(self) -> Systems:
        """Finds the champion, the candidate and the judge."""
        return Systems(self.config, self.store, self.base)

    @cached_property
    def candidate(self) -> ServedSystem:
        """The base with the new adapter, or what `evaluate.candidate` names."""
        return self.systems.candidate(self.adapter if self.trains else None)

    @cached_property
    def champion(self) -> ServedSystem:
        """What the candidate must beat, by `evaluate.champion`."""
        return self.systems.champion(self.candidate.spec.digest)

    def promote(self, decision: kinds.Decision) -> Generation | None:
        """Move the champion alias if the verdict says so and nobody moved it meanwhile.

        A verdict against another system than the champion in force stands, and moves nothing.
        """
        from tuneloop.decide.registry import promote

        actor, again = f"run {self.config.name}", self.config.decide.promote == "again"
        try:
            return promote(
                self.store, self.systems.alias, decision=decision, candidate=self.candidate.spec,
                actor=actor, again=again,
            )  # fmt: skip
        except DecisionError as error:
            self.progress.say(f"the champion stays: {error}")
            return None

    @property
    def tracking(self) -> TrackingConfig:
        """Trackers, with a folder that outlives the stage's own."""
        tracking = self.config.train.tracking
        folder = tracking.folder or str(self.store.work / "tracking")
        return tracking.model_copy(update={"folder": folder})

    def _scope_parent(self) -> Parent:
        own = [self.config.tenant, self.config.task, self.config.env]
        return Parent(role="scope", kind="scope", digest=digest_json(own))

    def _base_parent(self) -> Parent:
        return Parent(role="base", kind="model", digest=self.base.digest)


def _without_places(config: TrainerConfig) -> TrainerConfig:
    """Return a training config for the key: the general rows by their digest, not their place."""
    holdout = config.holdout
    if holdout is None or holdout.path is None:
        return config
    path = Path(holdout.path)
    if not path.is_file():
        raise DataError("there is no such file", where=f"train.holdout.path: {path}")
    by_digest = holdout.model_copy(update={"path": f"sha256:{digest_file(path)}"})
    return config.model_copy(update={"holdout": by_digest})
