"""Measure what the gates against poisoning catch, and what honest evidence they cost.

    python scripts/bench/poison.py [--seeds 20] [--events 5,10,20] [--kinds a,b] [--json OUT]

5 % of all accounts are hostile. For each kind of attack, number of hostile pieces an account
and seed: the share of hostile pieces that is left with less than a tenth of its weight, and the
share of honest pieces that is. Medians over the seeds, with the distribution-free 95 % interval
of a median. Slow, scattered flips look like honest noise: of them the harm is bounded instead,
by the share that survives and by how far it moves the mean opinion of an answer. The columns
come straight from the simulation, so that only the gates against poisoning are measured;
`--check` sends one log of each kind through lake and curate as well.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom
from simulated import Columns, simulated

from tuneloop.config.simulate import ChampionConfig, SimulateConfig
from tuneloop.config.trust import TrustConfig
from tuneloop.curate.trust.gate import distrust
from tuneloop.simulate.attacks import ATTACKS, SCATTERED

LITTLE = 0.1  # of its weight: less counts as dropped
WANTED_CAUGHT, WANTED_LOST = 0.9, 0.05


def measure(
    kind: str | None, n_events: int, seed: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Return what became of hostile and honest evidence in one log."""
    _, columns = simulated(_config(kind, n_events, options), seed=seed)
    began = time.perf_counter()
    found = distrust(
        columns.interactions, columns.feedback, columns.preferences, columns.texts, TrustConfig()
    )
    seconds = time.perf_counter() - began
    trust = np.concatenate([columns.feedback.trust, columns.preferences.trust])
    gone = trust < LITTLE
    hostile = columns.hostile
    return {
        "kind": kind, "events": n_events, "seed": seed, "right": options.right,
        "n_hostile": int(hostile.sum()), "n_honest": int((~hostile).sum()),
        "caught": float(gone[hostile].mean()) if hostile.any() else None,
        "lost": float(gone[~hostile].mean()),
        "shift_open": _shift(columns, np.ones(len(trust))),
        "shift": _shift(columns, trust),
        "counts": found.counts, "seconds": round(seconds, 3),
    }  # fmt: skip


def _config(kind: str | None, n_events: int, options: argparse.Namespace) -> SimulateConfig:
    adversaries: dict[str, Any] = {"label_flip_brigade_fraction": 0, "spammer_events": 0}
    if kind:
        adversaries |= {"attack": kind, "events_per_account": n_events,
                        "hostile_fraction": options.hostile}  # fmt: skip
    return SimulateConfig.model_validate({
        "n_interactions": options.n,
        "champion": ChampionConfig(right_fraction=options.right),
        "adversaries": adversaries,
    })  # fmt: skip


