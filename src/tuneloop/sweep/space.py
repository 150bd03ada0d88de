"""Which values a trial takes: the points of a grid, or Optuna's suggestions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from tuneloop.config.sweep import Dimension, SweepConfig, Value
from tuneloop.errors import TuneloopError

Params = dict[str, Value]


class Space:
    """Asked for the values of a trial, told what came of it.

    What trial n takes depends on the seed, on n and on what the trials before came to, and on
    nothing else: a sweep that is started again comes to the same trials.
    """

    def __init__(self, config: SweepConfig) -> None:
        self.config = config
        keys = list(config.space)
        self._grid = [
            dict(zip(keys, point, strict=True))
            for point in itertools.product(*(config.space[key].values or [] for key in keys))
        ]
        self._study = None if config.method == "grid" else _study(config)
        self._distributions = {} if self._study is None else _distributions(config)

    @property
    def n_trials(self) -> int:
        """How many trials there are."""
        return len(self._grid) if self._study is None else self.config.trials

    def values(self, trial: int) -> Params:
        """Return what trial n takes, the first being 0; the trials before must have been told."""
        if self._study is None:
            return self._grid[trial]
        self._study.sampler = _sampler(self.config, trial)
        asked = self._study.ask(self._distributions).params
        return {key: _chosen(self.config.space[key], asked[key]) for key in self.config.space}

    def tell(self, trial: int, value: float | None) -> None:
        """Note what trial n came to; None: it failed, and says nothing about its values."""
        if self._study is not None:
            from optuna.trial import TrialState

            state = TrialState.FAIL if value is None else TrialState.COMPLETE
            self._study.tell(trial, value, state=state)

    def corners(self) -> list[Params]:
        """Return trials that hold each value of each list and both ends of each range once."""
        ends = {
            key: d.values if d.values is not None else [_number(d, d.low), _number(d, d.high)]
            for key, d in self.config.space.items()
        }
        n_corners = max(len(values) for values in ends.values())
        return [
            {key: values[min(n, len(values) - 1)] for key, values in ends.items()}
            for n in range(n_corners)
        ]


def _study(config: SweepConfig) -> Any:
    try:
        import optuna
    except ImportError:
        raise TuneloopError(
            f"method {config.method} needs optuna",
            where="sweep",
            hint="pip install tuneloop[sweep], or method: grid",
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    direction = "minimize" if config.metric == "loss" else "maximize"
    return optuna.create_study(direction=direction)


def _sampler(config: SweepConfig, trial: int) -> Any:
    """Return a sampler of a trial's own: it draws the same whoever drew before."""
    from optuna import samplers

    seed = config.seed * 1_000_003 + trial
    if config.method == "random":
        return samplers.RandomSampler(seed=seed)
    # A third of the trials is drawn blindly, ten at most: before, there is nothing to learn from.
    n_blind = min(10, max(1, config.trials // 3))
    return samplers.TPESampler(seed=seed, n_startup_trials=n_blind)


def _distributions(config: SweepConfig) -> Mapping[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, Any] = {}
    for key, d in config.space.items():
        if d.values is not None:
            found[key] = CategoricalDistribution(range(len(d.values)))
        elif d.integer:
            found[key] = IntDistribution(int(d.low or 0), int(d.high or 0), log=d.log)
        else:
            found[key] = FloatDistribution(d.low or 0.0, d.high or 0.0, log=d.log)
    return found


def _chosen(dimension: Dimension, drawn: Any) -> Value:
    if dimension.values is not None:
        value: Value = dimension.values[drawn]
        return value
    # Five digits: what is written into a config, and the key of a stage, is what was trained with.
    return _number(dimension, float(f"{drawn:.5g}"))


def _number(dimension: Dimension, value: float | None) -> Value:
    return None if value is None else int(value) if dimension.integer else value
