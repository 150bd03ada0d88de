"""Make a log with known truth, a golden set, and a run config that uses both."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tuneloop.artefacts.digest import digest_file, digest_json
from tuneloop.artefacts.stage import Progress
from tuneloop.config.simulate import SimulateConfig
from tuneloop.errors import DataError
from tuneloop.simulate.champion import Champion, ChatEngine, ScriptedChampion, ServedChampion
from tuneloop.simulate.helpdesk import HelpDesk
from tuneloop.simulate.labels import LabelTable
from tuneloop.simulate.output import FILES, write_all
from tuneloop.simulate.scenario import Scenario
from tuneloop.simulate.traffic import Log, Traffic

HELPDESK_INTERACTIONS = 2_000


class SimulateReport(BaseModel):
    """What was made. `files` maps each file to its SHA-256."""

    model_config = ConfigDict(frozen=True)

    out: Path
    scenario: str
    n_events: int
    n_interactions: int
    n_feedback: int
    n_golden: int
    n_malformed: int
    signals: dict[str, int] = Field(default_factory=dict)
    honesty: dict[str, int] = Field(default_factory=dict)
    systems: dict[str, int] = Field(default_factory=dict)
    mean_score: float | None = None
    """How good the champion's answers are by the hidden truth, 0 to 1."""
    rows: dict[str, int] = Field(default_factory=dict)
    """What became of a table's rows, by reason."""
    protected_slices: list[str] = Field(default_factory=list)
    files: dict[str, str] = Field(default_factory=dict)


def simulate(
    config: SimulateConfig,
    out: Path,
    *,
    engine: ChatEngine | None,
    progress: Progress,
    seed: int | None = None,
) -> SimulateReport:
    """Write events.jsonl, golden.jsonl, truth.jsonl and run.yaml into `out`.

    The same config, seed and table give the same bytes where the champion is scripted.

    Args:
        config: What to simulate.
        out: Folder for the four files, made where it is missing.
        engine: The served champion; None with a scripted one.
        progress: Shows the steps.
        seed: Overrides the config's.

    Raises:
        DataError: if a table cannot be used or the folder not written.
        ServingError: if the served champion does not answer.
    """
    config = _resolved(config, seed)
    progress.start("simulate: scenario")
    scenario, n = _scenario(config)
    golden = scenario.golden()
    progress.done(f"{len(golden.prompts)} golden prompts")
    champion = _champion(config, scenario, engine)
    progress.start("simulate: traffic", total=None)
    began = time.monotonic()
    log = Traffic(scenario, config, seed=config.seed, tag=_tag(config, engine)).run(champion, n)
    progress.done(f"{len(log.events)} events in {time.monotonic() - began:.1f} s")
    n_malformed = write_all(
        out,
        log=log,
        golden=golden,
        scenario=scenario,
        config=config,
        rng=random.Random(f"lines {config.seed}"),
    )
    return _report(out, log, scenario, len(golden.prompts), n_malformed).model_copy(
        update={"protected_slices": golden.protected}
    )


def make_log(config: SimulateConfig, *, seed: int | None = None) -> Log:
    """Return a log of a scripted champion without writing anything.

    Raises:
        DataError: if a table cannot be used, or the champion is not scripted.
    """
    config = _resolved(config, seed)
    scenario, n = _scenario(config)
    champion = _champion(config, scenario, None)
    return Traffic(scenario, config, seed=config.seed, tag=_tag(config, None)).run(champion, n)


def _resolved(config: SimulateConfig, seed: int | None) -> SimulateConfig:
    """Return the config with its seed, task and name filled in."""
    table = Path(config.labels.path).absolute() if config.labels.path else Path("helpdesk")
    stem = table.parent.name if table.stem in ("train", "data", "labels") else table.stem
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._") or "labels"
    changes = {
        "seed": config.seed if seed is None else seed,
        "task": config.task or ("helpdesk" if config.scenario == "helpdesk" else slug),
        "name": config.name or slug,
    }
    return config.model_copy(update=changes)


def _scenario(config: SimulateConfig) -> tuple[Scenario, int]:
    """Return the scenario and how many messages people begin with."""
    if config.scenario == "helpdesk":
        desk = HelpDesk(n_golden=config.n_golden, golden_seed=config.golden_seed)
        return desk, config.n_interactions or HELPDESK_INTERACTIONS
    table = LabelTable(config.labels, seed=config.seed, golden_seed=config.golden_seed)
    wanted = config.n_interactions or table.n_rows
    table.counts["table.unused"] = max(table.n_rows - wanted, 0)
    return table, min(wanted, table.n_rows)


def _champion(config: SimulateConfig, scenario: Scenario, engine: ChatEngine | None) -> Champion:
    if config.champion.kind == "scripted":
        return ScriptedChampion(scenario, config.champion, config.seed)
    if engine is None:
        raise DataError(
            "a served champion needs a model",
            where="champion.kind",
            hint="name a model, or use champion.kind=scripted",
        )
    return ServedChampion(engine, config.champion.sampling)


def _tag(config: SimulateConfig, engine: ChatEngine | None) -> str:
    """Return what this log's ids begin with.

    Two logs that differ in anything must not share ids: the lake takes each id once.
    """
    tables = {
        path: digest_file(Path(path))
        for path in (config.labels.path, config.labels.golden_path)
        if path
    }
    named: dict[str, Any] = {"name": True, "base_model": True, "labels": {"path", "golden_path"}}
    if config.adversaries.attack is None:
        named["adversaries"] = {"attack", "hostile_fraction", "events_per_account"}
    settings = config.model_dump(mode="json", exclude=named)
    served = engine.system if engine is not None else None
    return digest_json([settings, sorted(tables.values()), served])[:8]


def _report(
    out: Path, log: Log, scenario: Scenario, n_golden: int, n_malformed: int
) -> SimulateReport:
    feedback = [row for row in log.truth if row["kind"] == "feedback"]
    scores = [row["score"] for row in log.truth if row.get("score") is not None]
    systems = Counter(event["system"] for event in log.events if "system" in event)
    return SimulateReport(
        out=out,
        scenario=scenario.name,
        n_events=len(log.events),
        n_interactions=log.counts["interactions"],
        n_feedback=log.counts["feedback"],
        n_golden=n_golden,
        n_malformed=n_malformed,
        signals=dict(sorted(Counter(row["signal"] for row in feedback).items())),
        honesty=dict(sorted(Counter(row["honesty"] for row in feedback).items())),
        systems=dict(sorted(systems.items())),
        mean_score=round(sum(scores) / len(scores), 4) if scores else None,
        rows=scenario.counts,
        files={name: digest_file(out / name) for name in FILES},
    )