def check(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return what lake and curate leave of one log's hostile and honest evidence.

    Evidence that goes for another reason (no consent, a repeated row) is in neither share.
    """
    import pyarrow.parquet as pq

    from tuneloop.artefacts.store import Store
    from tuneloop.config.load import load_config
    from tuneloop.curate.trust.scene import REASONS
    from tuneloop.pipeline import Pipeline
    from tuneloop.runtime.progress import SilentProgress
    from tuneloop.simulate.stage import simulate

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "log"
        config = _config(kind, int(options.events.split(",")[0]), options)
        simulate(config, out, engine=None, progress=SilentProgress(), seed=0)
        overrides = [f"store={folder}/store", 'curate.leak.semantic="off"']
        run = load_config(out / "run.yaml", overrides).config
        curated = Pipeline(run, Store(run.store), progress=SilentProgress()).curate
        dropped = pq.read_table(curated.path("dropped.parquet")).to_pylist()
        rows = pq.read_table(curated.path("curated.parquet"), columns=["signals"]).to_pylist()
        lines = (out / "truth.jsonl").read_text("utf-8").splitlines()
    truth = {row["id"]: row["honesty"] for row in map(json.loads, lines)
             if row["kind"] == "feedback"}  # fmt: skip
    gone = {row["id"] for row in dropped if row["reason"] in REASONS[1:]}
    used = {s["feedback_id"] for row in rows for s in row["signals"] if s["weight"] >= LITTLE}
    share = {}
    for name, hostile in (("caught", True), ("lost", False)):
        n_gone = sum(1 for i in gone if i in truth and (truth[i] == "adversarial") == hostile)
        n_used = sum(1 for i in used if i in truth and (truth[i] == "adversarial") == hostile)
        share[name] = n_gone / max(n_gone + n_used, 1)
    return {"kind": kind, **share}


def _shift(columns: Columns, trust: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Return how far the hostile move the mean opinion of the answers they touch."""
    feedback = columns.feedback
    n = len(feedback)
    known = ~np.isnan(feedback.opinion)
    hostile, weight = columns.hostile[:n], trust[:n] * known
    opinion = np.nan_to_num(feedback.opinion)
    honest = (weight * opinion)[~hostile].sum() / max(weight[~hostile].sum(), 1)
    return float((weight * opinion).sum() / max(weight.sum(), 1) - honest)


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median and its distribution-free 95 % interval (order statistics).

    Source: Conover, Practical Nonparametric Statistics, 3rd ed., 3.2.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    n = len(ordered)
    low = max(int(binom.ppf(0.025, n, 0.5)) - 1, 0)
    return float(np.median(ordered)), float(ordered[low]), float(ordered[n - 1 - low])


def summarise(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a kind and number of events."""
    rows = []
    for key in dict.fromkeys((run["kind"], run["events"]) for run in runs):
        mine = [run for run in runs if (run["kind"], run["events"]) == key]
        row: dict[str, Any] = {"kind": key[0] or "nobody", "events": key[1], "seeds": len(mine)}
        for name in ("caught", "lost", "shift_open", "shift"):
            values = [run[name] for run in mine if run[name] is not None]
            row[name] = [round(x, 4) for x in median_interval(values)] if values else None
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = [
        "| attack | events | hostile caught | honest lost | shift, gates off | gates on |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = [_cell(row["caught"], 100), _cell(row["lost"], 100), _cell(row["shift_open"], 1),
                 _cell(row["shift"], 1)]  # fmt: skip
        lines.append(f"| {row['kind']} | {row['events']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value: list[float] | None, scale: float) -> str:
    if value is None:
        return "–"
    middle, low, high = (scale * x for x in value)
    return f"{middle:.1f} ({low:.1f}–{high:.1f}) %" if scale > 1 else (
        f"{middle:+.3f} ({low:+.3f} to {high:+.3f})")  # fmt: skip


def main() -> None:
    """Measure, print, write JSON where asked; exit 1 where a coordinated kind misses the mark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--events", default="10")
    parser.add_argument("--kinds", default=",".join(ATTACKS))
    parser.add_argument("--n", type=int, default=4000, help="honest first messages")
    parser.add_argument("--hostile", type=float, default=0.05)
    parser.add_argument("--right", type=float, default=0.15, help="right answers of the assistant")
    parser.add_argument("--check", action="store_true", help="one log a kind through curate")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.check:
        for kind in options.kinds.split(","):
            found = check(kind, options)
            print(f"{kind}: caught {found['caught']:.1%}, lost {found['lost']:.1%}", flush=True)
        return
    runs = [measure(None, 0, seed, options) for seed in range(options.seeds)]
    for kind in options.kinds.split(","):
        for events in map(int, options.events.split(",")):
            mine = [measure(kind, events, seed, options) for seed in range(options.seeds)]
            runs += mine
            print(table(summarise(mine)).splitlines()[-1], flush=True)
    rows = summarise(runs)
    print(table(rows))
    seconds = np.median([run["seconds"] for run in runs])
    print(f"{options.n} messages, {options.right:.0%} right answers, {options.seeds} seeds, "
          f"median {seconds:.2f} s a log")  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "runs": runs}, indent=1) + "\n")
    missed = [
        row["kind"] for row in rows
        if row["lost"][0] > WANTED_LOST
        or (row["kind"] not in (SCATTERED, "nobody") and row["events"] >= 10
            and row["caught"][0] < WANTED_CAUGHT)
    ]  # fmt: skip
    raise SystemExit(f"missed: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
