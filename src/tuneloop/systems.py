"""Which system is the champion, the candidate and the judge of a run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tuneloop.artefacts.aliases import AliasName, Generation, current, generations
from tuneloop.artefacts.digest import digest_file, digest_json
from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.artefacts.manifest import Parent
from tuneloop.artefacts.stage import WHOLE, StageOutput
from tuneloop.artefacts.store import Artefact, Store
from tuneloop.artefacts.systems import Hosted, SystemSpec
from tuneloop.config.evaluate import EngineConfig, JudgeConfig
from tuneloop.config.schema import ModelConfig, RunConfig
from tuneloop.config.system import SystemConfig
from tuneloop.errors import DataError, StoreError, TuneloopError
from tuneloop.runtime.adapters import CONFIG, adapter_files, check_adapter
from tuneloop.runtime.execution import StageSpec, execute, make_job
from tuneloop.runtime.progress import SilentProgress

if TYPE_CHECKING:
    from tuneloop.runtime.serving import ServedSystem
    from tuneloop.runtime.weights import ResolvedModel

TRAINED = "trained"
"""The candidate that this run's training comes to."""
ADAPTERS = ("sft", "dpo", "kto", "adapter")
"""Kinds of artefacts that hold an adapter; `adapter` is another trainer's."""


def alias_of(config: RunConfig) -> AliasName:
    """Return the champion alias of a config's (tenant, task, environment)."""
    return AliasName(tenant=config.tenant, task=config.task, env=config.env)


def remember(store: Store, spec: SystemSpec) -> None:
    """Keep a system's spec, so that it can be named by its digest."""
    store.put_if_absent(f"systems/{spec.digest}.json", spec.model_dump_json(indent=1).encode())


