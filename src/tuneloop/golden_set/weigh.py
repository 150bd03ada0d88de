"""Weights that let a golden set speak of production's mix of cohorts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.errors import DataError
from tuneloop.golden_set.file import GoldenFile
from tuneloop.golden_set.traffic import Row

OTHER = "(other)"
"""Traffic that states no cohort, and prompts in no cohort's slice."""
DIGITS = 4


def weigh(
    file: GoldenFile, rows: Iterable[Row], *, by: str, dry_run: bool = False
) -> dict[str, Any]:
    """Give active prompts the weights under which each cohort has its share of the traffic.

    A prompt counts in the cohorts its slices are called like (`intent:refund`, or `refund`), in
    equal parts where there are several. Cohorts of the traffic without a prompt are listed:
    no weight can make up for them. The mean weight is 1.

    Args:
        file: The golden file; written unless `dry_run`.
        rows: Curated traffic.
        by: Which cohorts: `intent` or `segment`.
        dry_run: Only say what would be.

    Raises:
        DataError: if there is no traffic, no active prompt, or no prompt in any of its cohorts.
    """
    traffic = Counter(row.cohorts.get(by, OTHER) for row in rows)
    active = [prompt for prompt in file.prompts if prompt.status == "active"]
    cells = {p.id: _cells(p, by, set(traffic)) for p in active}
    held: dict[str, float] = defaultdict(float)
    for names in cells.values():
        for name in names:
            held[name] += 1 / len(names)
    represented = {name: n for name, n in traffic.items() if name in held}
    total = sum(represented.values())
    if not total or set(held) <= {OTHER}:
        raise DataError(
            f"no active prompt has a slice called like an {by} of the traffic",
            where=str(file.path),
            hint="tuneloop golden status shows both",
        )
    n_in = sum(1 for p in active if any(name in represented for name in cells[p.id]))
    factor = {name: (n / total) / (held[name] / n_in) for name, n in represented.items()}
    weights = {p.id: _weight(cells[p.id], factor) for p in active}
    changed = [p for p in active if p.weight != weights[p.id]]
    for prompt in changed:
        update = {"weight": weights[prompt.id], "version": prompt.version + 1}
        file.put(prompt.model_copy(update=update))
    if changed and not dry_run:
        file.save()
    return _report(traffic, held, factor, weights, [p.id for p in changed])


def _cells(prompt: GoldenPrompt, by: str, known: set[str]) -> list[str]:
    named = {name.removeprefix(f"{by}:") for name in prompt.slices}
    return sorted((named & known) - {OTHER}) or [OTHER]


def _weight(names: list[str], factor: dict[str, float]) -> float:
    """Return a prompt's weight; 1 where no traffic is like it."""
    parts = [factor[name] for name in names if name in factor]
    return max(round(sum(parts) / len(names), DIGITS), 10**-DIGITS) if parts else 1.0


def _report(
    traffic: Counter[str],
    held: dict[str, float],
    factor: dict[str, float],
    weights: dict[str, float],
    changed: list[str],
) -> dict[str, Any]:
    n_rows, every = sum(traffic.values()), list(weights.values())
    return {
        "n_rows": n_rows,
        "n_prompts": len(every),
        "changed": changed,
        # Kish's: so many prompts of equal weight would have the same error.
        "n_effective": round(sum(every) ** 2 / sum(w * w for w in every), 1),
        "cohorts": [
            {"name": name, "traffic": round(n / n_rows, 4), "n_golden": round(held.get(name, 0), 2),
             "factor": None if name not in factor else round(factor[name], DIGITS)}
            for name, n in sorted(traffic.items(), key=lambda item: (-item[1], item[0]))
        ],
        "unseen": round(sum(n for name, n in traffic.items() if name not in held) / n_rows, 4),
    }  # fmt: skip


def weigh_lines(report: dict[str, Any]) -> list[str]:
    """Return the report as lines for people."""
    lines = [
        f"  {row['name']:<28} traffic {row['traffic']:>6.1%}  golden {row['n_golden']:>6g}  "
        f"{'no prompt' if row['factor'] is None else 'weight ' + format(row['factor'], 'g')}"
        for row in report["cohorts"]
    ]
    lines.append(
        f"{len(report['changed'])} of {report['n_prompts']} weights changed; with them the set is "
        f"worth {report['n_effective']:g} prompts of equal weight"
    )
    if report["unseen"]:
        lines.append(f"{report['unseen']:.1%} of the traffic is like no prompt: no weight mends it")
    return lines
