"""How far a judge agrees with people: kappa, Youden's J, calibration, bias, by slice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuneloop.evaluate.labelled import Labelled

if TYPE_CHECKING:
    from tuneloop.statistics.resampling import Codes, Floats

LEVEL = 0.95
ALPHA = (1 - LEVEL) / 2
N_BINS = 5
N_RESAMPLES = 2_000
MIN_SLICE = 10
"""Labelled pairs below which a slice has no figures of its own."""


def agree_with_people(
    labelled: Sequence[Labelled], scores: Mapping[str, float | None], *, seed: int
) -> dict[str, Any]:
    """Return the judge's agreement with people on labelled pairs, over all and by slice.

    Args:
        labelled: What people found.
        scores: The judge's score of each pair, over both orders; None is missing.
        seed: Of the bootstrap.
    """
    held = [one for one in labelled if scores.get(one.pair.id) is not None]
    names = sorted({name for one in held for name in one.pair.prompt.slices})
    slices = {name: [one for one in held if name in one.pair.prompt.slices] for name in names}
    return {
        "n_missing": len(labelled) - len(held),
        **_figures(held, scores, seed),
        "slices": {
            name: _figures(members, scores, seed) if len(members) >= MIN_SLICE
            else {"n": len(members), "reason": f"fewer than {MIN_SLICE} labelled pairs"}
            for name, members in slices.items()
        },
    }  # fmt: skip


def _figures(
    held: Sequence[Labelled], scores: Mapping[str, float | None], seed: int
) -> dict[str, Any]:
    import numpy as np

    from tuneloop.statistics.agreement import agreement, verdict_classes

    if not held:
        return {"n": 0, "reason": "no labelled pair was judged"}
    judge = np.array([scores[one.pair.id] for one in held], dtype=np.float64)
    human = np.array([one.human for one in held], dtype=np.float64)
    codes = cluster_codes([one.pair.prompt.family or one.pair.id for one in held])
    found = agreement(verdict_classes(judge), verdict_classes(human), codes, alpha=ALPHA)
    return {
        "n": found.n,
        "accuracy": _figure(found.accuracy, found.accuracy_low, found.accuracy_high),
        "kappa": _figure(found.kappa, found.kappa_low, found.kappa_high),
        "youden_j": youden_j(judge, human),
        "ece": _resampled(judge, human, codes, seed),
        "bias": _bias(judge - human, codes, seed),
    }


def youden_j(judge: Floats, human: Floats) -> dict[str, Any]:
    """Return sensitivity + specificity - 1 where people saw a better answer.

    Source: Youden 1950, Cancer 3:32-35; interval from two Wilson intervals by the method of
    variance estimates recovery, Zou and Donner 2008, Statistics in Medicine 27:1693-1702.
    """
    from tuneloop.statistics.rates import wilson

    better, worse = judge[human > 0.5] > 0.5, judge[human < 0.5] < 0.5
    if not len(better) or not len(worse):
        return _figure(None, None, None) | {"reason": "people preferred one side alone"}
    rates = [float(found.mean()) for found in (better, worse)]
    bounds = [wilson(float(found.sum()), len(found), ALPHA) for found in (better, worse)]
    j = sum(rates) - 1
    down = math.sqrt(sum((r - low) ** 2 for r, (low, _) in zip(rates, bounds, strict=True)))
    up = math.sqrt(sum((high - r) ** 2 for r, (_, high) in zip(rates, bounds, strict=True)))
    n = len(better) + len(worse)
    return _figure(j, max(-1.0, j - down), min(1.0, j + up)) | {"n": n}


def calibration_error(judge: Floats, human: Floats) -> float:
    """Return the expected calibration error over equal bins of the score.

    Source: Naeini, Cooper and Hauskrecht 2015, AAAI 29:2901-2907.
    """
    import numpy as np

    bins = np.minimum((judge * N_BINS).astype(int), N_BINS - 1)
    gaps = [abs(float(np.sum(judge[bins == b] - human[bins == b]))) for b in range(N_BINS)]
    return sum(gaps) / len(judge)


def _resampled(judge: Floats, human: Floats, codes: Codes, seed: int) -> dict[str, Any]:
    import numpy as np

    rng = np.random.default_rng(seed)
    n_clusters = int(codes.max()) + 1
    members = [np.flatnonzero(codes == c) for c in range(n_clusters)]
    found = []
    for _ in range(N_RESAMPLES if n_clusters > 1 else 0):
        rows = np.concatenate([members[c] for c in rng.integers(n_clusters, size=n_clusters)])
        found.append(calibration_error(judge[rows], human[rows]))
    low, high = np.quantile(found, [ALPHA, 1 - ALPHA]) if found else (None, None)
    return _figure(calibration_error(judge, human), low, high)


def _bias(difference: Floats, codes: Codes, seed: int) -> dict[str, Any]:
    return _figure(*mean_with_interval(difference, codes, seed=seed, reach=1.0))


def mean_with_interval(
    values: Floats, codes: Codes, *, seed: int, reach: float
) -> tuple[float, float | None, float | None]:
    """Return the mean over clusters and its interval; no interval with one cluster."""
    from tuneloop.statistics.means import Clusters, mean_intervals
    from tuneloop.statistics.resampling import Resampling

    of = Clusters.of(values, codes)
    if of.n < 2:
        return float(values.mean()), None, None
    how = Resampling(alpha=ALPHA, n_bootstrap=N_RESAMPLES, seed=seed)
    interval = mean_intervals(of, how, (ALPHA,), reach=reach)[0]
    return of.mean, interval.low, interval.high


def cluster_codes(names: Sequence[str]) -> Codes:
    """Return a number for each name, alike for alike."""
    import numpy as np

    return np.asarray(np.unique(list(names), return_inverse=True)[1], dtype=np.int64)


def _figure(value: float | None, low: float | None, high: float | None) -> dict[str, Any]:
    return {"value": rounded(value), "ci_low": rounded(low), "ci_high": rounded(high)}


def rounded(value: float | None) -> float | None:
    """Return six significant digits: more would not replay on every machine."""
    return None if value is None else float(f"{float(value):.6g}")
