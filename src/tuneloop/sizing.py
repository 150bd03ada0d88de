"""How large a comparison must be, before anybody runs it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.errors import TuneloopError
from tuneloop.statistics.power import (
    design_effect,
    effective_labels,
    labels_needed,
    minimum_effect,
    power_of,
    units_needed,
    win_rate_square,
)

CURVE = (50, 100, 200, 400, 800, 1600, 3200)


@dataclass(frozen=True)
class Design:
    """What is planned. Effects and margin are differences of the win rate from one half."""

    n: int | None = None
    labels: int | None = None
    correlation: float = 0.5
    discordance: float = 0.6
    icc: float = 0.0
    cluster_size: float = 1.0
    alpha: float = 0.05
    n_candidates: int = 1
    margin: float = 0.0
    power: float = 0.8

    @property
    def level(self) -> float:
        """One-sided level of the best of the candidates."""
        return self.alpha / self.n_candidates

    @property
    def square(self) -> float:
        """Squared error that one prompt brings, its cluster counted in."""
        return win_rate_square(self.discordance) * design_effect(self.cluster_size, self.icc)

    def problems(self) -> list[str]:
        """Return what is wrong with the plan."""
        rules = [
            (self.n is None or self.n >= 1, f"--n is {self.n}: at least one prompt"),
            (self.labels is None or self.labels >= 1, f"--labels is {self.labels}: at least one"),
            (
                self.labels is None or self.n is None or self.labels <= self.n,
                f"--labels {self.labels} of --n {self.n}: no more labels than prompts",
            ),
            (0 <= self.correlation < 1, f"--correlation is {self.correlation:g}: from 0, below 1"),
            (0 < self.discordance <= 1, f"--discordance is {self.discordance:g}: above 0, up to 1"),
            (0 <= self.icc <= 1, f"--icc is {self.icc:g}: from 0 to 1"),
            (self.cluster_size >= 1, f"--cluster-size is {self.cluster_size:g}: at least 1"),
            (0 < self.alpha < 0.5, f"--alpha is {self.alpha:g}: above 0, below 0.5"),
            (self.n_candidates >= 1, f"--candidates is {self.n_candidates}: at least 1"),
            (0 <= self.margin < 0.5, f"--margin is {100 * self.margin:g}: from 0, below 50 points"),
            (0 < self.power < 1, f"--power is {self.power:g}: above 0, below 1"),
        ]
        return [text for ok, text in rules if not ok]


def size(design: Design, effect: float | None) -> dict[str, Any]:
    """Return what was asked: prompts for an effect, or the effect and the chance for prompts.

    Points are win-rate points above one half. With `labels` the same is said of the corrected
    win rate, whose error comes from the labels: `effective_labels` are what they are worth.
    """
    found: dict[str, Any] = {
        "alpha": design.alpha,
        "n_candidates": design.n_candidates,
        "power": design.power,
        "discordance": design.discordance,
        "design_effect": round(design_effect(design.cluster_size, design.icc), 6),
        "margin_points": _points(design.margin),
    }
    if effect is not None:
        found |= {"effect_points": _points(effect)} | _prompts(design, effect)
    if design.n is not None:
        found |= {"n": design.n} | _seen(design, design.n, effect)
    if design.labels is not None and design.n is not None:
        found["with_labels"] = _labelled(design, design.labels, design.n, effect)
    elif effect is not None and design.labels is not None:
        found["with_labels"] = {"note": "give --n, too: the judge scores the other prompts"}
    seen = [
        {"n": n, "mde_points": _points(_mde(design, n))} for n in sorted({*CURVE, design.n or 200})
    ]
    return found | {"curve": seen}


def size_lines(found: dict[str, Any]) -> list[str]:
    """Return the answer as people read it."""
    lines = []
    chance, above = f"{100 * found['power']:g} %", ""
    if found["margin_points"]:
        above = f" (more than {found['margin_points']:g} must be proven)"
    if "n_needed" in found:
        lines.append(
            f"{found['effect_points']:g} points{above} need {found['n_needed']:,} prompts for a"
            f" chance of {chance}"
        )
    if "n" in found:
        lines.append(
            f"with these {found['n']:,} prompts you can see {found['mde_points']:g} points{above}"
        )
        if "power_at_effect" in found:
            lines.append(
                f"{found['effect_points']:g} points are seen in"
                f" {100 * found['power_at_effect']:.0f} % of such runs"
            )
    labels = found.get("with_labels", {})
    if "n_labels" in labels:
        lines.append(
            f"with {labels['n_labels']:,} of them labelled by people, whatever the judge's bias:"
            f" {labels['mde_points']:g} points ({labels['effective_labels']:,.0f} labels' worth)"
        )
        if labels.get("labels_needed"):
            lines.append(
                f"{found['effect_points']:g} points need {labels['labels_needed']:,} labels"
            )
        elif "labels_needed" in labels:
            lines.append(f"{found['effect_points']:g} points cannot be seen by labelling them all")
    lines += ["", "prompts   points seen"]
    lines += [f"{row['n']:>7,}   {row['mde_points']:g}" for row in found["curve"]]
    lines += ["", f"one-sided alpha {found['alpha']:g}, {found['n_candidates']} candidate(s), a"
              f" winner in {100 * found['discordance']:g} % of prompts, design effect"
              f" {found['design_effect']:g}"]  # fmt: skip
    return lines


def golden_resolution(path: Path, *, alpha: float, at_most: int | None) -> dict[str, Any]:
    """Return the smallest difference of win rates that a golden set's families can show.

    Args:
        path: The golden file; one that cannot be read gives a note.
        alpha: One-sided level of the gate.
        at_most: No more prompts than this are asked.
    """
    from tuneloop.artefacts.golden import read_golden

    try:
        prompts = read_golden(path)
    except (TuneloopError, OSError) as error:
        return {"note": str(error).splitlines()[0]}
    n = len({p.family or f"prompt:{p.id}" for p in prompts})
    n = min(n, at_most or n)
    found = size(Design(n=n, alpha=alpha), None)
    return {"n_prompts": n, "mde_points": found["mde_points"], "discordance": found["discordance"]}


def resolution_line(found: dict[str, Any]) -> str:
    """Return `golden_resolution` as people read it."""
    if "note" in found:
        return f"what the golden set can show is not known: {found['note']}"
    return (
        f"with these {found['n_prompts']:,} golden prompts you can see {found['mde_points']:g}"
        f" points (80 % power, a winner in {100 * found['discordance']:g} % of them)"
    )


def _prompts(design: Design, effect: float) -> dict[str, Any]:
    distance = effect - design.margin
    needed = units_needed(design.square, distance, design.level, power=design.power)
    return {"n_needed": needed}


def _seen(design: Design, n: int, effect: float | None) -> dict[str, Any]:
    found: dict[str, Any] = {"mde_points": _points(_mde(design, n))}
    if effect is not None:
        chance = power_of(effect - design.margin, design.square, n, design.level)
        found["power_at_effect"] = round(chance, 4)
    return found


def _labelled(design: Design, labels: int, n: int, effect: float | None) -> dict[str, Any]:
    worth = effective_labels(labels, n, design.correlation)
    mde = minimum_effect(design.square, worth, design.level, power=design.power) or 0.0
    found: dict[str, Any] = {
        "n_labels": labels,
        "correlation": design.correlation,
        "effective_labels": round(worth, 1),
        "mde_points": _points(mde + design.margin),
    }
    if effect is not None:
        needed = units_needed(
            design.square, effect - design.margin, design.level, power=design.power
        )
        enough = None if needed is None else labels_needed(needed, n, design.correlation)
        found["labels_needed"] = enough
    return found


def _mde(design: Design, n: int) -> float:
    return design.margin + (
        minimum_effect(design.square, n, design.level, power=design.power) or math.inf
    )


def _points(rate: float) -> float:
    return round(100 * rate, 1 if rate >= 0.01 else 2)
