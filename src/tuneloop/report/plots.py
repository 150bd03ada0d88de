"""Geometry of the report's pictures: numbers in, coordinates out; the templates draw them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tuneloop.artefacts.decision import Measured

WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 34


def forest_axis(rows: Sequence[Measured], margin: float) -> dict[str, Any]:
    """Return the shared axis of interval plots: its span, ticks and the two marks in percent.

    It holds every interval, 0 and minus the margin.
    """
    ends = [end for row in rows for end in (row.ci_low, row.ci_high) if end is not None]
    ticks = _ticks(min([0.0, -margin, *ends]), max([0.0, *ends]), 4)
    low, high = ticks[0], ticks[-1]
    axis = {"low": low, "high": high}
    return axis | {
        "ticks": [{"value": t, "at": _percent(axis, t)} for t in ticks],
        "zero": _percent(axis, 0.0),
        "margin": _percent(axis, -margin),
    }


def forest_bar(axis: Mapping[str, Any], row: Measured) -> dict[str, float] | None:
    """Return where one interval and its estimate lie on the axis, percent of its width."""
    if row.estimate is None or row.ci_low is None or row.ci_high is None:
        return None
    low, high = _percent(axis, row.ci_low), _percent(axis, row.ci_high)
    return {
        "low": low,
        "width": round(high - low, 2),
        "high": high,
        "at": _percent(axis, row.estimate),
    }


def loss_curve(history: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return both loss curves as SVG points with ticks, or None where nothing was logged.

    Args:
        history: `train` and `validation`, each a list of {step, loss}.
    """
    curves = {
        name: [(p["step"], p["loss"]) for p in history.get(name) or [] if _finite(p.get("loss"))]
        for name in ("train", "validation")
    }
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return None
    x_ticks = _ticks(0, max(step for step, _ in points), 5)
    losses = [loss for _, loss in points]
    y_ticks = _ticks(min(losses), max(losses), 4)

    def x(step: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * step / (x_ticks[-1] or 1), 1)

    def y(loss: float) -> float:
        part = (loss - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * part, 1)

    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "bottom": HEIGHT - BOTTOM,
        "x_ticks": [{"at": x(t), "label": f"{t:g}"} for t in x_ticks],
        "y_ticks": [{"at": y(t), "label": f"{t:g}"} for t in y_ticks],
        "curves": {
            name: [{"x": x(step), "y": y(loss)} for step, loss in curve]
            for name, curve in curves.items()
        },
        "last": {name: curve[-1][1] for name, curve in curves.items() if curve},
        "first": {name: curve[0][1] for name, curve in curves.items() if curve},
    }


def _percent(axis: Mapping[str, Any], value: float) -> float:
    part: float = (value - axis["low"]) / (axis["high"] - axis["low"])
    return round(100 * min(max(part, 0.0), 1.0), 2)


def _ticks(low: float, high: float, wanted: int) -> list[float]:
    """Return round numbers, evenly spaced, that enclose both ends."""
    if high - low < 1e-9:
        low, high = low - 0.05, high + 0.05
    raw = (high - low) / wanted
    size = 10 ** math.floor(math.log10(raw))
    step = next(s * size for s in (1, 2, 2.5, 5, 10) if s * size >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
