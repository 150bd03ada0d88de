"""Which system is the champion, the candidate and the judge of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuneloop.artefacts.aliases import AliasName, Generation, current, generations
from tuneloop.artefacts.store import Artefact, Store
from tuneloop.artefacts.systems import SystemSpec
from tuneloop.config.evaluate import EngineConfig, JudgeConfig
from tuneloop.config.schema import ModelConfig, RunConfig
from tuneloop.errors import StoreError

if TYPE_CHECKING:
    from tuneloop.runtime.serving import ServedSystem
    from tuneloop.runtime.weights import ResolvedModel


def alias_of(config: RunConfig) -> AliasName:
    """Return the champion alias of a config's (tenant, task, environment)."""
    return AliasName(tenant=config.tenant, task=config.task, env=config.env)


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

    def candidate(self, adapter: Artefact) -> ServedSystem:
        """Return the base with a new adapter."""
        return self._served(self._spec(self.config.name, adapter.digest), self.base, adapter)

    def champion(self, candidate_digest: str) -> ServedSystem:
        """Return what a candidate must beat, by `evaluate.champion`.

        A run that promoted its candidate, run again, compares with what it compared before.
        """
        wanted = self.config.evaluate.champion
        if wanted == "base":
            return self._of(None)
        if wanted != "alias":
            found = self.store.by_digest(wanted)[0]
            return self._served(self._spec(wanted[:12], found.digest), self.base, found)
        history = generations(self.store, self.alias)
        while history and history[-1].digest == candidate_digest:
            history.pop()
        return self._of(history[-1] if history else None)

    def serving_now(self) -> ServedSystem:
        """Return the system that serves users now: the alias's, or the base before any."""
        return self._of(current(self.store, self.alias))

    def judge_model(self, judge: JudgeConfig, engine: EngineConfig) -> ResolvedModel | None:
        """Return a judge's weights; None where there is no judge or it runs elsewhere."""
        from tuneloop.runtime.weights import resolve_model

        if judge.role == "off" or (judge.engine or engine).backend == "url":
            return None
        return resolve_model(ModelConfig(name=judge.model)) if judge.model else self.base

    def _of(self, generation: Generation | None) -> ServedSystem:
        """Return a recorded system, ready to be served.

        Raises:
            StoreError: if its base is no longer what it was.
        """
        if generation is None:
            return self._served(self._spec("base", None), self.base, None)
        from tuneloop.runtime.weights import resolve_model

        spec, base = generation.system, self.base
        if spec.base != base.digest:
            base = resolve_model(ModelConfig(name=spec.model))
        if base.digest != spec.base:
            raise StoreError(
                f"the base model {spec.model!r} is not the one system {spec.digest[:12]} had",
                hint="put those weights back, or set evaluate.champion",
            )
        adapter = self.store.by_digest(spec.adapter)[0] if spec.adapter else None
        return self._served(spec, base, adapter)

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

        folder = adapter.folder() / "adapter" if adapter else None
        return ServedSystem(spec=spec, base=base, adapter_folder=folder)
