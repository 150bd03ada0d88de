"""Minutes and money of the stages that a run has still to do, by what they took before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tuneloop.artefacts.store import Store


def stage_costs(
    store: Store, stages: Sequence[str], rows: Mapping[str, int], per_hour: float
) -> dict[str, dict[str, Any]]:
    """Return, by stage, minutes and money with what was assumed, or why they are not known.

    Args:
        store: Whose earlier artefacts tell how long a stage takes.
        stages: Those that have still to run.
        rows: How many rows a stage gets, where that is known.
        per_hour: Price of the machine's hour; 0: not known.
    """
    found: dict[str, dict[str, Any]] = {}
    for stage in stages:
        earlier = max(
            store.list_artefacts(stage), key=lambda a: a.manifest.started_at, default=None
        )
        if earlier is None:
            found[stage] = {"status": "missing", "reason": "no earlier run of it to go by"}
            continue
        manifest = earlier.manifest
        took, before = manifest.seconds, manifest.counts.n_in
        now = rows.get(stage)
        scale = now / before if now and before else 1.0
        minutes = took * scale / 60
        of = f"{now:,} of {before:,} rows" if now and before else "as many rows"
        found[stage] = {
            "status": "ok",
            "minutes": round(minutes, 2),
            "money": round(minutes / 60 * per_hour, 4) if per_hour else None,
            "assumed": f"{earlier.digest[:12]} took {took:.0f} s; {of}, the same machine",
        }
    return found


def cost_lines(costs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the costs as lines for people, with their sum."""
    if not costs:
        return []
    lines = ["", "still to run, by what it took before:"]
    for stage, cost in costs.items():
        if cost["status"] != "ok":
            lines.append(f"  {stage:<10}unknown: {cost['reason']}")
            continue
        paid = f", {cost['money']:g} in money" if cost["money"] is not None else ""
        lines.append(f"  {stage:<10}{cost['minutes']:g} min{paid} ({cost['assumed']})")
    known = [cost for cost in costs.values() if cost["status"] == "ok"]
    total = sum(cost["minutes"] for cost in known)
    money = sum(cost["money"] or 0.0 for cost in known)
    told = (
        f", {money:g} in money" if money else ": no money, as evaluate.engine.price.per_hour is 0"
    )
    left = len(costs) - len(known)
    unknown = f"; {left} unknown" if left else ""
    return [*lines, f"  together  {total:.1f} min{told}{unknown}"]
