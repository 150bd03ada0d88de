"""From rows to prompts: orders, judges and samples averaged before anything is inferred."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuneloop.compare.reading import Judgment
from tuneloop.statistics.agreement import verdict_classes
from tuneloop.statistics.resampling import Codes, Floats

_POSITIONS: dict[str | None, int] = {None: 0, "first": 1, "second": 2}


@dataclass(frozen=True)
class Rows:
    """Judgments by column, NaN where a value is missing; `prompt` numbers the prompts."""

    prompt: Codes
    position: Codes
    judge: Codes
    preference: Floats
    human: Floats


@dataclass(frozen=True)
class Prompts:
    """One entry a prompt, shapes (P,).

    `share` is the mean preference for the candidate over the orders (each the mean over its
    judges, each the mean over its samples), NaN where every row is missing; `low` and `high`
    are the same with each missing row counted against and for the candidate.
    """

    ids: list[str]
    share: Floats
    low: Floats
    high: Floats
    first: Floats
    second: Floats
    human: Floats
    label_probability: Floats
    candidate_chars: Floats
    champion_chars: Floats
    cluster: Codes
    slices: list[dict[str, Any]]
    rows: Rows
    missing: dict[str, int]

    @property
    def scored(self) -> np.ndarray:
        """Which prompts have a share."""
        return np.asarray(~np.isnan(self.share))

    @property
    def n_clusters(self) -> int:
        """Clusters among the scored prompts."""
        return len(np.unique(self.cluster[self.scored]))


def collapse(judgments: Sequence[Judgment]) -> Prompts:
    """Return the prompts of judgments that are sorted by identity."""
    ids = sorted({str(j.prompt_id) for j in judgments})
    number = {prompt: i for i, prompt in enumerate(ids)}
    judges = {name: i for i, name in enumerate(sorted({j.judge or "" for j in judgments}))}
    rows = Rows(
        prompt=np.array([number[str(j.prompt_id)] for j in judgments], dtype=np.int64),
        position=np.array([_POSITIONS[j.candidate_position] for j in judgments], dtype=np.int64),
        judge=np.array([judges[j.judge or ""] for j in judgments], dtype=np.int64),
        preference=_column([None if j.missing else j.preference for j in judgments]),
        human=_column([j.human for j in judgments]),
    )
    of_prompt = {str(j.prompt_id): j for j in judgments}
    clusters = [_cluster(of_prompt[prompt]) for prompt in ids]
    lengths = [_mean(rows.prompt, _column(c), len(ids)) for c in _lengths(judgments)]
    probability = _column([j.label_probability for j in judgments])
    sides = [_where(rows.position == p, rows.preference) for p in (1, 2)]
    return Prompts(
        ids=ids,
        share=_shares(rows, rows.preference, len(ids)),
        low=_shares(rows, np.nan_to_num(rows.preference, nan=0.0), len(ids)),
        high=_shares(rows, np.nan_to_num(rows.preference, nan=1.0), len(ids)),
        first=_shares(rows, sides[0], len(ids)),
        second=_shares(rows, sides[1], len(ids)),
        human=_mean(rows.prompt, rows.human, len(ids)),
        label_probability=_mean(rows.prompt, probability, len(ids)),
        candidate_chars=lengths[0],
        champion_chars=lengths[1],
        cluster=np.unique(np.array(clusters, dtype=str), return_inverse=True)[1].astype(np.int64),
        slices=[dict(of_prompt[prompt].slice or {}) for prompt in ids],
        rows=rows,
        missing=dict(sorted(Counter(j.missing for j in judgments if j.missing).items())),
    )


def slice_members(prompts: Prompts) -> dict[str, Codes]:
    """Return slice (`dimension=value`) → the prompts in it, by name."""
    members: dict[str, list[int]] = {}
    for i, named in enumerate(prompts.slices):
        for dimension, value in named.items():
            if value is not None:
                members.setdefault(f"{dimension}={_spoken(value)}", []).append(i)
    return {name: np.array(members[name], dtype=np.int64) for name in sorted(members)}


def row_classes(prompts: Prompts) -> tuple[Codes, Codes, Codes]:
    """Return judge's and people's class, and cluster, of each row that has both."""
    rows = prompts.rows
    both = ~np.isnan(rows.preference) & ~np.isnan(rows.human)
    judge, human = verdict_classes(rows.preference[both]), verdict_classes(rows.human[both])
    return judge, human, prompts.cluster[rows.prompt[both]]


def _lengths(judgments: Sequence[Judgment]) -> list[list[float | None]]:
    """Return both lengths of each row, none where one of them is missing."""
    whole = [j.candidate_chars is not None and j.champion_chars is not None for j in judgments]
    return [
        [getattr(j, name) if ok else None for j, ok in zip(judgments, whole, strict=True)]
        for name in ("candidate_chars", "champion_chars")
    ]


def _cluster(judgment: Judgment) -> str:
    own = f"prompt:{judgment.prompt_id}"
    return own if judgment.cluster is None else f"cluster:{judgment.cluster}"


def _spoken(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _column(values: list[Any]) -> Floats:
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _where(chosen: np.ndarray, values: Floats) -> Floats:
    return np.where(chosen, values, np.nan)


def _shares(rows: Rows, preference: Floats, n: int) -> Floats:
    """Return the mean over orders of the mean over judges of the mean over samples."""
    n_judges = int(rows.judge.max()) + 1 if len(rows.judge) else 1
    cell = (rows.prompt * 3 + rows.position) * n_judges + rows.judge
    cells, place = np.unique(cell, return_inverse=True)
    by_judge = _mean(place, preference, len(cells))
    by_order = _mean(cells // n_judges, by_judge, n * 3)
    return _mean(np.arange(n * 3) // 3, by_order, n)


def _mean(codes: Codes, values: Floats, n: int) -> Floats:
    """Return the mean by code, missing values left out, NaN where there is none."""
    known = ~np.isnan(values)
    count = np.bincount(codes[known], minlength=n)
    total = np.bincount(codes[known], weights=values[known], minlength=n)
    found = np.full(n, np.nan)
    np.divide(total, count, out=found, where=count > 0)
    return found
