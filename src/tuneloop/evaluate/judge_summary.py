"""What the judgments say together, and how far to believe them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.evaluate.judge import Judgment, collapse_scores
from tuneloop.evaluate.tables import Side

LEVEL = 0.95
N_RESAMPLES = 2_000


@dataclass(frozen=True)
class Collapsed:
    """One prompt's judgments: `score` is over all orders, None where no judge saw every one."""

    prompt: GoldenPrompt
    judgments: list[Judgment]

    @property
    def score(self) -> float | None:
        """The candidate's score; one order alone would carry the judge's taste for a place."""
        return collapse_scores(self.judgments).get(self.prompt.id)


def collapse(prompts: Sequence[GoldenPrompt], judgments: Sequence[Judgment]) -> list[Collapsed]:
    """Return the judgments by prompt; pairs whose orders disagree stay in."""
    by_prompt: dict[str, list[Judgment]] = {prompt.id: [] for prompt in prompts}
    for judgment in judgments:
        by_prompt[judgment.prompt_id].append(judgment)
    return [Collapsed(prompt, by_prompt[prompt.id]) for prompt in prompts]


def summarise(
    prompts: Sequence[GoldenPrompt],
    judgments: Sequence[Judgment],
    passed: Mapping[Side, Mapping[str, bool | None]],
    *,
    seed: int,
) -> dict[str, Any]:
    """Return the judge's part of `evaluation.json`; every figure with its n.

    Args:
        prompts: Those that were judged.
        judgments: Both orders of each.
        passed: Side → prompt id → whether its checks passed.
        seed: Of the bootstrap.
    """
    collapsed = collapse(prompts, judgments)
    ok = [j for j in judgments if j.status == "ok"]
    missing = Counter(j.reason for j in judgments if j.status == "missing")
    return {
        "n_prompts": len(prompts),
        "win_rate": win_rate(collapsed, seed=seed),
        "order_agreement": _share([_agree(c) for c in collapsed]),
        "first_share": _share([_first(j) for j in ok]),
        "off_label": _share([j.off_label for j in judgments]),
        "decided_by": {
            name: sum(j.decided_by == name for j in ok) for name in ("logprobs", "structured")
        },
        "missing": {
            "n": missing.total(),
            "n_asked": len(judgments),
            "fraction": missing.total() / len(judgments) if judgments else 0.0,
            "by_reason": dict(sorted((str(k), n) for k, n in missing.items())),
        },
        "check_agreement": _share([_check_agreement(c, passed) for c in collapsed]),
    }


def win_rate(collapsed: Sequence[Collapsed], *, seed: int) -> dict[str, Any]:
    """Return the candidate's mean score over prompts, with a bootstrap interval over families.

    `worst` and `best` count every missing prompt as lost and as won.
    """
    scores = {c.prompt.id: c.score for c in collapsed if c.score is not None}
    families: dict[str, list[float]] = {}
    for c in collapsed:
        if c.prompt.id in scores:
            families.setdefault(c.prompt.family or f"id:{c.prompt.id}", []).append(
                scores[c.prompt.id]
            )
    total, n, n_all = sum(scores.values()), len(scores), len(collapsed)
    low, high = _bootstrap(list(families.values()), seed=seed)
    return {
        "estimate": total / n if n else None,
        "ci_low": low,
        "ci_high": high,
        "level": LEVEL,
        "method": "percentile bootstrap over prompt families",
        "n": n,
        "n_missing": n_all - n,
        "n_clusters": len(families),
        "worst": total / n_all if n_all else None,
        "best": (total + n_all - n) / n_all if n_all else None,
    }


def _bootstrap(clusters: Sequence[list[float]], *, seed: int) -> tuple[float | None, float | None]:
    if len(clusters) < 2:
        return None, None
    import numpy as np

    sums = np.array([sum(cluster) for cluster in clusters])
    sizes = np.array([len(cluster) for cluster in clusters])
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(clusters), size=(N_RESAMPLES, len(clusters)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _share(values: Sequence[float | None]) -> dict[str, Any]:
    held = [float(value) for value in values if value is not None]
    return {"estimate": sum(held) / len(held) if held else None, "n": len(held)}


def _pick(score: float) -> float:
    return 1.0 if score > 0.5 else 0.0 if score < 0.5 else 0.5


def _agree(collapsed: Collapsed) -> float | None:
    """Whether both orders prefer the same system."""
    orders: dict[str, list[float]] = {}
    for j in collapsed.judgments:
        if j.score is not None and j.order != "each_alone":
            orders.setdefault(j.order, []).append(j.score)
    means = [sum(scores) / len(scores) for scores in orders.values()]
    return float(_pick(means[0]) == _pick(means[1])) if len(means) == 2 else None


def _first(judgment: Judgment) -> float | None:
    """Whether the answer shown first was preferred; a tie is half."""
    if judgment.score is None or judgment.order == "each_alone":
        return None
    pick = _pick(judgment.score)
    return pick if judgment.order == "candidate_first" else 1 - pick


def _check_agreement(
    collapsed: Collapsed, passed: Mapping[Side, Mapping[str, bool | None]]
) -> float | None:
    """Whether the judge prefers the side that passed, where exactly one did; a tie is half."""
    champion = passed["champion"].get(collapsed.prompt.id)
    candidate = passed["candidate"].get(collapsed.prompt.id)
    if collapsed.score is None or champion is None or candidate is None or champion == candidate:
        return None
    pick = _pick(collapsed.score)
    return pick if candidate else 1 - pick
