"""A judge's win rate put right by the prompts that people labelled, too (PPI++)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tuneloop.statistics.power import labels_needed, units_needed
from tuneloop.statistics.quantiles import student_quantile
from tuneloop.statistics.rates import wilson
from tuneloop.statistics.resampling import Codes, Floats

FEW_APART = 10
"""With fewer labels that differ from the judge, its bias has hardly been seen: two made-up labels
that contradict it by the whole range, one each way, are counted in the error."""


@dataclass(frozen=True)
class Corrected:
    """A rate that is valid whatever the judge's bias; each bound is one-sided at alpha.

    `correlation` is the judge's with the labels, None where one of them never varies.
    """

    n_labels: int
    n_clusters: int
    estimate: float
    standard_error: float
    weight: float
    correlation: float | None
    skew: float
    alpha: float

    @property
    def interval(self) -> tuple[float, float]:
        """The interval at 1 - 2 alpha, inside 0 to 1."""
        return self.interval_at(self.alpha)

    def interval_at(self, alpha: float) -> tuple[float, float]:
        """Return the interval at another level; all of 0 to 1 from a single cluster.

        A bias turns verdicts one way, which skews what labels and judge differ by, and the t
        interval with it; the first term of its expansion puts that right. Where no residual
        differs, the score interval of a rate, which keeps a width.
        """
        if self.n_clusters < 2:
            return 0.0, 1.0
        if self.standard_error < 1e-9:
            return wilson(self.estimate * self.n_clusters, self.n_clusters, alpha)
        t = student_quantile(1 - alpha, self.n_clusters - 1)
        lean = self.skew * (2 * t * t + 1) / 6
        lean = min(max(lean, -t / 2), t / 2)
        error = self.standard_error
        return (
            max(0.0, self.estimate - (t - lean) * error),
            min(1.0, self.estimate + (t + lean) * error),
        )

    def needed(self, distance: float, n_prompts: int) -> int | None:
        """Return how many labels in all would show a difference `distance` from its limit.

        None where the estimate lies on the wrong side of it, or not even a label on every prompt
        would do.
        """
        spread = self.standard_error**2 * self.n_labels  # of one label beside this judge
        r = self.correlation or 0.0
        alone = spread / max(1 - r * r * (1 - self.n_labels / n_prompts), 1e-9)
        effective = units_needed(alone, distance, self.alpha)
        return None if effective is None else labels_needed(effective, n_prompts, r)


def corrected_rate(
    judge: Floats,
    human: Floats,
    codes: Codes | None = None,
    *,
    probability: Floats | None = None,
    alpha: float = 0.05,
) -> Corrected:
    """Return the human win rate over all prompts, from a judge on all and labels on some.

    θ = λ mean(f unlabelled) + mean(y - λ f labelled), λ clipped to 0 to 1. Labels drawn with
    unequal known probabilities are weighted by their inverse; the same draws at equal ones
    give the same numbers. Errors are summed within clusters. With no judge left to use (all
    labelled, or a λ of 0) it is the labels' own mean and sample error. A judge that few labels
    contradict is not trusted without error: see `FEW_APART`.

    Source: Angelopoulos, Duchi and Zrnic 2023, "PPI++: efficient prediction-powered
    inference", for θ and λ; Hájek 1971 for weights that are divided by their sum.

    Args:
        judge: Shares for the candidate, shape (T,).
        human: Labels of the same prompts, NaN where there is none, shape (T,).
        codes: The cluster of each prompt; None: each is its own.
        probability: With which each prompt was drawn to be labelled; None: alike.
        alpha: One-sided level.
    """
    labelled = ~np.isnan(human)
    n, total = int(labelled.sum()), len(judge)
    y = np.where(labelled, human, 0.0)
    w = labelled.astype(np.float64)
    if probability is not None:
        w = np.where(labelled, 1 / np.where(labelled, probability, 1.0), 0.0)
    w = w / w.sum()
    mean_y, mean_f = float(w @ y), float(w @ judge)
    covariance = float(w @ ((y - mean_y) * (judge - mean_f)))
    variance, spread = float(np.var(judge)), float(w @ (y - mean_y) ** 2)
    # Over all prompts instead of the unlabelled ones λ is larger by 1 + n/N: the same estimate.
    share = (total - n) / total
    best = covariance / variance if variance > 1e-15 else 0.0
    weight = min(max(best * share, 0.0), 1.0)
    scale = weight / share if share > 0 else 0.0
    rest = y - scale * judge
    estimate = scale * float(np.mean(judge)) + float(w @ rest)
    apart = int(np.sum(labelled & (np.abs(y - judge) > 1e-9)))
    made_up = scale / n if apart < FEW_APART else 0.0
    influence = w * (rest - float(w @ rest)) + scale * (judge - float(np.mean(judge))) / total
    return Corrected(
        n_labels=n,
        n_clusters=_n_clusters(codes, labelled),
        estimate=min(max(estimate, 0.0), 1.0),
        standard_error=math.hypot(
            _error_of_sum(influence, codes, labelled, fitted=weight > 0),
            math.sqrt(2) * made_up,
        ),
        skew=_skew_of_sum(influence, codes),
        weight=weight,
        correlation=_correlation(covariance, float(w @ (judge - mean_f) ** 2), spread),
        alpha=alpha,
    )


def _n_clusters(codes: Codes | None, labelled: np.ndarray) -> int:
    return int(labelled.sum()) if codes is None else len(np.unique(codes[labelled]))


def _error_of_sum(
    influence: Floats, codes: Codes | None, labelled: np.ndarray, *, fitted: bool
) -> float:
    """Return the error of a sum of clusters; a fitted λ costs one more degree of freedom."""
    total = influence if codes is None else np.bincount(codes, weights=influence)
    n = _n_clusters(codes, labelled)
    rest = max(n - (2 if fitted else 1), 1)
    return math.sqrt(float(np.sum(total**2)) * n / rest) if n > 1 else 0.0


def _skew_of_sum(influence: Floats, codes: Codes | None) -> float:
    total = influence if codes is None else np.bincount(codes, weights=influence)
    square = float(np.sum(total**2))
    return float(np.sum(total**3)) / square**1.5 if square > 1e-18 else 0.0


def _correlation(covariance: float, of_judge: float, of_human: float) -> float | None:
    product = of_judge * of_human
    return covariance / math.sqrt(product) if product > 1e-18 else None
