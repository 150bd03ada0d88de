"""Looking back: runs and champions."""

from __future__ import annotations

from typing import Any

from tuneloop.artefacts import runs
from tuneloop.artefacts.aliases import AliasName, generations, list_aliases
from tuneloop.artefacts.store import Store


def status_report(store: Store, name: str, alias: AliasName) -> dict[str, Any]:
    """Return the runs of `name`, each stage with its digest, and the champion."""
    history = generations(store, alias)
    return {
        "store": store.root,
        "runs": [
            {"run": run.run_id, "name": run.name, "stages": run.stages}
            for run in runs.list_runs(store, name)
        ],
        "champion": history[-1].model_dump(mode="json") if history else None,
    }


def status_lines(report: dict[str, Any]) -> list[str]:
    """Return a status report as lines for people."""
    lines = [f"store {report['store']}"]
    for run in report["runs"]:
        done = "  ".join(f"{s} {row['digest'][:8]}" for s, row in run["stages"].items())
        lines.append(f"{run['run']}  {done or 'nothing finished'}")
    champion = report["champion"]
    if champion:
        lines.append(f"champion: {champion['system']['name']} {champion['digest'][:12]} "
                     f"(generation {champion['number']}, {champion['at']})")  # fmt: skip
    else:
        lines.append("champion: none promoted yet; the base model is")
    return lines


def registry_report(store: Store) -> list[dict[str, Any]]:
    """Return every alias with its generations, oldest first."""
    return [
        alias.model_dump()
        | {"generations": [g.model_dump(mode="json") for g in generations(store, alias)]}
        for alias in list_aliases(store)
    ]


def registry_lines(report: list[dict[str, Any]]) -> list[str]:
    """Return the registry as lines for people."""
    lines = []
    for alias in report:
        lines.append(f"{alias['tenant']}/{alias['task']}/{alias['env']} {alias['name']}")
        for row in alias["generations"]:
            mark = "*" if row is alias["generations"][-1] else " "
            lines.append(
                f" {mark} {row['number']:>3}  {row['system']['name']} {row['digest'][:12]}  "
                f"{row['at'][:19]}  {row['actor']}: {row['reason']}"
            )
    return lines or ["no champion was promoted yet"]
