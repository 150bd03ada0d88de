"""Running a stage once: key, lock, work folder, commit. Everything else is found in the store."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

import tuneloop
from tuneloop.artefacts.digest import digest_json, digest_sources
from tuneloop.artefacts.manifest import Manifest, Parent
from tuneloop.artefacts.stage import Progress, StageContext, StageOutput
from tuneloop.artefacts.store import Artefact, Store
from tuneloop.errors import StoreError
from tuneloop.runtime import environment

OTHER_RANK_TIMEOUT_S = 24 * 3600.0
POLL_S = 0.2


@dataclass(frozen=True)
class StageSpec:
    """A stage by name, the sources that define it, and the pins that change its result."""

    name: str
    sources: tuple[str, ...]
    pins: tuple[str, ...] = ()

    def code_digest(self) -> str:
        """SHA-256 over the stage's own sources, templates and data."""
        root = Path(tuneloop.__file__).parent
        files: list[Path] = []
        for source in self.sources:
            path = root / source
            files += [p for p in path.rglob("*") if _is_source(p)] if path.is_dir() else [path]
        return digest_sources(files, root=root)


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


@dataclass(frozen=True)
class Job:
    """One execution of a stage: what goes in, with which config and seed."""

    spec: StageSpec
    parents: Sequence[Parent]
    config: Mapping[str, Any]
    seed: int
    code: str = field(default="")

    @property
    def key(self) -> str:
        """SHA-256 over all that decides what comes out."""
        return digest_json(
            {
                "stage": self.spec.name,
                "inputs": sorted([parent.role, parent.digest] for parent in self.parents),
                "config": self.config,
                "seed": self.seed,
                "code": self.code,
                "pins": environment.versions(self.spec.pins),
            }
        )


def make_job(
    spec: StageSpec, parents: Sequence[Parent], config: Mapping[str, Any], seed: int
) -> Job:
    """Return a job whose key covers the stage's sources as they are now."""
    return Job(spec=spec, parents=parents, config=config, seed=seed, code=spec.code_digest())


def parent(role: str, artefact: Artefact) -> Parent:
    """Return an artefact as an input of a stage."""
    manifest = artefact.manifest
    return Parent(role=role, kind=manifest.kind, digest=manifest.digest, key=manifest.key)


def rank() -> int:
    """Return this process's rank under a launcher, else 0."""
    return int(os.environ.get("RANK", "0"))


Work = Callable[[StageContext], StageOutput]


def execute(
    store: Store, job: Job, work: Work, *, progress: Progress, again: bool = False
) -> Artefact:
    """Return the job's artefact, running it only if the store does not hold it.

    A second process that wants the same job waits for the first. Under a launcher this is for
    rank 0; see `take_part` and `wait_for` for the others.

    Args:
        store: Where artefacts are.
        job: What to run.
        work: The stage.
        progress: Where progress is shown.
        again: Run it although the store holds it, as the next generation of its key.
    """
    before = store.find(job.spec.name, job.key)
    if before and not again:
        return before
    newest = store.find(job.spec.name, job.key, erased=True)
    generation = newest.manifest.generation + 1 if newest else 1
    lock_path = store.work / "locks" / f"{job.spec.name}-{job.key}.lock"
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(str(lock_path))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.say(f"{job.spec.name}: another process is at it; waiting")
        lock.acquire()
    try:
        found = store.find(job.spec.name, job.key)
        if found and found.manifest.generation >= generation:
            return found
        context = _context(store, job, progress)
        draft, files = _run(job, generation, work, context)
        artefact = store.commit(draft, files)
        shutil.rmtree(context.work, ignore_errors=True)
        return artefact
    finally:
        lock.release()


def take_part(store: Store, job: Job, work: Work, *, progress: Progress) -> None:
    """Do another rank's share of work that is distributed; rank 0 commits what comes out."""
    work(_context(store, job, progress))


def wait_for(found: Callable[[], Artefact | None], what: str) -> Artefact:
    """Return what rank 0 leaves, as soon as it is there.

    Raises:
        StoreError: if the launcher ended or a day passed without it.
    """
    launcher, deadline = os.getppid(), time.monotonic() + OTHER_RANK_TIMEOUT_S
    while os.getppid() == launcher and time.monotonic() < deadline:
        artefact = found()
        if artefact:
            return artefact
        time.sleep(POLL_S)
    raise StoreError(f"rank 0 did not finish {what}", where=f"rank {rank()}")


def _context(store: Store, job: Job, progress: Progress) -> StageContext:
    folder = store.work / "stages" / job.spec.name / job.key
    folder.mkdir(parents=True, exist_ok=True)
    return StageContext(work=folder, seed=job.seed, progress=progress, cache=store.work / "cache")


def _run(
    job: Job, generation: int, work: Work, context: StageContext
) -> tuple[Manifest, Mapping[str, Path]]:
    started_at, started = datetime.now(UTC), time.monotonic()
    output = work(context)
    draft = Manifest(
        kind=job.spec.name,
        key=job.key,
        generation=generation,
        digest="",
        files={},
        parents=list(job.parents),
        config=dict(job.config),
        code=job.code,
        seed=job.seed,
        environment=environment.snapshot(job.spec.pins),
        counts=output.counts,
        details=dict(output.details),
        started_at=started_at,
        seconds=round(time.monotonic() - started, 3),
        peak_memory_gib=environment.peak_memory_gib(),
    )
    return draft, output.files
