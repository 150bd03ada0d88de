"""A comparison as one JSON document, and as lines for people."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tuneloop.compare.measure import Evidence, Rate, measure
from tuneloop.compare.prompts import collapse
from tuneloop.compare.reading import Judgment
from tuneloop.compare.verdict import Primary, conclude, decide_primary, slice_rates, slice_verdict
from tuneloop.config.compare import CompareConfig
from tuneloop.statistics.multiplicity import holm
from tuneloop.statistics.paired import Comparison

VERSION = 1
DIGITS = 10
"""Significant digits of what is printed: enough for any reader, few enough to replay alike."""


def compare_judgments(judgments: list[Judgment], config: CompareConfig) -> dict[str, Any]:
    """Return the whole comparison; the same judgments give the same document."""
    prompts = collapse(judgments)
    of = measure(prompts, config)
    verdict, reasons, conditions = conclude(of, config)
    primary = decide_primary(of, config)
    document = {
        "schema_version": VERSION,
        "verdict": verdict,
        "reasons": reasons,
        **_rate(of.raw, prompts.n_clusters),
        "confidence": config.confidence,
        "n_rows": len(prompts.rows.prompt),
        "n_missing": sum(prompts.missing.values()),
        "missing": prompts.missing,
        "decided_by": _decided(of, primary, config),
        "length_controlled": _length(of),
        "length_matched": None if of.matched is None else _rate(of.matched, None),
        "position": _position(of),
        "agreement": None if of.agreement is None else asdict(of.agreement),
        "corrected": _corrected(of, config),
        "slices": _slices(of, config),
        "conditions": [
            {"name": c.name, "status": c.status, "detail": c.detail} for c in conditions
        ],
        "not_measured": _not_measured(of),
        "seed": config.seed,
        "n_bootstrap": config.n_bootstrap,
    }
    rounded: dict[str, Any] = _rounded(document)
    return rounded


def comparison_lines(found: dict[str, Any]) -> list[str]:
    """Return a comparison as people read it: the verdict, why, and the figures."""
    lines = [found["verdict"], *(f"  {reason}" for reason in found["reasons"]), ""]
    level = f"{100 * found['confidence']:g} %"
    if found["win_rate"] is None:
        return [*lines, f"{found['n_rows']} rows, none of them usable"]
    rows = [("judge", found)]
    for label, key in (("length-controlled", "length_controlled"), ("corrected", "corrected")):
        rows += [(label, found[key])] if found[key] else []
    rows += [("length-matched", found["length_matched"])] if found["length_matched"] else []
    rows += [(part["name"], part) for part in found["slices"]]
    lines.append(f"{'win rate':<24}{'':>8}  {level + ' interval':<19}  error  prompts")
    for label, of in rows:
        n = of.get("n_scored", of.get("n"))
        if of["win_rate"] is None:
            lines.append(f"  {label:<22}missing")
            continue
        error = of["standard_error"]
        shown = "   ?" if error is None else f"{100 * error:.2f}"
        lines.append(
            f"  {label:<22}{100 * of['win_rate']:>7.1f} %  {100 * of['ci_low']:>6.1f} to"
            f" {100 * of['ci_high']:<6.1f} %   {shown:>5}  {n:>7,}"
        )
    lines += ["", f"{found['n_rows']:,} rows, {found['n_missing']:,} missing; {found['method']}"]
    lines += [f"not measured: {name} ({why})" for name, why in found["not_measured"].items()]
    return lines


def _rate(rate: Rate, n_clusters: int | None) -> dict[str, Any]:
    of = rate.of
    counts = {
        "n_prompts": rate.n_prompts,
        "n_scored": rate.n_scored,
        "n_clusters": rate.n_clusters if n_clusters is None else n_clusters,
    }
    if of is None:
        names = ("win_rate", "standard_error", "ci_low", "ci_high", "p_value")
        return dict.fromkeys(names) | {"method": "none"} | counts
    return {
        "win_rate": 0.5 + of.estimate,
        "standard_error": of.standard_error if of.n > 1 else None,
        "ci_low": 0.5 + of.wide.low,
        "ci_high": 0.5 + of.wide.high,
        "p_value": of.p_value,
        "method": _method(of, rate),
        **counts,
        "wins": of.wins,
        "ties": of.ties,
        "losses": of.losses,
    }


def _method(of: Comparison, rate: Rate) -> str:
    return of.method + ("; clusters" if rate.n_clusters < rate.n_scored else "")


def _decided(of: Evidence, primary: Primary | None, config: CompareConfig) -> dict[str, Any]:
    """Return the gate's own figures: one-sided bounds, and what would resolve it."""
    fields: dict[str, Any] = {
        "alpha": of.alpha,
        "min_improvement": config.min_improvement,
        "n_candidates": config.n_candidates,
    }
    if primary is None:
        return fields | {"by": None}
    return fields | {
        "by": primary.by,
        "win_rate": 0.5 + primary.estimate,
        "lower_bound": 0.5 + primary.low,
        "upper_bound": 0.5 + primary.high,
        "mde": primary.mde,
        "n_needed": primary.n_needed,
        "labels_needed": primary.labels_needed,
    }


