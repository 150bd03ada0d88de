"""How numbers are shown: percent and points for rates, plain numbers for graded metrics."""

from __future__ import annotations

from typing import Any

from tuneloop.artefacts.decision import Measured

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"


def level(value: float | None, rates: bool = True) -> str:
    """Return a rate or a mean; a dash where there is none."""
    if value is None:
        return DASH
    return f"{100 * value:.1f} %" if rates else _signed(f"{value:.3g}")


def share(value: float | None) -> str:
    """Return a share in whole percent."""
    return DASH if value is None else f"{100 * value:.0f} %"


def gap(value: float | None, rates: bool = True, *, unit: bool = True) -> str:
    """Return a signed difference, in points where the values are rates."""
    if value is None:
        return DASH
    text = f"{100 * value:+.1f}" if rates else f"{value:+.3g}"
    text = "0.0" if text in ("+0.0", "-0.0") else text
    return _signed(text) + (" points" if rates and unit else "")


def tick(value: float, rates: bool = True) -> str:
    """Return an axis label, as short as it can be."""
    text = f"{100 * value if rates else value:+g}"
    return "0" if float(text) == 0 else _signed(text)


def size(value: float, rates: bool = True) -> str:
    """Return the size of a difference, without a sign."""
    return gap(abs(value), rates).lstrip("+")


def interval(of: Measured, rates: bool = True) -> str:
    """Return the two ends of a measurement's interval."""
    if of.ci_low is None or of.ci_high is None:
        return DASH
    return f"{gap(of.ci_low, rates, unit=False)} to {gap(of.ci_high, rates, unit=False)}"


def number(value: Any) -> str:
    """Return a count with thin spaces, a float to four digits, anything else as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return _signed(f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"))
    if isinstance(value, float):
        return _signed(f"{value:.4g}")
    return DASH if value is None else str(value)


def p_value(value: float | None) -> str:
    """Return a p-value; very small ones by their bound."""
    if value is None:
        return DASH
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def words(name: Any) -> str:
    """Return an identifier as words for people; a count loses the `n_` before its name."""
    return str(name).removeprefix("n_").replace("_", " ")


def _signed(text: str) -> str:
    return text.replace("-", MINUS, 1) if text.startswith("-") else text