@dataclass(frozen=True)
class Systems:
    """Finds the systems a config speaks of, in the store and on this machine."""

    config: RunConfig
    store: Store
    base: ResolvedModel

    @property
    def alias(self) -> AliasName:
        """The champion alias of this (tenant, task, environment)."""
        return alias_of(self.config)

    def candidate(self, adapter: Artefact | None) -> ServedSystem:
        """Return the base with a new adapter, or what `evaluate.candidate` names."""
        if adapter is None:
            return self.find(self.config.evaluate.candidate)
        return self._served(self._spec(self.config.name, adapter.digest), self.base, adapter)

    def champion(self, candidate_digest: str) -> ServedSystem:
        """Return what a candidate must beat, by `evaluate.champion`.

        A run that promoted its candidate, run again, compares with what it compared before.
        """
        wanted = self.config.evaluate.champion
        if wanted != "alias":
            return self.find(wanted)
        history = generations(self.store, self.alias)
        while history and history[-1].digest == candidate_digest:
            history.pop()
        return self._of(history[-1] if history else None)

    def serving_now(self) -> ServedSystem:
        """Return the system that serves users now: the alias's, or the base before any."""
        return self._of(current(self.store, self.alias))

    def find(self, ref: str) -> ServedSystem:
        """Return the system that a reference names.

        Args:
            ref: `base`, `alias`, a YAML file, a folder with an adapter or a whole model, or the
                digest of a system or an adapter in the store.

        Raises:
            TuneloopError: if it names none, or one that cannot be served.
        """
        if ref == "base":
            return self._of(None)
        if ref in ("alias", "champion"):
            return self.serving_now()
        path = Path(ref).expanduser()
        if path.suffix in (".yaml", ".yml"):
            return self._of_file(path)
        if path.is_dir():
            return self._of_folder(path)
        if re.fullmatch("[0-9a-f]{6,64}", ref):
            return self._of_digest(ref)
        raise TuneloopError(
            f"no system {ref!r}",
            where="evaluate.candidate, evaluate.champion",
            hint="name base, alias, a digest, a folder (adapter or model) or a YAML file",
        )

    def judge_model(
        self, judge: JudgeConfig, engine: EngineConfig, *, checks: bool = False
    ) -> ResolvedModel | None:
        """Return a judge's weights; None where there is no judge or it runs elsewhere.

        Args:
            judge: Its config.
            engine: Where it runs if its config does not say.
            checks: It is asked about checks, even where its role is off.
        """
        from tuneloop.runtime.weights import resolve_model

        if (judge.role == "off" and not checks) or (judge.engine or engine).backend == "url":
            return None
        return resolve_model(ModelConfig(name=judge.model)) if judge.model else self.base

    def judge_models(
        self, judge: JudgeConfig, engine: EngineConfig, prompts: Sequence[GoldenPrompt] = ()
    ) -> tuple[list[ResolvedModel | None], list[Parent]]:
        """Return the weights of the judge and its panel, and all the judging reads as parents.

        Args:
            judge: Its config.
            engine: Where judges run whose config does not say.
            prompts: Golden prompts; the first judge answers those of their checks that need one.
        """
        from tuneloop.evaluate.grounding import grounded_prompts

        checks = bool(grounded_prompts(prompts))
        models = [
            self.judge_model(member, engine, checks=checks and i == 0)
            for i, member in enumerate(judge.members())
        ]
        parents = [
            Parent(role="judge" if i == 0 else f"judge[{i}]", kind="model", digest=model.digest)
            for i, model in enumerate(models)
            if model
        ]
        held = judge.certificate
        for role, path in (("judge_labelled", held.labelled), ("judge_anchors", held.anchors)):
            if path and judge.role != "off":
                if not Path(path).is_file():
                    raise DataError("there is no such file", where=f"judge.certificate: {path}")
                parents.append(Parent(role=role, kind="file", digest=digest_file(Path(path))))
        return models, parents

    # -- references ------------------------------------------------------------------
    def _of(self, generation: Generation | None) -> ServedSystem:
        """Return a system in force, or the base where none is."""
        if generation is None:
            return self._served(self._spec("base", None), self.base, None)
        return self._recorded(generation.system)

    def _recorded(self, spec: SystemSpec) -> ServedSystem:
        """Return a recorded system, ready to be served.

        Raises:
            StoreError: if its base is no longer what it was.
        """
        if spec.hosted:
            return self._served(spec, self.base, None)
        from tuneloop.runtime.weights import resolve_model

        base = self.base
        if spec.base != base.digest:
            base = resolve_model(ModelConfig(name=spec.model))
        if base.digest != spec.base:
            raise StoreError(
                f"the base model {spec.model!r} is not the one system {spec.digest[:12]} had",
                hint="put those weights back, or set evaluate.champion",
            )
        adapter = self.store.by_digest(spec.adapter)[0] if spec.adapter else None
        return self._served(spec, base, adapter)

    def _of_digest(self, digest: str) -> ServedSystem:
        known = [p for p in self.store.list_paths("systems") if digest == p[8 : 8 + len(digest)]]
        if len(known) == 1:
            return self._recorded(SystemSpec.model_validate_json(self.store.get(known[0]) or b""))
        if known:
            raise StoreError(f"{digest!r} fits several systems", hint="give more digits")
        found = self.store.by_digest(digest)[0]
        if found.kind not in ADAPTERS:
            raise StoreError(
                f"{digest!r} is a {found.kind}, neither a system nor an adapter",
                where=self.store.root,
            )
        return self._served(self._spec(digest[:12], found.digest), self.base, found)

    def _of_folder(self, folder: Path) -> ServedSystem:
        from tuneloop.runtime.weights import resolve_model

        name = folder.resolve().name
        if (folder / CONFIG).is_file():
            adapter = self._import(folder, self.base)
            return self._served(self._spec(name, adapter.digest), self.base, adapter)
        base = resolve_model(ModelConfig(name=str(folder)))
        spec = self._spec(name, None)
        spec = spec.model_copy(update={"model": str(folder.resolve()), "base": base.digest})
        return self._served(spec, base, None)

    def _of_file(self, path: Path) -> ServedSystem:
        from tuneloop.config.load import load_model
        from tuneloop.runtime.weights import resolve_model

        said, _ = load_model(SystemConfig, path)
        base = resolve_model(ModelConfig(name=said.model)) if said.model else self.base
        adapter = None
        if said.adapter and re.fullmatch("[0-9a-f]{6,64}", said.adapter):
            adapter = self.store.by_digest(said.adapter)[0]
        elif said.adapter:
            adapter = self._import(Path(said.adapter), base)
        hosted = Hosted(**said.hosted.model_dump()) if said.hosted else None
        made = self._spec(said.name, adapter.digest if adapter else None)
        update = {
            "model": hosted.model if hosted else said.model or made.model,
            "base": hosted.base if hosted else base.digest,
            "engine": "url" if hosted else made.engine,
            "hosted": hosted,
            "price": said.price.model_dump() if said.price else None,
            "quantisation": said.quantisation,
            "chat_template": said.chat_template,
            "system_prompt": said.system_prompt,
            "few_shot": [turn.model_dump() for turn in said.few_shot],
            "guardrails": said.guardrails,
            "sampling": said.sampling or made.sampling,
        }
        return self._served(made.model_copy(update=update), base, adapter)

    def _import(self, folder: Path, base: ResolvedModel) -> Artefact:
        """Return another trainer's adapter as an artefact, once it is seen to fit the base.

        Raises:
            DataError: if it is not safetensors, is no LoRA, or was made for another base.
        """
        check_adapter(folder, base.folder)
        return self._keep({f"adapter/{name}": p for name, p in adapter_files(folder).items()})

    def _keep(self, files: dict[str, Path]) -> Artefact:
        digest = digest_json({name: digest_file(path) for name, path in files.items()})
        came = Parent(role="folder", kind="file", digest=digest)
        job = make_job(StageSpec("adapter", ()), [came], {}, 0)
        progress = SilentProgress()
        return execute(self.store, job, lambda _: StageOutput(files=files), progress=progress)

    def _spec(self, name: str, adapter: str | None) -> SystemSpec:
        return SystemSpec(
            name=name,
            model=self.config.model.name,
            base=self.base.digest,
            adapter=adapter,
            engine=self.config.evaluate.engine.backend,
            sampling=self.config.evaluate.sampling,
        )

    def _served(
        self, spec: SystemSpec, base: ResolvedModel, adapter: Artefact | None
    ) -> ServedSystem:
        from tuneloop.runtime.serving import ServedSystem

        if adapter and WHOLE in adapter.manifest.files:  # fully trained: it stands in for the base
            folder = adapter.path(WHOLE).parent
            return ServedSystem(spec, replace(base, folder=folder, digest=adapter.digest))
        return ServedSystem(spec, base, adapter.folder() / "adapter" if adapter else None)
