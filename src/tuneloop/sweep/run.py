"""Running a sweep: every trial is a run of its own, whose stages the store keeps."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.artefacts.stage import Progress
from tuneloop.artefacts.store import Artefact, Store
from tuneloop.config.load import load_config
from tuneloop.config.schema import RunConfig
from tuneloop.config.sweep import SweepConfig
from tuneloop.config.train import Method
from tuneloop.errors import ConfigError, TuneloopError
from tuneloop.pipeline import Pipeline
from tuneloop.runtime.progress import SilentProgress
from tuneloop.sweep.space import Params, Space
from tuneloop.train import distributed


@dataclass(frozen=True)
class Trial:
    """One trial: what it took, and what it came to."""

    number: int
    params: Params
    value: float | None
    """The metric on the validation part; None: there is none, see `missing`."""
    step: int | None
    """The optimiser step it was measured at."""
    missing: str | None
    """Why there is no value."""
    digest: str | None
    """What the stage left."""
    config: RunConfig | None = None


@dataclass(frozen=True)
class Sweep:
    """A sweep over a run's config."""

    path: Path
    overrides: Sequence[str]
    config: SweepConfig
    run: RunConfig
    space: Space

    @property
    def stage(self) -> Method:
        """The training stage that is looked at."""
        return self.config.stage or self.run.train.chain[-1]

    def load(self, params: Params) -> RunConfig:
        """Return a trial's run config."""
        changes = [f"{key}={json.dumps(value)}" for key, value in params.items()]
        config = load_config(self.path, [*self.overrides, *changes]).config
        # `--from` takes what the newest run of a name left: never a trial.
        return config.model_copy(update={"name": f"{config.name}-sweep"})


def open_sweep(path: Path, overrides: Sequence[str], config: SweepConfig) -> Sweep:
    """Return a sweep whose every value is one that its run config takes.

    Raises:
        ConfigError: with all that is wrong.
    """
    sweep = Sweep(path, overrides, config, load_config(path, overrides).config, Space(config))
    problems: list[str] = []
    chain = sweep.run.train.chain
    if config.stage is not None and config.stage not in chain:
        problems.append(f"stage: {config.stage} is switched off in {path}")
    if config.stage is None and not chain:
        problems.append(f"{path} trains nothing")
    elif config.metric == "accuracy" and sweep.stage == "sft":
        problems.append("metric: sft ranks no answers: it has no accuracy")
    last = chain.index(sweep.stage) if sweep.stage in chain else -1
    for key in config.space:
        if key.split(".")[1] not in chain[: last + 1]:
            problems.append(f"space.{key}: does not come before {sweep.stage} in this config")
    for corner in [] if problems else sweep.space.corners():
        try:
            sweep.load(corner)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)), where="sweep")
    return sweep


def run_sweep(
    sweep: Sweep,
    *,
    progress: Progress | None = None,
    told: Callable[[Trial], None] = lambda _: None,
) -> list[Trial]:
    """Run every trial and return them; those whose stages the store has take no time.

    A trial that fails is kept with its reason, and the sweep goes on.

    Args:
        sweep: What to try.
        progress: Where the progress of each training is shown.
        told: Called with each trial as it ends.

    Raises:
        TuneloopError: under a launcher of several processes.
    """
    if distributed.world_size() > 1:
        raise TuneloopError("a sweep is one process", where="sweep", hint="start it directly")
    trials = []
    for number in range(sweep.space.n_trials):
        trial = _try(sweep, number, sweep.space.values(number), progress or SilentProgress())
        sweep.space.tell(number, trial.value)
        trials.append(trial)
        told(trial)
    return trials


def best_of(sweep: Sweep, trials: Sequence[Trial]) -> Trial | None:
    """Return the best trial, of equals the first; None where all failed."""
    sign = 1 if sweep.config.metric == "loss" else -1
    measured = [trial for trial in trials if trial.value is not None]
    return min(measured, key=lambda t: (sign * (t.value or 0.0), t.number), default=None)


def _try(sweep: Sweep, number: int, params: Params, progress: Progress) -> Trial:
    config = None
    try:
        config = sweep.load(params)
        pipeline = Pipeline(config, Store(config.store), progress=progress)
        left = pipeline.run(until=sweep.stage)[sweep.stage]
    except TuneloopError as error:
        return Trial(number, params, None, None, f"{type(error).__name__}: {error.what}", None,
                     config)  # fmt: skip
    value, step, missing = measured(left, sweep.config.metric)
    return Trial(number, params, value, step, missing, left.digest, config)


def measured(left: Artefact, metric: str) -> tuple[float | None, int | None, str | None]:
    """Return what the weights that a stage left come to on the validation part.

    Returns:
        Value, the step it was measured at, and why there is none: one of the two is None.
    """
    history: dict[str, Any] = left.json("history.json")
    kept = history.get("best_step") or history["steps"]
    points = {point["step"]: point for point in history["validation"]}
    if not points:
        return None, None, "there are no validation rows"
    if kept not in points:
        return None, kept, f"nothing was measured at step {kept}, whose weights were kept"
    return points[kept].get(metric), kept, None if metric in points[kept] else f"no {metric}"
