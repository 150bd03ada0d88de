"""Past comparisons under the gate: what was noise, what could be seen, how the judge leans."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from tuneloop.compare.reading import Judgment
from tuneloop.compare.report import compare_judgments
from tuneloop.config.compare import CompareConfig
from tuneloop.statistics.multiplicity import holm
from tuneloop.statistics.power import POWER, minimum_effect, win_rate_square
from tuneloop.statistics.quantiles import normal_quantile

Z = 1.959963984540054
FEW = 10


def audit_judgments(rows: Sequence[Judgment], config: CompareConfig) -> dict[str, Any]:
    """Return each past comparison read naively and by the gate, and what all say of the judge."""
    by_name: dict[str, list[Judgment]] = {}
    for row in rows:
        by_name.setdefault(row.comparison or "", []).append(row)
    documents = {name: compare_judgments(mine, config) for name, mine in sorted(by_name.items())}
    wins = [_win(name, by_name[name], document) for name, document in documents.items()]
    tested = [w for w in wins if w["p_value"] is not None]
    for win, p in zip(tested, holm([w["p_value"] for w in tested]), strict=True):
        win["p_adjusted"] = p
    largest = max(documents, key=lambda name: documents[name]["n_scored"])
    every = documents[largest] if len(documents) == 1 else compare_judgments(_pooled(rows), config)
    claimed = [w for w in wins if w["finding"] in ("proven", "noise")]
    return {
        "comparisons": wins,
        "n_claimed": len(claimed),
        "n_noise": sum(w["finding"] == "noise" for w in wins),
        "n_proven": sum(w["finding"] == "proven" for w in wins),
        "n_proven_together": sum(
            w["finding"] == "proven" and (w["p_adjusted"] or 1.0) <= config.alpha for w in wins
        ),
        "expected_false": round(config.alpha * len(wins), 3),
        "golden": _resolution(documents[largest], largest, config),
        "judge": {key: every[key] for key in ("position", "length_controlled", "agreement")}
        | {"win_rate": every["win_rate"], "n_rows": every["n_rows"],
           "n_missing": every["n_missing"], "missing": every["missing"],
           "not_measured": every["not_measured"]},
    }  # fmt: skip


def _win(name: str, rows: Sequence[Judgment], found: dict[str, Any]) -> dict[str, Any]:
    """Return one past comparison: as if rows were independent, and under the gate."""
    values = [row.preference for row in rows if not row.missing and row.preference is not None]
    n, mean = len(values), math.nan
    naive: dict[str, Any] = {"n": n, "win_rate": None, "ci_low": None, "ci_high": None}
    if n:
        mean = sum(values) / n
        naive["win_rate"] = mean
    if n > 1:
        error = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n)
        naive |= {"ci_low": mean - Z * error, "ci_high": mean + Z * error}
    claimed = n > 0 and mean > 0.5
    finding = "no win"
    if found["verdict"] == "PROMOTE":
        finding = "proven"
    elif claimed:
        finding = "noise"
    return {
        "comparison": name or "all",
        "finding": finding,
        "naive": naive,
        "looked_significant": bool(n > 1 and naive["ci_low"] > 0.5),
        "win_rate": found["win_rate"],
        "ci_low": found["ci_low"],
        "ci_high": found["ci_high"],
        "n_prompts": found["n_prompts"],
        "n_clusters": found["n_clusters"],
        "n_rows": found["n_rows"],
        "n_missing": found["n_missing"],
        "p_value": found["p_value"],
        "p_adjusted": None,
        "verdict": found["verdict"],
        "reason": found["reasons"][0],
    }


def _resolution(found: dict[str, Any], name: str, config: CompareConfig) -> dict[str, Any]:
    """Return the smallest differences that the largest comparison's prompts show, by slice."""
    rows = [{"name": "all prompts", **_seen(found, config)}]
    rows += [{"name": part["name"], **_seen(part, config)} for part in found["slices"]]
    return {"comparison": name or "all", "power": POWER, "alpha": config.alpha, "rows": rows}


def _seen(of: dict[str, Any], config: CompareConfig) -> dict[str, Any]:
    """Return the smallest visible difference, from the measured error or else from a guess.

    Its interval is that of the error (chi-square).
    """
    n, error = of["n_clusters"], of["standard_error"]
    counts = {"n_prompts": of["n_prompts"], "n_clusters": n}
    if not n:
        return counts | {"points": None, "reason": "no prompt was scored"}
    factor = 100 * (normal_quantile(1 - config.alpha) + normal_quantile(POWER))
    few = {"reason": f"fewer than {FEW} prompts: anything can hide"} if n < FEW else {}
    if n < FEW or not error:
        guess = minimum_effect(win_rate_square(), n, config.alpha) or 0.0
        few = few or {"reason": "no two prompts differ"}
        return counts | {"points": 100 * guess, "basis": "a winner in 60 % of prompts"} | few
    from scipy.special import chdtri

    low, high = (math.sqrt((n - 1) / float(chdtri(n - 1, tail))) for tail in (0.025, 0.975))
    ends = {"points_low": factor * error * low, "points_high": factor * error * high}
    return counts | {"points": factor * error, "basis": "measured"} | ends


def _pooled(rows: Sequence[Judgment]) -> list[Judgment]:
    """Return all rows as one: a prompt of several comparisons is one cluster of them."""
    found = [
        msgspec.structs.replace(
            row,
            prompt_id=f"{row.comparison}\0{row.prompt_id}",
            cluster=str(row.prompt_id) if row.cluster is None else row.cluster,
            comparison=None,
            slice=None,
        )
        for row in rows
    ]
    return sorted(found, key=lambda row: row.identity[1:])
