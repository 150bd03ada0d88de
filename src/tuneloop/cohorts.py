"""Who likes the answers: feedback by segment, system, prompt version and intent, with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.artefacts.store import Artefact
from tuneloop.curate.columns import Flags, Ints
from tuneloop.curate.signals.rated import BY, Rated, read_rated
from tuneloop.curate.signals.rates import Rate, adjust, difference, rate
from tuneloop.errors import DataError

ALPHA = 0.05
"""Share of false findings among cohorts that are said to be worse."""
MIN_RATED = 10
"""Ratings on either side below which two versions are not compared: fewer show nothing."""
_COLOURS = {"worse": "C3", "better": "C2"}


def cohort_report(
    curated: Artefact | Path,
    *,
    by: tuple[str, ...] = ("segment",),
    compare: tuple[str, str] | None = None,
    within: str = "system",
) -> dict[str, Any]:
    """Return the approval of each cohort, and which got worse between two versions.

    Approval is the share of rated answers that their users liked (thumbs, stars, scores); its
    interval allows for one person's ratings being alike. `weighted` is the same by inverse
    propensity, null where none is logged.

    Args:
        curated: A curate artefact, or its curated.parquet.
        by: One or more of `BY`, crossed.
        compare: Two values of the column `within`, the older first.
        within: What the two versions are versions of: `system` or `template`.

    Raises:
        DataError: if a column or a version is unknown.
    """
    path = curated if isinstance(curated, Path) else curated.path("curated.parquet")
    rated = read_rated(path)
    for name in (*by, within):
        if name not in BY:
            raise DataError(f"no cohorts by {name!r}", hint=f"one of {', '.join(BY)}")
    by = tuple(name for name in by if not compare or name != within)
    overall = _rates(rated, np.arange(len(rated.good)), served=False)[0]
    report: dict[str, Any] = {
        "by": list(by),
        "n": len(rated.good),
        "n_rated": overall.n,
        "overall": overall.as_dict(),
        "cohorts": _cohorts(rated, by),
    }
    if compare:
        report["comparison"] = _compare(rated, by, compare, within)
    return report


def _groups(rated: Rated, by: tuple[str, ...]) -> list[tuple[dict[str, str | None], Ints]]:
    """Return each cohort's names and rows, in order of the names; one of all where `by` is ()."""
    if not by:
        return [({}, np.arange(len(rated.good)))]
    number = np.zeros(len(rated.good), dtype=np.int64)
    for name in by:
        encoded = rated.columns[name].dictionary_encode()
        codes = np.asarray(pc.fill_null(encoded.indices, len(encoded.dictionary)), dtype=np.int64)
        number = number * (len(encoded.dictionary) + 1) + codes
    order = np.argsort(number, kind="stable")
    starts = np.flatnonzero(np.diff(number[order], prepend=-1))
    rows = np.split(order, starts[1:]) if len(order) else []
    named = [({name: rated.columns[name][int(some[0])].as_py() for name in by}, some)
             for some in rows]  # fmt: skip
    return sorted(named, key=lambda pair: [(v is not None, v or "") for v in pair[0].values()])


def _rates(rated: Rated, rows: Ints, *, served: bool) -> tuple[Rate, Rate | None]:
    """Return the approval of some rows, and the same by inverse propensity where logged."""
    rows = rows[~np.isnan(rated.good[rows])]
    raw = rate(rated.good[rows], cluster=rated.person[rows])
    weight = rated.weights[served]
    known: Ints = rows[~np.isnan(weight[rows])]
    if not len(known):
        return raw, None
    return raw, rate(rated.good[known], weight=weight[known], cluster=rated.person[known])


def _cohorts(rated: Rated, by: tuple[str, ...]) -> list[dict[str, Any]]:
    found = []
    for cohort, rows in _groups(rated, by):
        raw, weighted = _rates(rated, rows, served="system" in by)
        found.append(
            {
                "cohort": cohort,
                "n": len(rows),
                "n_rated": raw.n,
                "approval": raw.as_dict(),
                "weighted": weighted.as_dict() if weighted else None,
                "corrected_fraction": round(float(rated.corrected[rows].mean()), 6),
            }
        )
    return found


