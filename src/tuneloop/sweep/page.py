"""What a sweep leaves behind: a table, a page with a plot, and the best config."""

from __future__ import annotations

import html
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tuneloop.artefacts.printable import printable
from tuneloop.sweep.run import Sweep, Trial, best_of

WIDTH, HEIGHT, PAD = 640, 260, 44


def sweep_report(sweep: Sweep, trials: Sequence[Trial]) -> dict[str, Any]:
    """Return a sweep for machines."""
    best = best_of(sweep, trials)
    return {
        "name": sweep.run.name,
        "stage": sweep.stage,
        "metric": sweep.config.metric,
        "part": "validation",
        "n_trials": len(trials),
        "n_missing": sum(trial.value is None for trial in trials),
        "best": None if best is None else best.number,
        "interval": None,
        "interval_missing": "one training a trial: the spread between seeds was not measured",
        "trials": [
            {"trial": t.number, "params": t.params, "value": t.value, "step": t.step,
             "missing": t.missing, "digest": t.digest}
            for t in trials
        ],
    }  # fmt: skip


def table_lines(report: dict[str, Any]) -> list[str]:
    """Return the table for people, the best first."""
    keys = list(report["trials"][0]["params"])
    rows = [["trial", f"validation {report['metric']}", *keys]]
    rows += [
        [str(t["trial"]), _said(t), *(f"{t['params'][key]}" for key in keys)]
        for t in _ordered(report)
    ]
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
    n_measured = report["n_trials"] - report["n_missing"]
    lines += ["", f"{n_measured} of {report['n_trials']} trials measured, one training each; the "
              "best of many looks better than it is: let the golden set judge it"]  # fmt: skip
    return lines


def write_sweep(folder: Path, sweep: Sweep, trials: Sequence[Trial]) -> dict[str, Path]:
    """Write `sweep.json`, `sweep.html` and, where a trial was measured, `best.yaml`."""
    folder.mkdir(parents=True, exist_ok=True)
    report, best = sweep_report(sweep, trials), best_of(sweep, trials)
    texts = {"sweep.json": json.dumps(report, indent=1) + "\n", "sweep.html": _page(report)}
    if best is not None:
        texts["best.yaml"] = _best(folder, sweep, best)
    else:
        (folder / "best.yaml").unlink(missing_ok=True)  # of a sweep before
    for name, text in texts.items():
        partial = folder / f".{name}"
        partial.write_text(text, encoding="utf-8")
        partial.replace(folder / name)
    return {name: folder / name for name in texts}


def _best(folder: Path, sweep: Sweep, best: Trial) -> str:
    """Return the config of a trial: the run's, and what differs."""
    differs: dict[str, Any] = {}
    changes: list[tuple[str, Any]] = [
        (key.strip(), yaml.safe_load(value))
        for key, _, value in (text.partition("=") for text in sweep.overrides)
    ]
    for key, value in [*changes, *best.params.items()]:
        *above, last = key.split(".")
        section = differs
        for name in above:
            section = section.setdefault(name, {})
        section[last] = value
    base = os.path.relpath(sweep.path.resolve(), folder.resolve())
    head = (f"# Trial {best.number}: validation {sweep.config.metric} {best.value:.5g} after "
            f"{sweep.stage}, the best of a sweep.\n")  # fmt: skip
    body: str = yaml.safe_dump({"extends": base, **differs}, sort_keys=False)
    return head + body


def _ordered(report: dict[str, Any]) -> list[dict[str, Any]]:
    sign = 1 if report["metric"] == "loss" else -1
    return sorted(
        report["trials"],
        key=lambda t: (t["value"] is None, sign * (t["value"] or 0.0), t["trial"]),
    )


def _said(trial: dict[str, Any]) -> str:
    return f"{trial['value']:.5f}" if trial["value"] is not None else f"missing: {trial['missing']}"


def _page(report: dict[str, Any]) -> str:
    keys = list(report["trials"][0]["params"])
    head = "".join(f"<th>{_text(name)}</th>" for name in ["trial", "value", *keys])
    rows = "".join(
        "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in
                         [t["trial"], _said(t), *(t["params"][key] for key in keys)]) + "</tr>"
        for t in _ordered(report)
    )  # fmt: skip
    title = _text(f"{report['name']}: validation {report['metric']} after {report['stage']}")
    plots = "".join(_plot(report, key) for key in [None, *keys])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;"
        "padding:0 1rem}table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:left;"
        "border-bottom:1px solid #ccc}figure{margin:1.5rem 0}</style>"
        f"<h1>{title}</h1>{plots}<table><tr>{head}</tr>{rows}</table>"
        f"<p>{_text(table_lines(report)[-1])}.</p></html>\n"
    )


def _plot(report: dict[str, Any], key: str | None) -> str:
    """Return a picture: each trial's value by a key, or by its number with the best so far."""
    found = [t for t in report["trials"] if t["value"] is not None]
    if not found:
        return ""
    places = [t["trial"] if key is None else t["params"][key] for t in found]
    xs, labels, scale = _axis(places)
    values = [t["value"] for t in found]
    low, high = min(values), max(values)
    x_at = [round(PAD + (WIDTH - 2 * PAD) * x, 1) for x in xs]
    y_at = [round(HEIGHT - PAD - (HEIGHT - 2 * PAD) * (v - low) / ((high - low) or 1), 1)
            for v in values]  # fmt: skip
    drawn = "".join(
        f'<circle cx="{x}" cy="{y}" r="4" fill="#1b6ac9"><title>trial {t["trial"]}: '
        f"{t['value']:.5f}</title></circle>"
        for x, y, t in zip(x_at, y_at, found, strict=True)
    )
    if key is None:
        pick = max if report["metric"] == "loss" else min  # lower losses lie lower
        line = [f"{x},{pick(y_at[: n + 1])}" for n, x in enumerate(x_at)]
        drawn += f'<polyline points="{" ".join(line)}" fill="none" stroke="#999"/>'
    ticks = "".join(
        f'<text x="{PAD + (WIDTH - 2 * PAD) * at:.1f}" y="{HEIGHT - PAD / 2 + 4}" '
        f'text-anchor="middle">{_text(label)}</text>'
        for label, at in labels
    )
    ticks += "".join(f'<text x="2" y="{y + 4}">{v:.4g}</text>'
                     for v, y in ((low, HEIGHT - PAD), (high, PAD)))  # fmt: skip
    caption = _text("by trial, and the best so far" if key is None else f"by {key}{scale}")
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" '
        f'aria-label="{caption}" font-size="12">{drawn}{ticks}</svg>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _axis(places: Sequence[Any]) -> tuple[list[float], list[tuple[str, float]], str]:
    """Return where each place lies (0 to 1), labels with theirs, and what to say of the scale."""
    numbers = all(isinstance(p, int | float) and not isinstance(p, bool) for p in places)
    if not numbers:
        names = sorted({str(place) for place in places})
        at = {name: n / max(1, len(names) - 1) for n, name in enumerate(names)}
        return [at[str(place)] for place in places], list(at.items()), ""
    low, high = min(places), max(places)
    by_ratio = low > 0 and high / low >= 20
    moved = [math.log(p) if by_ratio else float(p) for p in places]
    first, span = min(moved), (max(moved) - min(moved)) or 1.0
    ends = [(f"{low:g}", 0.0)] + ([(f"{high:g}", 1.0)] if high > low else [])
    return [(m - first) / span for m in moved], ends, ", by ratio" if by_ratio else ""


def _text(value: Any) -> str:
    return html.escape(printable(str(value)))