def _length(of: Evidence) -> dict[str, Any] | None:
    if of.length is None:
        return None
    return asdict(of.length)


def _position(of: Evidence) -> dict[str, Any]:
    position = of.position
    ends = {"consistency": position.consistency_bounds, "first_rate": position.first_bounds}
    bounds = {
        f"{name}_{end}": None if pair is None else pair[i]
        for name, pair in ends.items()
        for i, end in enumerate(("low", "high"))
    }
    return {
        "consistency": position.consistency,
        "first_rate": position.first_rate,
        **bounds,
        "effect": position.effect,
        "shift": position.shift,
        "n_both_orders": position.n_both,
        "n_judgments": position.n_judgments,
    }


def _corrected(of: Evidence, config: CompareConfig) -> dict[str, Any] | None:
    if of.corrected is None:
        return None
    found = of.corrected.of
    low, high = found.interval_at((1 - config.confidence) / 2)
    return {
        "win_rate": found.estimate,
        "standard_error": found.standard_error if found.n_clusters > 1 else None,
        "ci_low": low,
        "ci_high": high,
        "n": of.corrected.n_scored,
        "n_labels": found.n_labels,
        "judge_weight": found.weight,
        "correlation": found.correlation,
    }


def _slices(of: Evidence, config: CompareConfig) -> list[dict[str, Any]]:
    rates = slice_rates(of)
    tested = {name: rate.of.p_value for name, rate in rates.items() if rate.of}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    rows = []
    for name, rate in rates.items():
        verdict, detail, (low, high) = slice_verdict(of, name, config)
        dimension, _, value = name.partition("=")
        p = adjusted.get(name)
        rows.append(
            {
                "name": name,
                "dimension": dimension,
                "value": value,
                **_rate(rate, None),
                "n_missing": rate.n_prompts - rate.n_scored,
                "protected": name in config.protected_slices,
                "margin": config.slice_margin,
                "lower_bound": 0.5 + low,
                "upper_bound": 0.5 + high,
                "verdict": verdict,
                "detail": detail,
                "p_adjusted": p,
                "improved": p is not None and p <= of.alpha,
            }
        )
    return rows


def _not_measured(of: Evidence) -> dict[str, str]:
    why = {}
    if of.raw.of is None:
        why["win_rate"] = "no row has a usable preference"
    elif of.raw.of.n < 2:
        why["standard_error"] = "it needs two prompts or clusters"
    if of.length is None:
        why["length_controlled"] = "no two lengths differ, or no scored row states both"
    if of.position.consistency is None:
        why["position.consistency"] = "no prompt was judged in both orders"
    if of.position.first_rate is None:
        why["position.first_rate"] = "no row states candidate_position"
    if of.agreement is None:
        why["agreement"] = "no row has a preference and a human label"
    if of.corrected is None:
        why["corrected"] = "no scored prompt has a human label"
    return why


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") + 0.0
    return value