def _compare(
    rated: Rated, by: tuple[str, ...], versions: tuple[str, str], within: str
) -> dict[str, Any]:
    """Return each cohort's change from the first version to the second.

    Cohorts with enough ratings are tested; the p-values are adjusted together. `worse` and
    `better` hold at a share of false findings of `ALPHA`.
    """
    of = [_are(rated.columns[within], version) for version in versions]
    for version, mine in zip(versions, of, strict=True):
        if not mine.any():
            held = pc.unique(rated.columns[within].drop_null()).to_pylist()
            raise DataError(f"no {within} {version!r} in this set",
                            hint=f"it holds {', '.join(sorted(held)) or 'none'}")  # fmt: skip
    changes: list[dict[str, Any]] = []
    for cohort, rows in [({}, np.arange(len(rated.good))), *(_groups(rated, by) if by else [])]:
        sides = [_rates(rated, rows[mine[rows]], served=within == "system") for mine in of]
        raw = [side[0] for side in sides]
        changed = difference(*raw) if min(r.n for r in raw) >= MIN_RATED else None
        both = [side[1] for side in sides]
        corrected = difference(both[0], both[1]) if changed and both[0] and both[1] else None
        changes.append(
            {"cohort": cohort, "before": raw[0].as_dict(), "after": raw[1].as_dict(),
             "difference": _as_dict(changed), "weighted_difference": _as_dict(corrected)}
        )  # fmt: skip
    tested = [change["difference"] for change in changes[1:] if change["difference"]]
    adjusted = adjust([change["p_value"] for change in tested])
    for change, q in zip(tested, adjusted, strict=True):
        change["q_value"] = round(q, 6)
    for change in changes:
        change["verdict"] = _verdict(change["difference"])
    return {"within": within, "versions": list(versions), "n_tested": len(tested),
            "all": changes[0], "cohorts": changes[1:]}  # fmt: skip


def _are(column: pa.Array, value: str) -> Flags:
    return np.asarray(pc.fill_null(pc.equal(column, value), False), dtype=bool)


def _as_dict(found: Any) -> dict[str, float] | None:
    return {k: round(v, 6) for k, v in vars(found).items()} if found else None


def _verdict(found: dict[str, float] | None) -> str:
    if found is None:
        return "too_few"
    if found.get("q_value", found["p_value"]) > ALPHA:
        return "no_change_shown"
    return "worse" if found["estimate"] < 0 else "better"


def cohort_lines(report: dict[str, Any]) -> list[str]:
    """Return a cohort report as lines for people."""
    crossed = " × ".join(report["by"]) or "all"
    lines = [f"{report['n_rated']:,} of {report['n']:,} answers rated by their users; {crossed}"]
    for row in report["cohorts"]:
        lines.append(f"  {_name(row['cohort']):<36} {_percent(row['approval'])}")
        if row["weighted"]:
            ess = row["weighted"]["ess"]
            lines.append(f"  {'by inverse propensity':<36} {_percent(row['weighted'])}  "
                         f"effective {ess:,.0f}")  # fmt: skip
    comparison = report.get("comparison")
    if comparison:
        before, after = comparison["versions"]
        lines.append(f"from {comparison['within']} {before} to {after}, "
                     f"{comparison['n_tested']} cohorts tested:")  # fmt: skip
        for row in [comparison["all"], *comparison["cohorts"]]:
            lines.append(f"  {_name(row['cohort']):<36} {_change(row)}")
    return lines


def _name(cohort: dict[str, str | None]) -> str:
    return ", ".join(value or "(not stated)" for value in cohort.values()) or "all"


def _percent(found: dict[str, Any]) -> str:
    if found["estimate"] is None:
        return "not rated"
    ends = f"{100 * found['low']:.1f}–{100 * found['high']:.1f}"
    return f"{100 * found['estimate']:5.1f} %  ({ends})  n {found['n']:,}"


def _change(row: dict[str, Any]) -> str:
    found = row["difference"]
    if found is None:
        return f"too few ratings ({row['before']['n']} and {row['after']['n']})"
    ends = f"{100 * found['low']:+.1f} to {100 * found['high']:+.1f}"
    return f"{100 * found['estimate']:+5.1f} points  ({ends})  {row['verdict'].replace('_', ' ')}"


def plot_cohorts(report: dict[str, Any], path: Path) -> None:
    """Draw each cohort's approval with its interval; or the changes, where two are compared.

    Raises:
        DataError: if matplotlib is not installed or the ending names no format it has.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DataError("drawing needs matplotlib", hint="pip install matplotlib") from error
    changes = report.get("comparison")
    rows = changes["cohorts"] or [changes["all"]] if changes else report["cohorts"]
    key = "difference" if changes else "approval"
    rows = [row for row in rows if row[key] and row[key]["estimate"] is not None]
    figure = Figure(figsize=(7, 1 + 0.35 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(reversed(rows)):
        found = row[key]
        axes.plot([found["low"], found["high"]], [place, place], color="0.5")
        axes.plot([found["estimate"]], [place], "o", color=_COLOURS.get(row.get("verdict"), "C0"))
    axes.set_yticks(range(len(rows)), [_name(row["cohort"]) for row in reversed(rows)])
    axes.set_xlabel("change of approval" if changes else "approval")
    axes.axvline(0 if changes else report["overall"]["estimate"] or 0, color="0.8", zorder=0)
    try:
        figure.savefig(path)
    except ValueError as error:
        raise DataError(str(error), where=str(path)) from error
